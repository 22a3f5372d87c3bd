//! Patches of logits in, labels out.

use std::ops::Range;

use nightread_volume::Affine;

use super::back::{check, interpolated, nearest};
use super::cells::Cells;
use super::components::{LabelRule, clean};
use super::error::LabelError;
use super::final_lines::FinalLines;
use super::map::{LabelMap, LabelValues};
use super::ring::{Block, Ring};
use crate::types::Back;
use crate::window::{Plan, Resample, Turn};

/// Adds patches and takes labels where no later patch reaches.
#[derive(Debug)]
pub struct Accumulator<'a> {
    plan: &'a Plan,
    back: &'a Back,
    classes: usize,
    source_shape: [usize; 3],
    /// Where on the source labels may lie.
    inside: [Range<usize>; 3],
    ring: Ring,
    lines: FinalLines,
    /// On the model's grid.
    labels: LabelValues,
    /// Only where logits are interpolated: how, and the labels on the source's grid.
    cells: Option<(Cells, LabelValues)>,
    next: usize,
    spoilt: bool,
}

/// A label map, and how sure the network was.
#[derive(Clone, Debug)]
pub struct Finished {
    pub map: LabelMap,
    /// For each class the mean, over the voxels of the model's grid that the network gave to it, of the class's softmax
    /// probability there; before small components are dropped. `None` for class 0 and for classes without voxels.
    pub confidence: Vec<Option<f32>>,
}

impl<'a> Accumulator<'a> {
    /// Takes all memory that [`Plan::memory`] tells, but for what `finish` takes.
    ///
    /// # Errors
    /// A number of classes that makes no sense, or a way back that does not fit; logits of a sheared source.
    pub fn new(
        plan: &'a Plan,
        classes: usize,
        back: &'a Back,
        resample: Resample,
        source_shape: [usize; 3],
    ) -> Result<Self, LabelError> {
        if classes == 0 || classes > usize::from(u16::MAX) {
            return Err(LabelError::Classes(classes));
        }
        check(back, plan.shape, source_shape)?;
        let cells = match resample {
            Resample::Labels => None,
            Resample::Logits => {
                let axes = interpolated(back, plan.shape)?;
                let cells = Cells::new(axes, plan.shape, source_shape, classes);
                Some((cells, LabelValues::zeros(classes, source_shape.iter().product())))
            }
        };
        Ok(Self {
            plan,
            back,
            classes,
            source_shape,
            inside: source_shape.map(|side| 0..side),
            ring: Ring::new(plan, classes, resample),
            lines: FinalLines::new(plan.shape[0], classes),
            labels: LabelValues::zeros(classes, plan.shape.iter().product()),
            cells,
            next: 0,
            spoilt: false,
        })
    }

    /// Gives label 0 to voxels of the source outside of these ranges along its axes: a recipe may have cut them off.
    ///
    /// # Errors
    /// Ranges that are not on the source.
    pub fn with_inside(mut self, inside: [Range<usize>; 3]) -> Result<Self, LabelError> {
        if inside
            .iter()
            .zip(self.source_shape)
            .any(|(range, side)| range.start > range.end || range.end > side)
        {
            return Err(LabelError::Back(format!("{inside:?} is not within {:?}", self.source_shape)));
        }
        self.inside = inside;
        Ok(self)
    }

    /// Bytes that are held now.
    pub fn bytes(&self) -> usize {
        let interpolation = self.cells.as_ref().map_or(0, |(cells, source)| cells.bytes() + source.bytes());
        self.ring.bytes() + self.lines.bytes() + self.labels.bytes() + interpolation
    }

    /// Adds patch `index`: logits of C classes on the patch, axis 0 fastest, class slowest. They are read, not kept.
    ///
    /// # Errors
    /// A patch out of order, another length, NaN or infinity; after that nothing can be added.
    pub fn add(&mut self, index: usize, logits: &[f32]) -> Result<(), LabelError> {
        if self.spoilt {
            return Err(LabelError::Spoilt);
        }
        let added = self.try_add(index, logits);
        self.spoilt = added.is_err();
        added
    }

    fn try_add(&mut self, index: usize, logits: &[f32]) -> Result<(), LabelError> {
        if index != self.next || index >= self.plan.len() {
            return Err(LabelError::Order { expected: self.next, given: index });
        }
        let patch: usize = self.plan.window.patch.iter().product();
        if Some(logits.len()) != patch.checked_mul(self.classes) {
            let expected = patch.saturating_mul(self.classes);
            return Err(LabelError::Length { expected, given: logits.len() });
        }
        let turn = self.plan.turn(index);
        if turn.begins_row {
            self.begin_row(turn);
        }
        if !self.ring.add(self.plan, self.plan.start(turn), logits) {
            return Err(LabelError::NotFinite { patch: index });
        }
        if turn.ends_row {
            self.end_row(turn, index)?;
        }
        self.next += 1;
        Ok(())
    }

    /// The planes that become final in a sweep: to where the next one begins, or the grid ends.
    fn final_planes(&self, sweep: usize) -> Range<usize> {
        let is_last = sweep + 1 == self.plan.sweeps.len();
        let end =
            if is_last { self.plan.shape[self.plan.roles[0]] } else { self.plan.reached(sweep + 1).start };
        self.plan.reached(sweep).start..end
    }

    /// The same of lines with a row.
    fn final_lines(&self, row: usize) -> Range<usize> {
        let axis = self.plan.roles[1];
        let starts = &self.plan.axes[axis].starts;
        starts[row]..starts.get(row + 1).copied().unwrap_or(self.plan.shape[axis])
    }

    /// The part of the grid with these ranges along the sweep and the row, and all of the third axis.
    fn block(&self, sweep: Range<usize>, row: Range<usize>) -> Block {
        let mut block: Block = [0..0, 0..0, 0..0];
        let [first, second, third] = self.plan.roles;
        block[third] = 0..self.plan.shape[third];
        (block[first], block[second]) = (sweep, row);
        block
    }

    /// Makes room for what a row reaches anew.
    fn begin_row(&mut self, Turn { sweep, row, .. }: Turn) {
        let across = &self.plan.axes[self.plan.roles[1]];
        let start = self.plan.reached(sweep).start;
        self.ring.begin_sweep(start);
        if sweep == 0 {
            return;
        }
        let layout = self.ring.layout();
        let first = start - layout.kept[0];
        let reached = self.plan.reached(sweep - 1).end;
        let planes = first..reached.min(first + layout.row_planes).max(first);
        let before = if row == 0 { 0 } else { across.starts[row - 1] + across.extent };
        let block = self.block(planes, before..across.starts[row] + across.extent);
        self.ring.fetch(&block);
    }

    /// Takes the labels of what became final with a row, and gives up what nothing needs any more.
    fn end_row(&mut self, Turn { sweep, row, .. }: Turn, patch: usize) -> Result<(), LabelError> {
        let (planes, lines) = (self.final_planes(sweep), self.final_lines(row));
        let block = self.block(planes.clone(), lines.clone());
        let (plan, own, labels) = (self.plan, &mut self.lines, &mut self.labels);
        self.ring.each_piece(&block, |ring, piece| {
            if own.settle(ring, piece, plan, labels) { Ok(()) } else { Err(LabelError::NotFinite { patch }) }
        })?;
        let cells = {
            let cells = |role: usize, range: Range<usize>| {
                let length = self.plan.shape[self.plan.roles[role]];
                let end = if range.end == length { length.max(2) } else { range.end };
                range.start.saturating_sub(1)..end - 1
            };
            let mut block = self.block(cells(0, planes.clone()), cells(1, lines.clone()));
            let third = self.plan.roles[2];
            block[third].end = block[third].end.max(2) - 1;
            block
        };
        if let Some((interpolation, source)) = &mut self.cells {
            interpolation.label(&cells, &self.ring, &self.labels, source);
        }
        let released = |role: usize, range: Range<usize>, kept: usize| {
            let length = self.plan.shape[self.plan.roles[role]];
            let end = if range.end == length { length } else { range.end - kept };
            range.start.saturating_sub(kept)..end
        };
        let kept = self.ring.layout().kept;
        let block = self.block(released(0, planes, kept[0]), released(1, lines, kept[1]));
        self.ring.clear(&block);
        Ok(())
    }

    /// The label map on the source's grid. Without interpolation the ring's memory is given back first.
    ///
    /// `affine` is the source's, `model_voxel_mm3` the volume of a voxel of the model's grid; `rules` has one for each class,
    /// or none at all. Rules are applied where labels are taken: on the model's grid, with interpolated logits on the source's.
    ///
    /// # Errors
    /// Patches that are missing, or rules for other labels.
    pub fn finish(
        self,
        affine: [[f64; 4]; 3],
        model_voxel_mm3: f64,
        rules: &[LabelRule],
    ) -> Result<Finished, LabelError> {
        if self.spoilt {
            return Err(LabelError::Spoilt);
        }
        if self.next != self.plan.len() {
            return Err(LabelError::Incomplete { taken: self.next, patches: self.plan.len() });
        }
        if !rules.is_empty() && rules.len() != self.classes {
            return Err(LabelError::Rules { classes: self.classes, rules: rules.len() });
        }
        let Self { plan, back, classes, source_shape, inside, ring, lines, mut labels, cells, .. } = self;
        drop(ring);
        let mut confidence = lines.confidence();
        confidence[0] = None;
        let values = if let Some((_, mut source)) = cells {
            drop(labels);
            source.keep_inside(source_shape, &inside);
            clean(&mut source, source_shape, Affine(affine).determinant().abs(), rules);
            source
        } else {
            drop(lines);
            clean(&mut labels, plan.shape, model_voxel_mm3, rules);
            let mut source = nearest(&labels, plan.shape, back, source_shape, classes);
            source.keep_inside(source_shape, &inside);
            source
        };
        Ok(Finished { map: LabelMap { shape: source_shape, affine, values }, confidence })
    }
}
