//! Splines through volumes, one axis after the other, without a copy of the volume in double precision.

use super::plan::across;
use super::spline::Line;
use super::target::Target;
use super::values::Values;
use super::view::View;
use crate::recipe::ImageOrder;

/// Resamples slices across one axis.
struct Slices<'a> {
    view: &'a View<'a>,
    values: &'a Values,
    axis: usize,
    lines: [Line; 2],
    slice: Vec<f64>,
    padded: Vec<f64>,
    narrow: Vec<f64>,
    row: Vec<f64>,
    out: Vec<f64>,
}

impl<'a> Slices<'a> {
    fn new(
        view: &'a View<'a>,
        values: &'a Values,
        axis: usize,
        order: ImageOrder,
        places: [&[f64]; 3],
    ) -> Self {
        let [wide, high] = across(view.shape, axis);
        let [along, down] = across(places, axis);
        Self {
            view,
            values,
            axis,
            lines: [Line::new(order, wide, along), Line::new(order, high, down)],
            slice: Vec::with_capacity(wide * high),
            padded: Vec::with_capacity(wide * (high + 24) + 24),
            narrow: Vec::with_capacity(wide * down.len()),
            row: Vec::with_capacity(along.len()),
            out: Vec::with_capacity(along.len() * down.len()),
        }
    }

    /// Resamples slice `at` into `out`, and gives the least and greatest value of the slice.
    fn resample(&mut self, at: usize) -> [f64; 2] {
        let [wide, high] = across(self.view.shape, self.axis);
        let [first, second] = across([0, 1, 2], self.axis);
        let mut range = [f64::INFINITY, f64::NEG_INFINITY];
        let along: isize = self.view.offset(self.axis, at);
        self.slice.clear();
        for row in 0..high {
            let row = along + self.view.offset(second, row);
            for column in 0..wide {
                let value = self.values.before(self.view.value(row + self.view.offset(first, column)));
                range = [range[0].min(value), range[1].max(value)];
                self.slice.push(value);
            }
        }
        self.lines[1].apply(&self.slice, wide, &mut self.padded, &mut self.narrow);
        self.out.clear();
        for row in self.narrow.chunks_exact(wide) {
            self.lines[0].apply(row, 1, &mut self.padded, &mut self.row);
            self.out.extend_from_slice(&self.row);
        }
        range
    }
}

/// Fills `target` at `places` along x, y, z by splines along all of them.
///
/// Slices are resampled as they are read, and are kept in single precision until the third axis is done.
pub fn volume(view: &View<'_>, values: &Values, order: ImageOrder, places: [&[f64]; 3], target: &mut Target) {
    let [width, height, depth] = target.shape;
    let mut between: Vec<f32> = Vec::with_capacity(width * height * view.shape[2]);
    let mut slices = Slices::new(view, values, 2, order, places);
    let mut range = [f64::INFINITY, f64::NEG_INFINITY];
    for at in 0..view.shape[2] {
        let [low, high] = slices.resample(at);
        range = [range[0].min(low), range[1].max(high)];
        between.extend(slices.out.iter().map(|value| *value as f32));
    }
    drop(slices);
    let line = Line::new(order, view.shape[2], places[2]);
    let (mut rows, mut padded, mut out) = (Vec::new(), Vec::new(), Vec::new());
    let strides = target.strides();
    for y in 0..height {
        rows.clear();
        for z in 0..view.shape[2] {
            let row = &between[(z * height + y) * width..][..width];
            rows.extend(row.iter().map(|value| f64::from(*value)));
        }
        line.apply(&rows, width, &mut padded, &mut out);
        for z in 0..depth {
            let first = y * strides[1] + z * strides[2];
            for x in 0..width {
                let value = clipped(values, out[z * width + x], range);
                target.values[first + x * strides[0]] = values.after(value);
            }
        }
    }
}

/// Fills `target` by splines in the slices across `axis`, and by the slice at each of the places along it.
pub fn slices(
    view: &View<'_>,
    values: &Values,
    order: ImageOrder,
    places: [&[f64]; 3],
    axis: usize,
    target: &mut Target,
) {
    let [first, second] = across([0, 1, 2], axis);
    let strides = target.strides();
    let [wide, high] = [target.shape[first], target.shape[second]];
    let mut slices = Slices::new(view, values, axis, order, places);
    let mut resampled = None;
    for (slice, place) in places[axis].iter().enumerate() {
        let at = *place as usize;
        let range = match resampled {
            Some((same, range)) if same == at => range,
            _ => slices.resample(at),
        };
        resampled = Some((at, range));
        for row in 0..high {
            let start = slice * strides[axis] + row * strides[second];
            for column in 0..wide {
                let value = clipped(values, slices.out[row * wide + column], range);
                target.values[start + column * strides[first]] = values.after(value);
            }
        }
    }
}

fn clipped(values: &Values, value: f64, [low, high]: [f64; 2]) -> f64 {
    if values.clipped { value.clamp(low, high) } else { value }
}
