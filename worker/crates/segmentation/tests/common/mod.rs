//! Recipes and volumes as the parity script writes them in JSON.

use nightread_segmentation::recipe::{ImageOrder, Intensity, Recipe, RecipeError, RecipeSettings};
use serde_json::Value;

/// A recipe from the fields of a manifest.
///
/// # Errors
/// A field is missing or cannot be carried out.
pub fn recipe(json: &Value) -> Result<Recipe, Box<dyn std::error::Error + Send + Sync>> {
    let text = |key: &str| json[key].as_str().ok_or_else(|| format!("{key} is missing"));
    let clip: Option<[f64; 2]> = serde_json::from_value(json["clip"].clone())?;
    let range: Option<[f64; 2]> = serde_json::from_value(json["range"].clone())?;
    let order = u8::try_from(json["order"].as_u64().unwrap_or(0))?;
    let made: Result<Recipe, RecipeError> = Recipe::new(RecipeSettings {
        id: text("id")?.parse()?,
        spacing_mm: serde_json::from_value(json["spacing_mm"].clone())?,
        orientation: text("orientation")?.parse()?,
        axis_order: text("axis_order")?.parse()?,
        intensity: Intensity::of(clip, json["mean"].as_f64(), json["std"].as_f64(), range)?,
        order: ImageOrder::try_from(order)?,
        anisotropy: json["anisotropy"].as_f64(),
    });
    Ok(made?)
}
