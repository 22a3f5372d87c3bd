//! The models folder: every sub-folder with a manifest is a model.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use nightread_domain::{ErrorCode, JobError, Stage};

use super::{MANIFEST_FILE, Manifest, ManifestProblems, ModelFolder, ensemble};

/// All models of a folder, by name. One that is half made takes no other with it.
#[derive(Clone, Debug, Default)]
pub struct Catalogue {
    /// Where they are, for people.
    place: String,
    models: BTreeMap<String, Arc<Manifest>>,
    problems: Vec<ManifestProblems>,
}

impl Catalogue {
    /// Reads every manifest under `folder`. Bring-your-own templates are listed like any other model; digests are checked
    /// when a model is opened. Errors: `model_missing` when the folder cannot be read.
    pub fn load(folder: &Path) -> Result<Self, JobError> {
        let entries =
            std::fs::read_dir(folder).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(|error| {
                let text = format!("the models folder {} cannot be read", folder.display());
                JobError::new(Stage::Start, ErrorCode::ModelMissing, text).with_source(error)
            })?;
        let folders = entries.into_iter().map(|entry| entry.path());
        let models = folders.filter(|folder| folder.join(MANIFEST_FILE).is_file()).map(ModelFolder::from);
        Ok(Self::of(folder.display().to_string(), models))
    }

    /// Reads the manifests of these folders, which `place` tells people of. Digests are checked when a model is opened.
    pub fn of(place: String, folders: impl IntoIterator<Item = ModelFolder>) -> Self {
        Self::read(place, folders, Manifest::read)
    }

    /// As [`Catalogue::of`], for who asks what the manifests say and opens no model: nothing else need be in the folders.
    pub fn described(place: String, folders: impl IntoIterator<Item = ModelFolder>) -> Self {
        Self::read(place, folders, Manifest::described)
    }

    fn read(
        place: String,
        folders: impl IntoIterator<Item = ModelFolder>,
        read: fn(&Path) -> Result<Manifest, ManifestProblems>,
    ) -> Self {
        let mut catalogue = Self { place, ..Self::default() };
        for folder in folders {
            match read(&folder) {
                Ok(manifest) => {
                    let manifest = Manifest { folder, ..manifest };
                    catalogue.models.insert(manifest.name.clone(), Arc::new(manifest));
                }
                Err(found) => catalogue.problems.push(found),
            }
        }
        catalogue.check_ensembles();
        catalogue.problems.sort_by(|a, b| a.path.cmp(&b.path));
        catalogue
    }

    /// Where the models are, for people.
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Leaves out the ensembles whose members are others than their manifests name.
    fn check_ensembles(&mut self) {
        let checked =
            self.models.values().map(|manifest| (manifest, ensemble::check_members(manifest, &self.models)));
        let broken: Vec<_> = checked.filter(|(_, problems)| !problems.is_empty()).collect();
        let broken: Vec<_> = broken
            .into_iter()
            .map(|(manifest, problems)| {
                let path = manifest.folder.join(MANIFEST_FILE);
                (manifest.name.clone(), ManifestProblems { path, problems })
            })
            .collect();
        for (name, found) in broken {
            self.models.remove(&name);
            self.problems.push(found);
        }
    }

    /// The networks of an ensemble, in its order; none of a network. Errors: as [`Catalogue::get`].
    pub fn members(&self, manifest: &Manifest) -> Result<Vec<&Arc<Manifest>>, JobError> {
        let members = manifest.ensemble.iter().flat_map(|ensemble| &ensemble.members);
        members.map(|member| self.get(&member.model)).collect()
    }

    /// What is wrong with the models that cannot be used.
    pub fn problems(&self) -> &[ManifestProblems] {
        &self.problems
    }

    /// What is wrong with the model in the folder of this name.
    pub fn problem_of(&self, name: &str) -> Option<&ManifestProblems> {
        let name = Some(OsStr::new(name));
        self.problems.iter().find(|found| found.path.parent().and_then(Path::file_name) == name)
    }

    /// The model of this name. Errors: `model_mismatch` with all problems of its manifest, or `model_missing` with the
    /// names there are.
    pub fn get(&self, name: &str) -> Result<&Arc<Manifest>, JobError> {
        if let Some(manifest) = self.models.get(name) {
            return Ok(manifest);
        }
        if let Some(found) = self.problem_of(name) {
            return Err(found.clone().into());
        }
        let names: Vec<_> = self.models.keys().map(String::as_str).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        let text = format!("no model {name:?} in {}; there are: {names}", self.place);
        Err(JobError::new(Stage::Start, ErrorCode::ModelMissing, text))
    }

    /// All models, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Manifest>> {
        self.models.values()
    }
}
