//! CT volumes brought onto a model's grid, and the way back for what the network says of it.
//!
//! ```text
//! prepare(&Grid<i16>, &Recipe, budget_bytes) -> Result<PreparedVolume, PrepareError>
//! model_shape(shape, affine, &Recipe) -> Result<Needs, PrepareError>            // from headers alone
//! ```
//!
//! Arithmetic is in double precision where the peers' is. What lies outside of the field of view (padding of -2000 and the
//! like) is taken as it comes, as the peers take it: clamping is for whoever reads the series.

mod error;
mod intensity;
mod linear;
mod monai;
mod nnunet;
mod passes;
mod plan;
mod spline;
mod target;
mod totalseg;
mod turn;
mod values;
mod view;

pub use error::PrepareError;

use std::ops::Range;

use crate::recipe::{ImageOrder, Intensity, Recipe, RecipeId};
use crate::types::{Back, Grid};
use plan::{Plan, Route};
use target::Target;
use turn::Turned;
use values::Values;
use view::View;

/// A volume as the network takes it.
#[derive(Clone, Debug)]
pub struct PreparedVolume {
    /// The model's grid. Axis 0 is the fastest in memory and the *last* spatial axis of the network's tensor, so the values
    /// are the tensor's as they lie. The affine says where each voxel was truly sampled.
    pub grid: Grid<f32>,
    /// From the source's axes to the grid's, in the grid's order: what the peer does with its labels or logits.
    pub back: Back,
    /// Voxels along each axis of the *source* that a label can come to. Outside of them is background: nnU-Net cuts planes
    /// of nothing but 0 off at the sides of a volume, and never looks at them. Nearly always all.
    pub inside: [Range<usize>; 3],
}

/// What preparing takes, told by a header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Needs {
    /// Voxels of the model's grid, axis 0 fastest; with planes of nothing but 0 at the sides there are fewer.
    pub shape: [usize; 3],
    /// Bytes of the grid (4 for each voxel).
    pub grid_bytes: u64,
    /// The most bytes that are held at once while it is made, the grid with them, the source without.
    pub peak_bytes: u64,
}

/// The model's grid of a volume of this shape and place (voxel to mm, RAS+).
///
/// # Errors
/// The shape or affine is no volume's, or the grid would have no voxels, or more than any has.
pub fn model_shape(shape: [usize; 3], affine: [[f64; 4]; 3], recipe: &Recipe) -> Result<Needs, PrepareError> {
    let turned = Turned::new(shape, affine, recipe.settings().orientation)?;
    let plan = whole(turned, recipe)?;
    Ok(needs(&plan, recipe))
}

/// Brings `source` (Hounsfield units) onto the model's grid, in at most `budget_bytes` beside the source.
///
/// # Errors
/// As [`model_shape`], and where values are missing or the budget would be exceeded; nothing is allocated before.
pub fn prepare(
    source: &Grid<i16>,
    recipe: &Recipe,
    budget_bytes: u64,
) -> Result<PreparedVolume, PrepareError> {
    let settings = recipe.settings();
    let turned = Turned::new(source.shape, source.affine, settings.orientation)?;
    let expected = source.shape.iter().map(|length| *length as u64).product();
    let found = source.values.len() as u64;
    if found != expected {
        return Err(PrepareError::ValuesMissing { expected, found });
    }
    let mut plan = whole(turned, recipe)?;
    let needs = needs(&plan, recipe);
    if needs.peak_bytes > budget_bytes {
        let (needed_bytes, model) = (needs.peak_bytes, needs.shape);
        return Err(PrepareError::TooLarge { needed_bytes, budget_bytes, model });
    }
    let mut view = View::new(source, &plan.turned);
    if settings.id == RecipeId::Nnunet {
        let crop = view.nonzero();
        view = view.cropped(&crop);
        plan = planned(plan.turned, crop, recipe)?;
    }
    let mut target = Target::new(plan.model_shape(), settings.axis_order.grid_axes());
    fill(&view, &plan, recipe, &mut target);
    if settings.id == RecipeId::Totalseg {
        // nnU-Net gets the resampled file, and crops that.
        let kept = target.nonzero();
        target.keep(&kept);
        plan.keep(&kept);
    }
    if settings.id != RecipeId::Nnunet {
        intensity::scale(&settings.intensity, &mut target.values);
    }
    let grid_axes = target.grid_axes;
    let shape = grid_axes.map(|axis| target.shape[axis]);
    let affine = plan.affine.0.map(|row| [row[grid_axes[0]], row[grid_axes[1]], row[grid_axes[2]], row[3]]);
    let (back, inside) = (plan.back(grid_axes), plan.inside());
    Ok(PreparedVolume { grid: Grid { shape, affine, values: target.values }, back, inside })
}

fn whole(turned: Turned, recipe: &Recipe) -> Result<Plan, PrepareError> {
    let crop = turned.shape().map(|length| 0..length);
    planned(turned, crop, recipe)
}

/// What the recipe does with a volume of which `crop` is taken.
fn planned(turned: Turned, crop: [Range<usize>; 3], recipe: &Recipe) -> Result<Plan, PrepareError> {
    match recipe.settings().id {
        RecipeId::Totalseg => totalseg::plan(turned, crop, recipe),
        RecipeId::Nnunet => nnunet::plan(turned, crop, recipe),
        RecipeId::Monai => monai::plan(turned, crop, recipe),
    }
}

fn needs(plan: &Plan, recipe: &Recipe) -> Needs {
    let model = plan.model_shape();
    let grid_bytes = model.iter().map(|length| *length as u64).product::<u64>() * size_of::<f32>() as u64;
    let shape = recipe.settings().axis_order.grid_axes().map(|axis| model[axis]);
    Needs { shape, grid_bytes, peak_bytes: plan.bytes() }
}

/// Values of the volume at the voxels of the target.
fn fill(view: &View<'_>, plan: &Plan, recipe: &Recipe, target: &mut Target) {
    let values = values_of(recipe);
    let [x, y, z] = &plan.axes;
    let places = [&x.forward[..], &y.forward, &z.forward];
    match &plan.route {
        // Places are the voxels themselves, and nothing is cut: TotalSegmentator leaves such a volume as it is.
        Route::Copy | Route::Splines(ImageOrder::Linear) => linear::along_axes(view, &values, places, target),
        Route::Splines(order) => passes::volume(view, &values, *order, places, target),
        Route::Slices(axis, order) => passes::slices(view, &values, *order, places, *axis, target),
        Route::Sheared(to_turned) => linear::sheared(view, &values, to_turned, target),
    }
}

fn values_of(recipe: &Recipe) -> Values {
    let intensity: Intensity = recipe.settings().intensity;
    match recipe.settings().id {
        RecipeId::Totalseg => Values { normalised: None, clipped: false, whole: true },
        RecipeId::Nnunet => Values { normalised: Some(intensity), clipped: true, whole: false },
        RecipeId::Monai => Values { normalised: None, clipped: false, whole: false },
    }
}
