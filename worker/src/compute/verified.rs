//! Models that were verified and stay closed, with what the pipeline needs to know of each.

use std::sync::Arc;
use std::thread;

use nightread_domain::result::ModelFacts;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{
    Availability, Cams, Catalogue, Manifest, ModelKey, Precision, Provider, VerifiedModel,
};
use nightread_fmri::GroupMaps;
use nightread_radiograph::{GatePolicy, View};
use nightread_volume::{FileSource, Limits, ScanSource};

use super::ensemble;

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
    /// How the class-activation maps of a network of radiographs are had.
    pub cams: Arc<Cams>,
    /// The networks of an ensemble, in its order; none of a network.
    pub members: Vec<Arc<Model>>,
}

impl Model {
    /// The networks that an image goes through: the members of an ensemble, or the model itself.
    pub fn networks(self: &Arc<Self>) -> &[Arc<Self>] {
        if self.members.is_empty() { std::slice::from_ref(self) } else { &self.members }
    }
}

/// Models whose weights were verified, before there is anything to run them: each with its network, or those of its members.
#[derive(Debug)]
pub struct VerifiedModels(pub(super) Vec<(Vec<VerifiedModel>, Model)>);

impl VerifiedModels {
    /// Verifies the weights of each name at its precision. Call it off the reactor.
    ///
    /// # Errors
    /// Those of the first model that is not there or not what its manifest says.
    pub fn open(
        catalogue: &Catalogue,
        names: &[(String, Precision)],
        provider: Provider,
    ) -> Result<Self, JobError> {
        // Side by side: digests of a hundred megabytes are a good part of the time that one small study takes.
        let opened: Vec<Result<_, JobError>> = thread::scope(|scope| {
            let opening: Vec<_> = names
                .iter()
                .map(|(name, precision)| scope.spawn(|| described(catalogue, name, *precision, provider)))
                .collect();
            opening.into_iter().map(|opening| opening.join().unwrap_or_else(|_| Err(broken_off()))).collect()
        });
        opened.into_iter().collect::<Result<_, _>>().map(Self)
    }
}

pub(super) fn facts(model: &VerifiedModel, provider: &str) -> ModelFacts {
    ModelFacts {
        name: model.key().name.clone(),
        version: model.manifest().version.clone(),
        weights_sha256: model.sha256().to_owned(),
        manifest_sha256: Some(model.manifest().sha256()),
        precision: model.precision().as_str().to_owned(),
        execution_provider: provider.to_owned(),
        preprocessing: model.manifest().preprocessing.id().to_owned(),
        ensemble: None,
    }
}

/// Verifies the weights of one model, or of every member of an ensemble, and reads what the pipeline needs to know of it.
fn described(
    catalogue: &Catalogue,
    name: &str,
    precision: Precision,
    provider: Provider,
) -> Result<(Vec<VerifiedModel>, Model), JobError> {
    let manifest = catalogue.get(name)?;
    let Some(ensemble) = &manifest.ensemble else {
        let (network, described) = described_network(manifest, precision, provider)?;
        return Ok((vec![network], described));
    };
    if manifest.availability(precision) != Availability::Ready {
        let offered: Vec<_> = manifest.precisions().map(Precision::as_str).collect();
        let text = format!(
            "{name} is an ensemble and does not offer {precision}; it offers: {}",
            offered.join(", ")
        );
        return Err(JobError::new(Stage::Start, ErrorCode::ModelMismatch, text));
    }
    let (mut networks, mut members) = (Vec::new(), Vec::new());
    for member in catalogue.members(manifest)? {
        let (network, described) = described_network(member, precision, provider)?;
        networks.push(network);
        members.push(Arc::new(described));
    }
    let told: Vec<_> = members.iter().map(|member| &member.facts).collect();
    let facts = ensemble::facts(manifest, ensemble, precision, provider, &told);
    let described = Model {
        manifest: Arc::clone(manifest),
        key: ModelKey { name: manifest.name.clone(), version: facts.version_in_paths() },
        facts,
        gate: gate(manifest),
        maps: None,
        cams: Arc::default(),
        members,
    };
    Ok((networks, described))
}

/// What documents will say of a model whose files are looked at and that stays closed.
///
/// Errors: those of files that are not there, or have another digest.
pub fn digested(
    catalogue: &Catalogue,
    name: &str,
    precision: Precision,
    provider: Provider,
) -> Result<ModelFacts, JobError> {
    let manifest = catalogue.get(name)?;
    if manifest.ensemble.is_some() {
        return described(catalogue, name, precision, provider).map(|(_, described)| described.facts);
    }
    Ok(facts(&VerifiedModel::open(manifest, precision)?, provider.as_str()))
}

fn described_network(
    manifest: &Arc<Manifest>,
    precision: Precision,
    provider: Provider,
) -> Result<(VerifiedModel, Model), JobError> {
    let model = VerifiedModel::open(manifest, precision)?;
    let described = Model {
        manifest: Arc::clone(manifest),
        key: model.key().clone(),
        facts: facts(&model, provider.as_str()),
        gate: gate(manifest),
        maps: group_maps(manifest)?.map(Arc::new),
        cams: Arc::clone(model.cams()),
        members: Vec::new(),
    };
    Ok((model, described))
}

/// The maps beside a model, after their digests were checked.
fn group_maps(manifest: &Manifest) -> Result<Option<GroupMaps>, JobError> {
    let Some(maps) = &manifest.maps else { return Ok(None) };
    if maps.sha256.is_none() {
        let text = format!("the group maps of {} are not shipped with it: see its model card", manifest.name);
        return Err(JobError::new(Stage::Start, ErrorCode::ModelMissing, text));
    }
    manifest.verify_maps()?;
    let mask = maps.mask.as_ref().map(|mask| FileSource(manifest.path_of(mask)));
    let mask = mask.as_ref().map(|mask| mask as &dyn ScanSource);
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

/// What the input gate lets through to a model.
pub(crate) fn gate(manifest: &Manifest) -> GatePolicy {
    let trained_on = &manifest.trained_on;
    GatePolicy {
        accepted_views: [View::Pa, View::Ap]
            .into_iter()
            .filter(|view| trained_on.views.iter().any(|name| name == view.as_str()))
            .collect(),
        age_years: trained_on.age_years.map(|[from, to]| (from as f32, to as f32)),
        side_px: trained_on.min_side_px.map(|side| (u32::try_from(side).unwrap_or(u32::MAX), u32::MAX)),
    }
}

fn broken_off() -> JobError {
    JobError::new(Stage::Start, ErrorCode::Internal, "looking at a model's files was broken off")
}
