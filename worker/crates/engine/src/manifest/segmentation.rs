//! What a manifest says of a network that gives each voxel of a CT volume a label.

use nightread_domain::result::Laterality;

use super::reader::Reader;

/// Whose way a volume goes to the network's grid. They differ by up to a voxel, so each has a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CtRecipe {
    /// As TotalSegmentator does it: the corners of both grids meet (SciPy's `zoom`).
    Totalseg1,
    /// As nnU-Net does it: the edges of both grids meet (scikit-image's `resize`), normalised before.
    Nnunet1,
    /// As MONAI's `Spacing` does it: true to the affine.
    Monai1,
}

impl CtRecipe {
    pub const ALL: [Self; 3] = [Self::Totalseg1, Self::Nnunet1, Self::Monai1];

    /// As in manifests and results.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Totalseg1 => "ct-totalseg-1",
            Self::Nnunet1 => "ct-nnunet-1",
            Self::Monai1 => "ct-monai-1",
        }
    }
}

/// How a volume is turned before it is resampled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Orientation {
    /// The axes nearest to right to left, posterior to anterior, inferior to superior, in this order.
    Ras,
    AsStored,
}

impl Orientation {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ras => "RAS",
            Self::AsStored => "as-stored",
        }
    }
}

/// The order of the network's spatial axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AxisOrder {
    Xyz,
    /// nnU-Net's.
    Zyx,
}

impl AxisOrder {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Xyz => "xyz",
            Self::Zyx => "zyx",
        }
    }
}

/// How Hounsfield units become values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Intensity {
    /// Clipped, then `(x - mean) / std`.
    Statistics { clip: [f64; 2], mean: f64, std: f64 },
    /// Clipped; the ends of the clip become these.
    Range { clip: [f64; 2], range: [f64; 2] },
}

/// From Hounsfield units to the network's grid.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CtPreprocessing {
    pub recipe: CtRecipe,
    /// Of the network's grid, along x, y, z of the turned volume.
    pub spacing_mm: [f64; 3],
    pub orientation: Orientation,
    pub axis_order: AxisOrder,
    pub intensity: Intensity,
    /// Order of the splines through the voxels, 1 or 3; that of the recipe's makers where it is absent.
    pub order: Option<u8>,
    /// nnU-Net's: a spacing whose greatest step is more than so many times the least is resampled apart along it.
    pub anisotropy: Option<f64>,
}

impl CtPreprocessing {
    /// The limits of the recipe's own fields; what they mean together the recipe itself checks.
    pub(super) fn read(reader: &mut Reader<'_>, recipe: CtRecipe) -> Option<Self> {
        let spacing_mm = reader.numbers::<3>("spacing_mm");
        if spacing_mm.is_some_and(|sides| sides.iter().any(|side| !(0.05..=100.0).contains(side))) {
            reader.problem("spacing_mm", "must lie between 0.05 and 100 mm along every axis");
        }
        let orientations = [Orientation::Ras, Orientation::AsStored].map(|one| (one.as_str(), one));
        let orientation = reader.choice("orientation", &orientations);
        let axis_order =
            reader.choice("axis_order", &[AxisOrder::Xyz, AxisOrder::Zyx].map(|one| (one.as_str(), one)));
        let intensity = Intensity::read(reader);
        let order = reader.count_if("order");
        if order.is_some_and(|order| order != 1 && order != 3) {
            reader.problem("order", "must be 1 or 3");
        }
        let anisotropy = reader.number_if("anisotropy");
        if anisotropy.is_some_and(|times| times < 1.0) {
            reader.problem("anisotropy", "must be 1 or more");
        }
        Some(Self {
            recipe,
            spacing_mm: spacing_mm?,
            orientation: orientation?,
            axis_order: axis_order?,
            intensity: intensity?,
            order: order.and_then(|order| u8::try_from(order).ok()),
            anisotropy,
        })
    }
}

impl Intensity {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let (clip, range) = (reader.numbers_if::<2>("clip"), reader.numbers_if::<2>("range"));
        let (mean, std) = (reader.number_if("mean"), reader.number_if("std"));
        for (key, ends) in [("clip", clip), ("range", range)] {
            if ends.is_some_and(|[low, high]| low >= high) {
                reader.problem(key, "must be [lowest, highest]");
                return None;
            }
        }
        if std.is_some_and(|std| std <= 0.0) {
            reader.problem("std", "must be above 0");
            return None;
        }
        match (clip, mean, std, range) {
            (Some(clip), Some(mean), Some(std), None) => Some(Self::Statistics { clip, mean, std }),
            (Some(clip), None, None, Some(range)) => Some(Self::Range { clip, range }),
            _ => {
                let what = "with mean and std, or clip with range, must say how Hounsfield units are scaled";
                reader.problem("clip", what);
                None
            }
        }
    }
}

/// How much a voxel of a patch counts where patches overlap.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// The more, the nearer it lies to the patch's middle: sigma is an eighth of the patch.
    Gaussian,
    Constant,
}

impl Weighting {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gaussian => "gaussian",
            Self::Constant => "constant",
        }
    }
}

/// How patches are placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Evenly from end to end.
    Nnunet,
    /// By the step from the start, the last one moved back to the end.
    Monai,
}

impl Placement {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Nnunet => "nnunet",
            Self::Monai => "monai",
        }
    }
}

/// What is put around a grid that is smaller than the patch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Padding {
    /// The nearest voxel's value: norms inside of a network take their statistics from the patch.
    Edge,
    /// 0, after scaling, as nnU-Net and MONAI have it.
    Zero,
}

impl Padding {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Edge => "edge",
            Self::Zero => "zero",
        }
    }
}

/// What is brought back to the grid of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resample {
    /// Labels, from the nearest voxel of the network's grid.
    Labels,
    /// Logits, linearly; labels are taken from those.
    Logits,
}

impl Resample {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Labels => "labels",
            Self::Logits => "logits",
        }
    }
}

/// How a network whose input is a patch goes over a volume.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Window {
    /// Share of a patch that its neighbour covers too, in [0, 1).
    pub overlap: f64,
    pub weighting: Weighting,
    pub placement: Placement,
    pub padding: Padding,
    pub resample: Resample,
}

impl Window {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let overlap = reader.number("overlap");
        if overlap.is_some_and(|share| !(0.0..=0.9).contains(&share)) {
            reader.problem("overlap", "must lie in [0, 0.9]");
        }
        let weightings = [Weighting::Gaussian, Weighting::Constant].map(|one| (one.as_str(), one));
        let weighting = reader.choice("weights", &weightings);
        let placements = [Placement::Nnunet, Placement::Monai].map(|one| (one.as_str(), one));
        let placement = reader.choice("placement", &placements);
        let padding =
            reader.choice("padding", &[Padding::Edge, Padding::Zero].map(|one| (one.as_str(), one)));
        let resample =
            reader.choice("resample", &[Resample::Labels, Resample::Logits].map(|one| (one.as_str(), one)));
        Some(Self {
            overlap: overlap?,
            weighting: weighting?,
            placement: placement?,
            padding: padding?,
            resample: resample?,
        })
    }
}

/// What becomes of the voxels of a segment, and where it must lie.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct SegmentRule {
    pub laterality: Option<Laterality>,
    /// A smaller segment is taken for none.
    pub min_ml: Option<f64>,
    /// Only the largest connected part is kept.
    pub largest_component: bool,
}

impl SegmentRule {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let laterality = reader.text_if("laterality").and_then(|text| match text.as_str() {
            "left" => Some(Laterality::Left),
            "right" => Some(Laterality::Right),
            other => {
                reader.problem("laterality", format!("must be left or right, not {other:?}"));
                None
            }
        });
        let min_ml = reader.number_if("min_ml");
        if min_ml.is_some_and(|ml| ml < 0.0) {
            reader.problem("min_ml", "must not be below 0");
        }
        Self { laterality, min_ml, largest_component: reader.flag_if("largest_component").unwrap_or(false) }
    }
}
