//! Sums over the voxels of each label, exact in whole numbers.

use nightread_volume::Affine;

use crate::labels::LabelMap;

/// What one pass over the volume finds of a label.
#[derive(Clone, Debug)]
pub struct Gathered {
    pub voxels: u64,
    sum: i64,
    squares: u64,
    /// First and last index along each axis.
    pub first: [usize; 3],
    pub last: [usize; 3],
    indices: [u64; 3],
}

impl Default for Gathered {
    fn default() -> Self {
        Self { voxels: 0, sum: 0, squares: 0, first: [usize::MAX; 3], last: [0; 3], indices: [0; 3] }
    }
}

impl Gathered {
    /// Mean and standard deviation of the values.
    pub fn moments(&self) -> (f64, f64) {
        let count = i128::from(self.voxels.max(1));
        // count^2 times the variance is a whole number: nothing cancels.
        let spread = count * i128::from(self.squares) - i128::from(self.sum).pow(2);
        (self.sum as f64 / count as f64, (spread as f64).sqrt() / count as f64)
    }

    /// The mean position in the world; `None` without voxels.
    pub fn middle(&self, affine: &[[f64; 4]; 3]) -> Option<[f64; 3]> {
        let count = self.voxels as f64;
        (self.voxels > 0).then(|| Affine(*affine).apply(self.indices.map(|sum| sum as f64 / count)))
    }

    /// Adds `values` that lie side by side from index `start` of axis 0 on.
    fn add_run(&mut self, start: usize, line: [usize; 2], values: &[i16]) {
        let count = values.len() as u64;
        self.voxels += count;
        for &value in values {
            self.sum += i64::from(value);
            self.squares += (i64::from(value) * i64::from(value)) as u64;
        }
        let end = start + values.len() - 1;
        let ends = [(start, end), (line[0], line[0]), (line[1], line[1])];
        for (axis, (first, last)) in ends.into_iter().enumerate() {
            self.first[axis] = self.first[axis].min(first);
            self.last[axis] = self.last[axis].max(last);
            self.indices[axis] += (first + last) as u64 * count / 2;
        }
    }
}

/// By label, 0 included; as many as the highest label asks.
pub fn gather(labels: &LabelMap, values: &[i16]) -> Vec<Gathered> {
    let [wide, high, _] = labels.shape;
    let mut found = Vec::new();
    for (line, values) in values.chunks_exact(wide).enumerate() {
        let (base, place) = (line * wide, [line % high, line / high]);
        let mut start = 0;
        while start < wide {
            let label = labels.values.get(base + start);
            let same = (start + 1..wide).take_while(|&x| labels.values.get(base + x) == label).count();
            let end = start + 1 + same;
            if found.len() <= label {
                found.resize_with(label + 1, Gathered::default);
            }
            if label > 0 {
                found[label].add_run(start, place, &values[start..end]);
            }
            start = end;
        }
    }
    found
}
