//! One plane through a volume, as radiologists look at it.

use crate::labels::LabelMap;
use crate::types::Grid;

/// Soft tissue: a level of 40 and a width of 400 Hounsfield units.
const DARKEST: f64 = -160.0;
const BRIGHTEST: f64 = 240.0;

/// A plane of the patient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Plane {
    Axial,
    Coronal,
    Sagittal,
}

impl Plane {
    pub const ALL: [Self; 3] = [Self::Axial, Self::Coronal, Self::Sagittal];

    /// Axes of the world (right, anterior, superior) that run across the image, down it, and through it. Along the first two
    /// the image runs against the axis: the patient's right and front are on the left, front and head on top.
    const fn axes(self) -> [usize; 3] {
        match self {
            Self::Axial => [0, 1, 2],
            Self::Coronal => [0, 2, 1],
            Self::Sagittal => [1, 2, 0],
        }
    }

    /// Letters at the left, right, upper and lower side.
    pub const fn letters(self) -> [&'static str; 4] {
        match self {
            Self::Axial => ["R", "L", "A", "P"],
            Self::Coronal => ["R", "L", "H", "F"],
            Self::Sagittal => ["A", "P", "H", "F"],
        }
    }
}

/// Which axis of the grid runs along each axis of the world, whether it runs along or against it, and its voxel's length.
#[derive(Clone, Copy, Debug)]
pub struct Frame {
    axis: [usize; 3],
    along: [bool; 3],
    mm: [f64; 3],
}

impl Frame {
    /// The order of the grid's axes that is nearest to the world's; `None` where voxels have no length.
    pub fn new(affine: &[[f64; 4]; 3]) -> Option<Self> {
        let lengths =
            [0, 1, 2].map(|axis| affine.iter().map(|row| row[axis] * row[axis]).sum::<f64>().sqrt());
        if lengths.iter().any(|length| !(length.is_finite() && *length > 0.0)) {
            return None;
        }
        let orders = [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]];
        let fit = |order: &[usize; 3]| -> f64 {
            (0..3).map(|world| affine[world][order[world]].abs() / lengths[order[world]]).sum()
        };
        let axis = orders.into_iter().max_by(|a, b| fit(a).total_cmp(&fit(b)))?;
        Some(Self {
            axis,
            along: [0, 1, 2].map(|world| affine[world][axis[world]] > 0.0),
            mm: axis.map(|axis| lengths[axis]),
        })
    }

    /// Size of the volume along the axes of the world, in mm.
    pub fn extent_mm(&self, shape: [usize; 3]) -> [f64; 3] {
        [0, 1, 2].map(|world| shape[self.axis[world]] as f64 * self.mm[world])
    }

    /// Whether an axis of the grid runs along that of the world.
    pub fn runs_along(&self, axis: usize) -> bool {
        (0..3).any(|world| self.axis[world] == axis && self.along[world])
    }

    /// The axis of the grid that a plane is a slice of.
    pub const fn through(&self, plane: Plane) -> usize {
        self.axis[plane.axes()[2]]
    }
}

/// Where a pixel lies between two voxels, as steps in memory, in the order of the image.
struct Sample {
    before: usize,
    after: usize,
    share: f64,
}

impl Sample {
    fn nearest(&self) -> usize {
        if self.share < 0.5 { self.before } else { self.after }
    }
}

/// The pixels across or down a view.
struct Samples(Vec<Sample>);

impl Samples {
    fn along(frame: &Frame, shape: [usize; 3], world: usize, pixels: usize) -> Self {
        let axis = frame.axis[world];
        let (length, step) = (shape[axis], step_of(shape, axis));
        let sample = |pixel: usize| {
            let place = (pixel as f64 + 0.5) * length as f64 / pixels as f64 - 0.5;
            let place = place.clamp(0.0, length as f64 - 1.0);
            let before = place.floor() as usize;
            // The image runs against the axes of the world.
            let voxel = |index: usize| if frame.along[world] { length - 1 - index } else { index };
            let after = (before + 1).min(length - 1);
            Sample { before: voxel(before) * step, after: voxel(after) * step, share: place - before as f64 }
        };
        Self((0..pixels).map(sample).collect())
    }
}

fn step_of(shape: [usize; 3], axis: usize) -> usize {
    shape[..axis].iter().product()
}

fn between(a: f64, b: f64, share: f64) -> f64 {
    a * (1.0 - share) + b * share
}

/// Grey and label of each pixel, rows from the top.
pub struct View {
    pub width: usize,
    pub height: usize,
    pub grey: Vec<u8>,
    pub labels: Vec<usize>,
}

impl View {
    /// The slice at `index`, with pixels of `pixel_mm`: grey between voxels is interpolated, labels are the nearest.
    pub fn new(
        labels: &LabelMap,
        hu: &Grid<i16>,
        frame: &Frame,
        plane: Plane,
        index: usize,
        pixel_mm: f64,
    ) -> Self {
        let [across, down, through] = plane.axes();
        let extent = frame.extent_mm(labels.shape);
        let size = |world: usize| ((extent[world] / pixel_mm).round() as usize).max(1);
        let (width, height) = (size(across), size(down));
        let columns = Samples::along(frame, labels.shape, across, width);
        let rows = Samples::along(frame, labels.shape, down, height);
        let base = index * step_of(labels.shape, frame.axis[through]);
        let (mut grey, mut marks) = (Vec::with_capacity(width * height), Vec::with_capacity(width * height));
        for row in &rows.0 {
            for column in &columns.0 {
                let value = |x: usize, y: usize| f64::from(hu.values[base + x + y]);
                let line = |y: usize| between(value(column.before, y), value(column.after, y), column.share);
                let unit = between(line(row.before), line(row.after), row.share);
                let share = ((unit - DARKEST) / (BRIGHTEST - DARKEST)).clamp(0.0, 1.0);
                grey.push((share * 255.0).round() as u8);
                marks.push(labels.values.get(base + column.nearest() + row.nearest()));
            }
        }
        Self { width, height, grey, labels: marks }
    }

    /// The label of a segment's pixel that has another label beside it, above or below it; else 0.
    pub fn contour(&self, x: usize, y: usize) -> usize {
        let label = self.labels[y * self.width + x];
        let beside = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
        let differs = |&(x, y): &(usize, usize)| {
            x < self.width && y < self.height && self.labels[y * self.width + x] != label
        };
        if beside.iter().any(differs) { label } else { 0 }
    }
}
