//! The models of this worker: opened, verified and warm, with what the pipeline needs to know of each.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use nightread_domain::media::Modality;
use nightread_domain::result::ModelFacts;
use nightread_domain::routing::{Routing, Rule};
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{Catalogue, Engine, EngineOptions, Manifest, ModelKey, Precision, Runtime, Task};
use nightread_fmri::{FileSource, GroupMaps, Limits, Source};
use nightread_imaging::{GatePolicy, View};

/// One open model.
#[derive(Clone, Debug)]
pub struct Model {
    pub manifest: Arc<Manifest>,
    pub key: ModelKey,
    pub facts: ModelFacts,
    /// What the input gate lets through to this model.
    pub gate: GatePolicy,
    /// The group maps that scans are regressed on, for models that come with them.
    pub maps: Option<Arc<GroupMaps>>,
}

/// The engine and the models it serves.
pub struct Models {
    pub engine: Engine,
    by_name: BTreeMap<String, Arc<Model>>,
}

impl fmt::Debug for Models {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Models").field("names", &self.by_name.keys()).finish_non_exhaustive()
    }
}

impl Models {
    /// Opens `names` at one precision and warms them up. Takes seconds; call it off the reactor.
    pub fn open(
        catalogue: &Catalogue,
        names: &[String],
        precision: Precision,
        runtime: &Runtime,
        options: EngineOptions,
    ) -> Result<Self, JobError> {
        let opened = names
            .iter()
            .map(|name| nightread_engine::Model::open(catalogue.get(name)?, precision))
            .collect::<Result<Vec<_>, _>>()?;
        let mut by_name = BTreeMap::new();
        for model in &opened {
            let described = Model {
                manifest: Arc::clone(model.manifest()),
                key: model.key().clone(),
                facts: facts(model, options.provider.as_str()),
                gate: gate(model.manifest()),
                maps: group_maps(model.manifest())?.map(Arc::new),
            };
            by_name.insert(described.facts.name.clone(), Arc::new(described));
        }
        let engine = Engine::start(runtime, opened, options)?;
        Ok(Self { engine, by_name })
    }

    /// An open model. One that this worker does not serve is the message's fault, not the worker's.
    pub fn get(&self, name: &str) -> Result<Arc<Model>, JobError> {
        self.by_name.get(name).cloned().ok_or_else(|| {
            JobError::new(
                Stage::Announce,
                ErrorCode::UnknownModel,
                format!("this worker serves no model {name:?}"),
            )
        })
    }
}

fn facts(model: &nightread_engine::Model, provider: &str) -> ModelFacts {
    ModelFacts {
        name: model.key().name.clone(),
        version: model.key().version.clone(),
        sha256: model.sha256().to_owned(),
        precision: model.precision().as_str().to_owned(),
        execution_provider: provider.to_owned(),
        preprocessing: model.manifest().preprocessing.id().to_owned(),
    }
}

/// The maps beside a model, after the digests of all its files were checked.
fn group_maps(manifest: &Manifest) -> Result<Option<GroupMaps>, JobError> {
    let Some(maps) = &manifest.maps else { return Ok(None) };
    if maps.sha256.is_none() {
        let text = format!("the group maps of {} are not shipped with it: see its model card", manifest.name);
        return Err(JobError::new(Stage::Start, ErrorCode::ModelMissing, text));
    }
    Manifest::load(&manifest.folder)?;
    let mask = maps.mask.as_ref().map(|mask| FileSource(manifest.path_of(mask)));
    let mask = mask.as_ref().map(|mask| mask as &dyn Source);
    let read = GroupMaps::read(&FileSource(manifest.path_of(&maps.file)), mask, &Limits::default())?;
    if read.count() != maps.count || read.grid().dims != maps.grid {
        let text = format!(
            "the group maps of {} are {} on {:?}, its manifest says {} on {:?}",
            manifest.name,
            read.count(),
            read.grid().dims,
            maps.count,
            maps.grid
        );
        return Err(JobError::new(Stage::Start, ErrorCode::ModelMismatch, text));
    }
    Ok(Some(read))
}

fn gate(manifest: &Manifest) -> GatePolicy {
    let trained_on = &manifest.trained_on;
    let has = |view: View| trained_on.views.iter().any(|name| name == view.as_str());
    GatePolicy {
        accepted_views: [View::Pa, View::Ap].into_iter().filter(|view| has(*view)).collect(),
        age_years: trained_on.age_years.map(|[from, to]| (from as f32, to as f32)),
        side_px: trained_on.min_side_px.map(|side| (u32::try_from(side).unwrap_or(u32::MAX), u32::MAX)),
    }
}

/// The rules to route by: the configured ones, or for each kind of study the one model that is there for it.
pub fn routing(configured: &Routing, catalogue: &Catalogue, precision: Precision) -> Result<Routing, String> {
    if !configured.rules.is_empty() {
        return Ok(configured.clone());
    }
    let mut routing = Routing::default();
    for (task, modality) in [(Task::Radiograph, Modality::Radiograph), (Task::Components, Modality::Scan)] {
        let fitting: Vec<&str> = catalogue
            .iter()
            .filter(|manifest| {
                manifest.task == task && manifest.precisions().any(|offered| offered == precision)
            })
            .map(|manifest| manifest.name.as_str())
            .collect();
        match fitting.as_slice() {
            [] => {}
            [only] => routing.rules.push(Rule {
                container: None,
                prefix: String::new(),
                modality,
                model: (*only).to_owned(),
            }),
            several => {
                return Err(format!("several models could read this: name one of {}", several.join(", ")));
            }
        }
    }
    Ok(routing)
}

/// The rule that sends everything of a model's kind to it.
pub fn rule_for(manifest: &Manifest) -> Rule {
    let modality = match manifest.task {
        Task::Radiograph => Modality::Radiograph,
        Task::Components => Modality::Scan,
    };
    Rule { container: None, prefix: String::new(), modality, model: manifest.name.clone() }
}
