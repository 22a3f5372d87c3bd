//! The models folder: every sub-folder with a manifest is a model.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage};

use super::{MANIFEST_FILE, Manifest, ManifestProblems, Problem};

/// All models of a folder, by name.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    folder: PathBuf,
    models: BTreeMap<String, Arc<Manifest>>,
}

impl Catalogue {
    /// Reads every manifest under `folder`. Bring-your-own templates are listed like any other model; digests are checked
    /// when a model is opened.
    pub fn load(folder: &Path) -> Result<Self, CatalogueProblems> {
        let mut problems = Vec::new();
        let mut models = BTreeMap::new();
        let entries =
            std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|error| {
                CatalogueProblems {
                    manifests: vec![ManifestProblems {
                        path: folder.to_owned(),
                        problems: vec![Problem {
                            at: "models folder".to_owned(),
                            what: format!("cannot be read: {error}"),
                        }],
                    }],
                }
            })?;
        for entry in entries {
            let path = entry.path();
            if !path.join(MANIFEST_FILE).is_file() {
                continue;
            }
            match Manifest::read(&path) {
                Ok(manifest) => {
                    models.insert(manifest.name.clone(), Arc::new(manifest));
                }
                Err(found) => problems.push(found),
            }
        }
        if problems.is_empty() {
            return Ok(Self { folder: folder.to_owned(), models });
        }
        problems.sort_by(|a, b| a.path.cmp(&b.path));
        Err(CatalogueProblems { manifests: problems })
    }

    /// The model of this name; the error lists the names there are.
    pub fn get(&self, name: &str) -> Result<&Arc<Manifest>, JobError> {
        self.models.get(name).ok_or_else(|| {
            let names: Vec<_> = self.models.keys().map(String::as_str).collect();
            JobError::new(
                Stage::Start,
                ErrorCode::ModelMissing,
                format!(
                    "no model {name:?} in {}; there are: {}",
                    self.folder.display(),
                    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
                ),
            )
        })
    }

    /// All models, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.models.values()
    }
}

/// Everything wrong in the models folder, at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CatalogueProblems {
    pub manifests: Vec<ManifestProblems>,
}

impl fmt::Display for CatalogueProblems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, manifest) in self.manifests.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            manifest.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for CatalogueProblems {}

impl From<CatalogueProblems> for JobError {
    fn from(problems: CatalogueProblems) -> Self {
        Self::new(Stage::Start, ErrorCode::ModelMismatch, problems.to_string())
    }
}
