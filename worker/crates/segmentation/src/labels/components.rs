//! Pieces of labels that are not believed: all but the largest, and those under a volume.

use super::map::LabelValues;

/// What is kept of one label.
///
/// Cleaning takes 12 bytes for each piece of a label with a rule while it is found, and two planes of runs.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LabelRule {
    /// Only the largest component (of voxels that touch by face, edge or corner); of equal ones the first in memory.
    pub largest_component: bool,
    /// Components under this volume are dropped, the largest as well.
    pub min_ml: Option<f64>,
}

impl LabelRule {
    fn asks(&self) -> bool {
        self.largest_component || self.min_ml.is_some_and(|volume| volume > 0.0)
    }
}

/// Voxels `start..end` of a line along axis 0 that have one label, of component `id`.
#[derive(Clone, Copy, Debug)]
struct Run {
    start: u32,
    end: u32,
    label: u32,
    id: u32,
}

/// Runs of one plane, by line.
#[derive(Debug, Default)]
struct Plane {
    runs: Vec<Run>,
    begins: Vec<usize>,
}

impl Plane {
    fn restart(&mut self) {
        self.runs.clear();
        self.begins.clear();
    }

    /// The runs of a line; none for lines that are not there.
    fn line(&self, line: Option<usize>) -> &[Run] {
        let Some(line) = line else { return &[] };
        let Some(&begin) = self.begins.get(line) else { return &[] };
        let end = self.begins.get(line + 1).copied().unwrap_or(self.runs.len());
        &self.runs[begin..end]
    }

    /// Adds the components of all runs of a line that touch `run` and have its label.
    fn touching(&self, line: Option<usize>, run: &Run, ids: &mut Vec<u32>) {
        let runs = self.line(line);
        let first = runs.partition_point(|other| other.end < run.start);
        let touch = runs[first..].iter().take_while(|other| other.start <= run.end);
        ids.extend(touch.filter(|other| other.label == run.label).map(|other| other.id));
    }
}

/// Components as they are found: of each number the lower one that it was joined to, itself when it was not.
#[derive(Debug, Default)]
struct Found {
    joined: Vec<u32>,
    voxels: Vec<u64>,
}

impl Found {
    fn root(&mut self, mut id: u32) -> u32 {
        while self.joined[id as usize] != id {
            let above = self.joined[self.joined[id as usize] as usize];
            self.joined[id as usize] = above;
            id = above;
        }
        id
    }

    /// The component of a run that touches these; a new one when there are none.
    fn join(&mut self, run: &Run, touching: &[u32]) -> u32 {
        let length = u64::from(run.end - run.start);
        let Some(&first) = touching.first() else {
            self.joined.push(self.joined.len() as u32);
            self.voxels.push(length);
            return self.joined.len() as u32 - 1;
        };
        let mut root = self.root(first);
        for &other in &touching[1..] {
            let other = self.root(other);
            let (low, high) = (root.min(other), root.max(other));
            if low != high {
                self.joined[high as usize] = low;
                self.voxels[low as usize] += std::mem::take(&mut self.voxels[high as usize]);
            }
            root = low;
        }
        self.voxels[root as usize] += length;
        root
    }
}

/// Sets to 0 what the rules do not keep; `rules` by label, label 0 and labels without a rule are left.
pub fn clean(values: &mut LabelValues, shape: [usize; 3], voxel_mm3: f64, rules: &[LabelRule]) {
    if !rules.iter().skip(1).any(LabelRule::asks) {
        return;
    }
    let mut found = Found::default();
    let mut label_of = Vec::new();
    each_run(values, shape, rules, |run, touching| {
        let id = found.join(run, touching);
        if id as usize == label_of.len() {
            label_of.push(run.label as u16);
        }
        (id, true)
    });
    let mut largest = vec![None; rules.len()];
    for (id, &label) in label_of.iter().enumerate() {
        let best = &mut largest[usize::from(label)];
        if found.joined[id] as usize == id
            && best.is_none_or(|best: usize| found.voxels[id] > found.voxels[best])
        {
            *best = Some(id);
        }
    }
    let mut kept = |id: u32, label: usize| {
        let root = found.root(id) as usize;
        let rule = &rules[label];
        let volume = found.voxels[root] as f64 * voxel_mm3 / 1000.0;
        (!rule.largest_component || largest[label] == Some(root))
            && rule.min_ml.is_none_or(|least| volume >= least)
    };
    // The same components are met again in the same order.
    let mut met = 0;
    each_run(values, shape, rules, |run, touching| {
        let id = touching.first().copied().unwrap_or_else(|| {
            met += 1;
            met - 1
        });
        (id, kept(id, run.label as usize))
    });
}

/// Calls `visit` with each run of a label that has a rule and the components of the earlier runs that it touches. It tells
/// the run's component, and whether the run stays.
fn each_run(
    values: &mut LabelValues,
    [wide, high, deep]: [usize; 3],
    rules: &[LabelRule],
    mut visit: impl FnMut(&Run, &[u32]) -> (u32, bool),
) {
    let (mut before, mut plane) = (Plane::default(), Plane::default());
    let mut touching = Vec::new();
    for z in 0..deep {
        std::mem::swap(&mut before, &mut plane);
        plane.restart();
        for y in 0..high {
            plane.begins.push(plane.runs.len());
            let base = (z * high + y) * wide;
            let mut start = 0;
            while start < wide {
                let label = values.get(base + start);
                let same = (start + 1..wide).take_while(|&x| values.get(base + x) == label).count();
                let end = start + 1 + same;
                if label > 0 && rules.get(label).is_some_and(LabelRule::asks) {
                    let mut run = Run { start: start as u32, end: end as u32, label: label as u32, id: 0 };
                    touching.clear();
                    plane.touching(y.checked_sub(1), &run, &mut touching);
                    for line in [y.checked_sub(1), Some(y), Some(y + 1)] {
                        before.touching(line, &run, &mut touching);
                    }
                    let (id, stays) = visit(&run, &touching);
                    run.id = id;
                    plane.runs.push(run);
                    if !stays {
                        (start..end).for_each(|x| values.set(base + x, 0));
                    }
                }
                start = end;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Flood fill from each voxel, 26 neighbours.
    fn flooded(values: &[u8], shape: [usize; 3]) -> Vec<Vec<usize>> {
        let mut seen = vec![false; values.len()];
        let mut components = Vec::new();
        for seed in 0..values.len() {
            if values[seed] == 0 || seen[seed] {
                continue;
            }
            seen[seed] = true;
            let (mut component, mut next) = (Vec::new(), vec![seed]);
            while let Some(at) = next.pop() {
                component.push(at);
                let here = [at % shape[0], at / shape[0] % shape[1], at / shape[0] / shape[1]];
                for step in 0..27 {
                    let near: [isize; 3] = std::array::from_fn(|axis| {
                        here[axis] as isize + [step % 3, step / 3 % 3, step / 9][axis] - 1
                    });
                    if (0..3).any(|axis| near[axis] < 0 || near[axis] >= shape[axis] as isize) {
                        continue;
                    }
                    let other =
                        (near[2] as usize * shape[1] + near[1] as usize) * shape[0] + near[0] as usize;
                    if values[other] == values[at] && !seen[other] {
                        seen[other] = true;
                        next.push(other);
                    }
                }
            }
            components.push(component);
        }
        components
    }

    /// The rules by their words.
    fn cleaned(values: &[u8], shape: [usize; 3], rules: &[LabelRule]) -> Vec<u8> {
        let components = flooded(values, shape);
        let mut out = values.to_vec();
        for (index, component) in components.iter().enumerate() {
            let label = values[component[0]];
            let rule = rules[usize::from(label)];
            let beaten = components.iter().enumerate().any(|(other, rival)| {
                values[rival[0]] == label
                    && (rival.len() > component.len() || (rival.len() == component.len() && other < index))
            });
            let small = rule.min_ml.is_some_and(|least| (component.len() as f64) * 8.0 / 1000.0 < least);
            if small || (rule.largest_component && beaten) {
                for &at in component {
                    out[at] = 0;
                }
            }
        }
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn cleaning_is_what_flooding_finds(
            shape in [1usize..9, 1usize..9, 1usize..9],
            seed in proptest::collection::vec(0u8..12, 512),
            largest in proptest::collection::vec(any::<bool>(), 4),
            least in proptest::collection::vec(proptest::option::of(0.0..0.1f64), 4),
        ) {
            let values: Vec<u8> =
                (0..shape.iter().product()).map(|at: usize| [0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 3, 3][usize::from(seed[at])]).collect();
            let rules: Vec<_> = (0..4)
                .map(|label| LabelRule { largest_component: largest[label], min_ml: least[label] })
                .collect();
            let mut got = LabelValues::U8(values.clone());
            clean(&mut got, shape, 8.0, &rules);
            prop_assert_eq!(got, LabelValues::U8(cleaned(&values, shape, &rules)));
        }
    }
}
