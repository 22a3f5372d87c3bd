//! What of the logits is kept while patches come, and how much memory that takes.
//!
//! Patches come in sweeps along the longest axis, in each sweep in rows along the next longest. After a sweep, all planes
//! that no later sweep reaches are final, so only the others are kept whole. Of the planes that become final *in* a sweep,
//! only the lines that the row at work reaches are kept: after a row, all lines that no later row reaches are final.
//!
//! With `C` classes, patches of `P` voxels, the least step `s` along the sweep and the shorter sides `A <= B` that is
//! `4 C [(P - s) A B + s P A]` bytes. Interpolated logits need one plane and one line more. Where the last step is much shorter
//! than the others, the last two starts are one sweep, which is longer than a patch and leaves `s` to the others.

use super::plan::Plan;

/// What is brought from the model's grid to the source's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Labels, to the nearest voxel (TotalSegmentator, most of MONAI's bundles).
    Labels,
    /// Logits, linearly; then labels (nnU-Net).
    Logits,
}

/// Sizes of the two stores, in voxels of one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Layout {
    /// Planes and lines that stay for one sweep and one row after they became final: 0 or 1.
    pub kept: [usize; 2],
    /// Planes kept whole.
    pub planes: usize,
    /// Planes of which only lines at work are kept.
    pub row_planes: usize,
    /// Lines at work.
    pub lines: usize,
}

/// Bytes that making a label map takes, the networks' output and the source aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Sums of weighted logits.
    pub ring: usize,
    /// Labels on the model's grid.
    pub model_labels: usize,
    /// Labels on the source's grid.
    pub source_labels: usize,
    /// Tables and lines of scratch.
    pub scratch: usize,
    /// The most that is held at once.
    pub peak: usize,
}

/// Bytes of one label: one up to 255 classes, else two.
pub const fn label_bytes(classes: usize) -> usize {
    if classes > 255 { 2 } else { 1 }
}

impl Plan {
    /// MONAI's last patch ends where the grid ends, however little after the one before: all planes that both reach would wait
    /// for it whole. Where that takes more, the last two starts are one sweep.
    pub(super) fn with_least_memory(self) -> Self {
        let count = self.sweeps.len();
        let Some(last) = count.checked_sub(2) else { return self };
        let mut joined = self.clone();
        joined.sweeps.truncate(last);
        joined.sweeps.push(last..count);
        let takes_less = joined.ring_voxels(Resample::Labels) < self.ring_voxels(Resample::Labels);
        if takes_less { joined } else { self }
    }

    pub(crate) fn layout(&self, resample: Resample) -> Layout {
        let wanted = usize::from(resample == Resample::Logits);
        let row = self.roles[1];
        let across = &self.axes[row];
        let kept = [self.sweeps.len(), across.starts.len()].map(|count| if count > 1 { wanted } else { 0 });
        let reached = (0..self.sweeps.len()).map(|sweep| self.reached(sweep));
        let extent = reached.clone().map(|planes| planes.len()).max().unwrap_or_default();
        let least = reached.clone().zip(reached.skip(1)).map(|(one, next)| next.start - one.start).min();
        let planes = least.map_or(0, |least| extent - least + kept[0]);
        Layout { kept, planes, row_planes: extent + kept[0] - planes, lines: across.extent + kept[1] }
    }

    /// Voxels whose sums are kept, of one class.
    pub(super) fn ring_voxels(&self, resample: Resample) -> usize {
        let Layout { planes, row_planes, lines, .. } = self.layout(resample);
        let [_, row, inner] = self.roles;
        let (wide, long) = (self.shape[inner], self.shape[row]);
        let whole = planes.saturating_mul(wide).saturating_mul(long);
        whole.saturating_add(row_planes.saturating_mul(lines).saturating_mul(wide))
    }

    /// What a label map of `classes` takes on a source of this shape, in bytes; exact, but for cleaning (see
    /// [`crate::labels::LabelRule`]). Sizes beyond what can be counted saturate, so that no budget has room for them.
    pub fn memory(&self, classes: usize, resample: Resample, source_shape: [usize; 3]) -> Memory {
        let ring = self.ring_voxels(resample).saturating_mul(classes).saturating_mul(size_of::<f32>());
        let label = label_bytes(classes);
        let volume = |shape: [usize; 3]| shape.iter().fold(label, |bytes, &side| bytes.saturating_mul(side));
        let (model_labels, source_labels) = (volume(self.shape), volume(source_shape));
        let cells: usize = self.shape.iter().map(|&side| side.max(2)).fold(0, usize::saturating_add);
        let tables = match resample {
            Resample::Labels => 0,
            Resample::Logits => source_shape
                .iter()
                .fold(0, |sum: usize, &side| sum.saturating_add(side))
                .saturating_mul(size_of::<(u32, f32)>())
                .saturating_add(cells.saturating_mul(size_of::<u32>()))
                .saturating_add(classes.saturating_mul(size_of::<[f32; 8]>() + size_of::<u32>())),
        };
        // Three lines of scratch along axis 0 and one of labels; for each class a sum and a count.
        let lines = self.shape[0].saturating_mul(3 * size_of::<f32>() + size_of::<u32>());
        let scratch = tables
            .saturating_add(lines)
            .saturating_add(classes.saturating_mul(size_of::<f64>() + size_of::<u64>()));
        let with_ring = ring.saturating_add(scratch).saturating_add(model_labels);
        let peak = match resample {
            // The ring is given back before the source's labels are taken, with a table of where each index lies.
            Resample::Labels => with_ring.max(
                model_labels.saturating_add(source_labels).saturating_add(
                    source_shape
                        .iter()
                        .fold(0, |bytes: usize, side| bytes.saturating_add(side.saturating_mul(8))),
                ),
            ),
            Resample::Logits => with_ring.saturating_add(source_labels),
        };
        Memory { ring, model_labels, source_labels, scratch, peak }
    }
}
