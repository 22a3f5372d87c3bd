//! Settings as every command reads them.

use crate::cli::Common;
use crate::settings::keys::{self, Key};
use crate::settings::{Problems, RawSettings, Settings};

/// Reads and merges settings: flag over environment over file over default.
pub fn settings(common: &Common, flags: &[(Key, String)]) -> (RawSettings, Option<Settings>, Problems) {
    let mut problems = Problems::default();
    let mut flags = flags.to_vec();
    if let Some(dir) = &common.models {
        flags.push((keys::MODELS_DIR, dir.display().to_string()));
        // Whoever names a folder means it, and no registry of the settings.
        flags.push((keys::MODELS_REGISTRY, String::new()));
    }
    let file = common.config.as_ref().and_then(|path| match std::fs::read_to_string(path) {
        Ok(text) => Some(text),
        Err(error) => {
            problems.add(format!("cannot read the settings file {}: {error}", path.display()));
            None
        }
    });
    let environment = |name: &str| std::env::var(name).ok();
    let raw = RawSettings::merge(file.as_deref(), &environment, &flags, &mut problems);
    let settings = Settings::validate(&raw, &mut problems);
    (raw, settings, problems)
}
