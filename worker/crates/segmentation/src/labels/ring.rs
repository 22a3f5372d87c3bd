//! Sums of weighted logits, of those voxels only that later patches reach.
//!
//! Planes along the sweep lie in one of two stores: those kept whole at `plane % planes`, and those that become final in the
//! sweep at work in a store that has only the lines at work, at `line % lines`. A plane that was kept whole moves line by
//! line into the other store when its last sweep comes, and its lines make room for the planes that the sweep reaches anew.
//! Whatever is given up is zeroed, so that what is reached anew is zero.

use std::ops::Range;

use crate::window::{Layout, Plan, Resample};

/// Where the sums of a voxel lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Store {
    Whole,
    Rows,
}

/// How voxels are placed in the stores while one sweep is at work.
#[derive(Clone, Debug)]
struct Places {
    layout: Layout,
    roles: [usize; 3],
    /// First plane of the sweep at work.
    sweep: usize,
    /// Steps along each axis of the grid, in both stores.
    whole: [usize; 3],
    rows: [usize; 3],
}

impl Places {
    fn of(&self, at: [usize; 3]) -> (Store, usize) {
        let [sweep, row, inner] = self.roles;
        let plane = at[sweep] + self.layout.kept[0] - self.sweep;
        if plane < self.layout.row_planes {
            let line = at[row] % self.layout.lines;
            let offset = plane * self.rows[sweep] + line * self.rows[row] + at[inner] * self.rows[inner];
            (Store::Rows, offset)
        } else {
            let plane = at[sweep] % self.layout.planes;
            let offset =
                plane * self.whole[sweep] + at[row] * self.whole[row] + at[inner] * self.whole[inner];
            (Store::Whole, offset)
        }
    }

    /// From `first` on axis 0, the first index of which the sums do not lie behind those of the one before; `end` at most.
    fn joined_to(&self, first: usize, end: usize) -> usize {
        let [sweep, row, _] = self.roles;
        let next_turn = |length: usize| (first / length + 1) * length;
        let joint = if sweep == 0 {
            let border = self.sweep + self.layout.row_planes - self.layout.kept[0];
            if first < border { border } else { next_turn(self.layout.planes) }
        } else if row == 0 {
            next_turn(self.layout.lines)
        } else {
            end
        };
        joint.min(end)
    }
}

/// A part of a grid.
pub type Block = [Range<usize>; 3];

/// The sums of all classes.
#[derive(Debug)]
pub struct Ring {
    places: Places,
    classes: usize,
    /// Voxels of one class in each store.
    sizes: [usize; 2],
    whole: Vec<f32>,
    rows: Vec<f32>,
}

/// A piece of a line along axis 0 whose sums lie side by side in each class.
#[derive(Clone, Copy, Debug)]
pub struct Piece {
    store: Store,
    offset: usize,
    /// Where it begins on the grid.
    pub at: [usize; 3],
    pub len: usize,
}

impl Ring {
    pub fn new(plan: &Plan, classes: usize, resample: Resample) -> Self {
        let layout = plan.layout(resample);
        let [sweep, row, _] = plan.roles;
        let mut shapes = [plan.shape; 2];
        (shapes[0][sweep], shapes[1][sweep], shapes[1][row]) =
            (layout.planes, layout.row_planes, layout.lines);
        let [whole, rows] = shapes.map(|shape| [1, shape[0], shape[0] * shape[1]]);
        let sizes = shapes.map(|shape| shape.iter().product());
        Self {
            places: Places { layout, roles: plan.roles, sweep: 0, whole, rows },
            classes,
            sizes,
            whole: vec![0.0; classes * sizes[0]],
            rows: vec![0.0; classes * sizes[1]],
        }
    }

    pub fn layout(&self) -> Layout {
        self.places.layout
    }

    pub fn bytes(&self) -> usize {
        (self.whole.capacity() + self.rows.capacity()) * size_of::<f32>()
    }

    /// From now on, planes are placed for the sweep that begins at `start`.
    pub fn begin_sweep(&mut self, start: usize) {
        self.places.sweep = start;
    }

    /// The pieces of a line from `at` to `end` on axis 0.
    fn pieces(places: &Places, at: [usize; 3], end: usize) -> impl Iterator<Item = Piece> + '_ {
        let mut next = at[0];
        std::iter::from_fn(move || {
            (next < end).then(|| {
                let here = [next, at[1], at[2]];
                let (store, offset) = places.of(here);
                next = places.joined_to(here[0], end);
                Piece { store, offset, at: here, len: next - here[0] }
            })
        })
    }

    /// Calls `work` with each piece of a block.
    pub fn each_piece<E>(
        &mut self,
        block: &Block,
        mut work: impl FnMut(&mut Self, Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        for z in block[2].clone() {
            for y in block[1].clone() {
                let mut next = block[0].start;
                while next < block[0].end {
                    let at = [next, y, z];
                    let (store, offset) = self.places.of(at);
                    let end = self.places.joined_to(next, block[0].end);
                    work(self, Piece { store, offset, at, len: end - next })?;
                    next = end;
                }
            }
        }
        Ok(())
    }

    /// The sums of one class of a piece.
    pub fn line(&mut self, piece: Piece, class: usize) -> &mut [f32] {
        let start = class * self.sizes[piece.store as usize] + piece.offset;
        let store = match piece.store {
            Store::Whole => &mut self.whole,
            Store::Rows => &mut self.rows,
        };
        &mut store[start..start + piece.len]
    }

    /// The sums of all classes of one voxel, class 0 first.
    pub fn voxel(&self, at: [usize; 3]) -> impl Iterator<Item = f32> + '_ {
        let (store, offset) = self.places.of(at);
        let (values, size) = match store {
            Store::Whole => (&self.whole, self.sizes[0]),
            Store::Rows => (&self.rows, self.sizes[1]),
        };
        (0..self.classes).map(move |class| values[class * size + offset])
    }

    /// Zeroes a block.
    pub fn clear(&mut self, block: &Block) {
        let Ok(()) = self.each_piece::<std::convert::Infallible>(block, |ring, piece| {
            for class in 0..ring.classes {
                ring.line(piece, class).fill(0.0);
            }
            Ok(())
        });
    }

    /// Brings lines of planes that were kept whole to where the sweep at work has them. `block` lies on planes that earlier
    /// sweeps reached; those that stay whole are left where they are.
    pub fn fetch(&mut self, block: &Block) {
        let [sweep, row, inner] = self.places.roles;
        let (step, planes) = (self.places.whole, self.places.layout.planes);
        let Ok(()) = self.each_piece::<std::convert::Infallible>(block, |ring, piece| {
            if piece.store == Store::Whole {
                return Ok(());
            }
            let mut done = 0;
            while done < piece.len {
                let at = [piece.at[0] + done, piece.at[1], piece.at[2]];
                let plane = at[sweep] % planes;
                let from = plane * step[sweep] + at[row] * step[row] + at[inner] * step[inner];
                let left = piece.len - done;
                let len = if sweep == 0 { left.min(planes - plane) } else { left };
                for class in 0..ring.classes {
                    let source = &mut ring.whole[class * ring.sizes[0] + from..][..len];
                    ring.rows[class * ring.sizes[1] + piece.offset + done..][..len].copy_from_slice(source);
                    source.fill(0.0);
                }
                done += len;
            }
            Ok(())
        });
    }

    /// Adds the weighted logits of a patch that begins at `start`. False when there was NaN or infinity among them.
    pub fn add(&mut self, plan: &Plan, start: [usize; 3], logits: &[f32]) -> bool {
        let patch = plan.window.patch;
        let [fast, middle, slow] = &plan.axes;
        let curves: [&[f32]; 3] = std::array::from_fn(|axis| plan.weights.along(axis));
        let mut finite = true;
        for (class, logits) in logits.chunks_exact(patch.iter().product()).enumerate() {
            for z in 0..slow.extent {
                for y in 0..middle.extent {
                    let (in_z, in_y) = (z + slow.skipped, y + middle.skipped);
                    let outer = curves[2][in_z] * curves[1][in_y];
                    let line = &logits[(in_z * patch[1] + in_y) * patch[0]..][..patch[0]];
                    let at = [start[0], start[1] + y, start[2] + z];
                    for piece in Self::pieces(&self.places, at, start[0] + fast.extent) {
                        let first = piece.at[0] - start[0] + fast.skipped;
                        let logits = &line[first..first + piece.len];
                        let curve = &curves[0][first..first + piece.len];
                        let sums = match piece.store {
                            Store::Whole => &mut self.whole[class * self.sizes[0] + piece.offset..],
                            Store::Rows => &mut self.rows[class * self.sizes[1] + piece.offset..],
                        };
                        finite &= add_line(&mut sums[..piece.len], logits, curve, outer, &plan.weights);
                    }
                }
            }
        }
        finite
    }
}

/// The bits of the exponent: all are set in infinity and NaN alone.
pub const EXPONENT: u32 = 0x7f80_0000;

fn add_line(
    sums: &mut [f32],
    logits: &[f32],
    curve: &[f32],
    outer: f32,
    weights: &crate::window::Weights,
) -> bool {
    let mut unbounded = 0u32;
    for ((sum, &logit), &factor) in sums.iter_mut().zip(logits).zip(curve) {
        *sum += logit * weights.of(outer * factor);
        unbounded |= u32::from(logit.to_bits() & EXPONENT == EXPONENT);
    }
    unbounded == 0
}
