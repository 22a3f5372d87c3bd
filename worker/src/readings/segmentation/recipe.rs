//! From a manifest to how its network reads a volume.

use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{self as engine, CtPreprocessing, CtRecipe, Manifest, Preprocessing};
use nightread_segmentation::Back;
use nightread_segmentation::labels::LabelRule;
use nightread_segmentation::recipe::{ImageOrder, Intensity, Orientation, Recipe, RecipeId, RecipeSettings};
use nightread_segmentation::window::{Padding, Resample, Rule, Window};

/// nnU-Net's and MONAI's sigma of the Gaussian weights, in patches.
const SIGMA: f64 = 0.125;

/// All that a manifest says of reading volumes.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub recipe: Recipe,
    pub window: Window,
    pub resample: Resample,
    /// With the background.
    pub classes: usize,
    /// One for each class.
    pub rules: Vec<LabelRule>,
}

impl Network {
    /// # Errors
    /// `model_mismatch` for a manifest that cannot be carried out.
    pub fn of(manifest: &Manifest) -> Result<Self, JobError> {
        let (Preprocessing::Ct(ct), Some(window)) = (&manifest.preprocessing, &manifest.window) else {
            return Err(mismatch(manifest, "its preprocessing cannot prepare CT volumes"));
        };
        let recipe = recipe(ct).map_err(|said| mismatch(manifest, &said))?;
        // The network's last axis is the fastest in memory.
        let [_, slow, middle, fast] = *manifest.input.item_shape.as_slice() else {
            return Err(mismatch(manifest, "its input is no patch"));
        };
        let background = LabelRule::default();
        let rules = manifest.labels.iter().map(|label| LabelRule {
            largest_component: label.segment.largest_component,
            min_ml: label.segment.min_ml,
        });
        Ok(Self {
            recipe,
            window: Window {
                patch: [fast, middle, slow],
                step: 1.0 - window.overlap,
                gaussian: (window.weighting == engine::Weighting::Gaussian).then_some(SIGMA),
                rule: match window.placement {
                    engine::Placement::Nnunet => Rule::NnUnet,
                    engine::Placement::Monai => Rule::Monai,
                },
                padding: match window.padding {
                    engine::Padding::Edge => Padding::Edge,
                    engine::Padding::Zero => Padding::Value(0.0),
                },
            },
            resample: match window.resample {
                engine::Resample::Labels => Resample::Labels,
                engine::Resample::Logits => Resample::Logits,
            },
            classes: manifest.classes(),
            rules: std::iter::once(background).chain(rules).collect(),
        })
    }

    /// What is brought back: of a sheared volume labels, whatever the manifest says.
    pub const fn resample_for(&self, back: &Back) -> Resample {
        match back {
            Back::Separable(_) => self.resample,
            Back::Affine(_) => Resample::Labels,
        }
    }
}

fn recipe(ct: &CtPreprocessing) -> Result<Recipe, String> {
    let (id, order) = match ct.recipe {
        CtRecipe::Totalseg1 => (RecipeId::Totalseg, ImageOrder::Linear),
        CtRecipe::Nnunet1 => (RecipeId::Nnunet, ImageOrder::Cubic),
        CtRecipe::Monai1 => (RecipeId::Monai, ImageOrder::Linear),
    };
    let said = |error: nightread_segmentation::recipe::RecipeError| error.to_string();
    let order = ct.order.map(ImageOrder::try_from).transpose().map_err(said)?.unwrap_or(order);
    let settings = RecipeSettings {
        id,
        spacing_mm: ct.spacing_mm,
        orientation: match ct.orientation {
            engine::Orientation::Ras => Orientation::Ras,
            engine::Orientation::AsStored => Orientation::Source,
        },
        axis_order: ct.axis_order.as_str().parse().map_err(said)?,
        intensity: match ct.intensity {
            engine::Intensity::Statistics { clip, mean, std } => Intensity::Standardised { clip, mean, std },
            engine::Intensity::Range { clip, range } => Intensity::Ranged { clip, range },
        },
        order,
        anisotropy: ct.anisotropy,
    };
    Recipe::new(settings).map_err(said)
}

fn mismatch(manifest: &Manifest, said: &str) -> JobError {
    let text = format!("{}: {said}", manifest.name);
    JobError::new(Stage::Preprocess, ErrorCode::ModelMismatch, text)
}
