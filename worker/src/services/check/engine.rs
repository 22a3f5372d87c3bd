//! The runtime and the models: each that is routed to is opened, and one item goes through it.

use std::time::Duration;

use nightread_archive::PRIVATE_SCHEME;
use nightread_domain::result::ModelFacts;
use nightread_domain::{ErrorCode, JobError, Stage};
use nightread_engine::{Availability, Catalogue, Manifest, Precision, Provider, Runtime};
use serde_json::{Value, json};

use crate::app;
use crate::compute::models::LoadedModels;
use crate::compute::routes::routing;
use crate::compute::verified::{VerifiedModels, digested};
use crate::readings::segmentation::{ABDOMEN_MM, patches_of_an_abdomen};
use crate::services::dicom::tasks::of_task;
use crate::settings::{Problems, ProviderChoice, Settings};

/// What was found of them.
#[derive(Default)]
pub(super) struct Engine {
    runtime: Option<Runtime>,
    models: Vec<Found>,
}

struct Found {
    facts: ModelFacts,
    /// Kept for its version's record; absent for a model that was not opened.
    opened: Option<LoadedModels>,
    /// Of a network that goes over volumes.
    volumes: Option<Pace>,
    /// Labels that have no code for DICOM results.
    uncoded: Vec<String>,
}

/// How fast a network goes over a volume here.
#[derive(Clone, Copy)]
struct Pace {
    patch: Duration,
    /// Of an abdomen.
    patches: usize,
}

impl Pace {
    fn abdomen(self) -> Duration {
        self.patch.saturating_mul(u32::try_from(self.patches).unwrap_or(u32::MAX))
    }

    fn words(self) -> String {
        let [x, y, z] = ABDOMEN_MM;
        format!(
            "ran one patch in {:.2} s; an abdomen of {x:.0} x {y:.0} x {z:.0} mm has {}, about {:.0} s here",
            self.patch.as_secs_f64(),
            self.patches,
            self.abdomen().as_secs_f64()
        )
    }
}

impl Engine {
    /// Looks at all models that are ready, and opens those that are routed to. Unless `offline`, those of a registry are fetched.
    pub(super) fn look(settings: &Settings, offline: bool, problems: &mut Problems) -> Self {
        let mut found = Self::default();
        match Runtime::load(&settings.engine.search()) {
            Ok(runtime) => found.runtime = Some(runtime),
            Err(error) => problems.add(error.message),
        }
        if let Err(error) = app::codec(&settings.limits) {
            problems.add(error.message);
        }
        let catalogue = if offline { app::catalogue_here(settings) } else { app::catalogue(settings, None) };
        match catalogue {
            Ok(catalogue) => found.look_at(&catalogue, settings, problems),
            Err(unreadable) => problems.add(unreadable.in_full()),
        }
        found
    }

    fn look_at(&mut self, catalogue: &Catalogue, settings: &Settings, problems: &mut Problems) {
        problems.extend(catalogue.problems().iter().map(ToString::to_string));
        for model in settings.routing.models() {
            if let Err(unknown) = catalogue.get(model) {
                problems.add(format!("[[routes]]: {}", unknown.message));
            }
        }
        if let Err(unfit) = app::require_precision(settings) {
            return problems.add(unfit.message);
        }
        let named = settings.engine.precision();
        let routed = match routing(&settings.routing, catalogue, named) {
            Ok(routing) => routing.rules.into_iter().flat_map(|rule| rule.models).collect(),
            Err(several) => {
                problems.add(several);
                Vec::new()
            }
        };
        if routed.is_empty() && problems.is_empty() {
            problems.add(format!(
                "no model in {} has the weights that are asked for: see `nightread models`",
                catalogue.place()
            ));
        }
        for manifest in catalogue.iter() {
            let is_routed = routed.contains(&manifest.name);
            // For `auto` any of these may be taken.
            let automatic = || manifest.precisions().filter(|precision| precision.is_automatic()).collect();
            let wanted = named.map_or_else(automatic, |one| vec![one]);
            for (precision, provider) in self.ways(manifest, &wanted, settings) {
                let ready = manifest.availability(precision) == Availability::Ready;
                if !ready && !is_routed {
                    continue;
                }
                let looked = match &self.runtime {
                    Some(runtime) if is_routed => {
                        opened(catalogue, &manifest.name, precision, runtime, provider)
                    }
                    _ => unopened(catalogue, manifest, precision, provider),
                };
                match looked {
                    Ok(model) => self.models.push(model),
                    Err(problem) => problems.add(format!("model {}: {}", manifest.name, problem.message)),
                }
            }
        }
    }

    /// Precisions and providers of a model. Where the provider is to be the fastest, any may be taken but for volumes and ensembles.
    fn ways(
        &self,
        manifest: &Manifest,
        precisions: &[Precision],
        settings: &Settings,
    ) -> Vec<(Precision, Provider)> {
        let named = settings.engine.provider();
        let stays = manifest.window.is_some() || manifest.ensemble.is_some();
        let any = settings.engine.provider == ProviderChoice::Fastest && !stays;
        let providers = match &self.runtime {
            Some(runtime) if any => runtime.providers(),
            _ => &[named],
        };
        precisions.iter().flat_map(|of| providers.iter().map(|provider| (*of, *provider))).collect()
    }

    pub(super) fn opened(&self) -> impl Iterator<Item = &LoadedModels> {
        self.models.iter().filter_map(|model| model.opened.as_ref())
    }

    pub(super) fn rows(&self) -> Vec<(String, String)> {
        let runtime = self.runtime.as_ref().map_or("none".to_owned(), |runtime| {
            let version = runtime.version().unwrap_or("of an unknown version");
            format!("ONNX Runtime {version}, {}", runtime.library().display())
        });
        let mut rows = vec![("runtime".to_owned(), runtime)];
        for Found { facts, opened, volumes, uncoded } in &self.models {
            let how = match (opened, volumes) {
                (Some(_), Some(pace)) => pace.words(),
                (Some(_), None) => match &facts.ensemble {
                    Some(ensemble) => format!("ran one item in each of {} networks", ensemble.members.len()),
                    None => "ran one item".to_owned(),
                },
                (None, _) => "digests are right; not opened".to_owned(),
            };
            let several = self.models.iter().any(|other| {
                other.facts.execution_provider != facts.execution_provider && other.facts.name == facts.name
            });
            let on = if several { format!(", {}", facts.execution_provider) } else { String::new() };
            rows.push((
                format!("model {} {}{on}", facts.name, facts.version_in_paths()),
                format!("sha256 {}: {how}", facts.weights_sha256),
            ));
            if !uncoded.is_empty() {
                let labels = uncoded.join(", ");
                let what = format!("labels of {} without a code", facts.name);
                let row = (what, format!("written under {PRIVATE_SCHEME} in DICOM results: {labels}"));
                // Precisions of one model have the same labels.
                if !rows.contains(&row) {
                    rows.push(row);
                }
            }
        }
        rows
    }

    pub(super) fn runtime_json(&self) -> Value {
        self.runtime.as_ref().map_or(Value::Null, |runtime| {
            let providers: Vec<_> = runtime.providers().iter().map(|provider| provider.as_str()).collect();
            json!({ "library": runtime.library(), "version": runtime.version(), "providers": providers })
        })
    }

    pub(super) fn models_json(&self) -> Value {
        let models = self.models.iter().map(|Found { facts, opened, volumes, uncoded }| {
            json!({
                "name": facts.name,
                "version": facts.version_in_paths(),
                "sha256": facts.weights_sha256,
                "manifest_sha256": facts.manifest_sha256,
                "execution_provider": facts.execution_provider,
                "ensemble": facts.ensemble,
                "ran": opened.is_some(),
                "abdomen_seconds": volumes.map(|pace| pace.abdomen().as_secs_f64()),
                "labels_without_code": uncoded,
            })
        });
        models.collect()
    }
}

/// A model that nothing is routed to: its files are looked at, and it stays closed.
fn unopened(
    catalogue: &Catalogue,
    manifest: &Manifest,
    precision: Precision,
    provider: Provider,
) -> Result<Found, JobError> {
    let facts = digested(catalogue, &manifest.name, precision, provider)?;
    Ok(Found { facts, opened: None, volumes: None, uncoded: uncoded(manifest) })
}

fn opened(
    catalogue: &Catalogue,
    name: &str,
    precision: Precision,
    runtime: &Runtime,
    provider: Provider,
) -> Result<Found, JobError> {
    let verified = VerifiedModels::open(catalogue, &[(name.to_owned(), precision)], provider)?;
    let opened = LoadedModels::new(verified, runtime.clone(), provider, None);
    let cost = opened.try_out()?;
    let manifest = catalogue.get(name)?;
    let volumes = cost
        .map(|cost| Ok::<_, JobError>(Pace { patch: cost.patch, patches: patches_of_an_abdomen(manifest)? }));
    let volumes = volumes.transpose()?;
    let facts = opened.models().next().map(|model| model.facts.clone());
    let facts = facts.ok_or_else(|| {
        JobError::new(Stage::Start, ErrorCode::Internal, "a model that was opened is not there")
    })?;
    Ok(Found { facts, opened: Some(opened), volumes, uncoded: uncoded(manifest) })
}

/// Labels that go into DICOM results under the private scheme.
fn uncoded(manifest: &Manifest) -> Vec<String> {
    if of_task(manifest.task).make.is_none() {
        return Vec::new();
    }
    let labels = manifest.labels.iter().filter(|label| !label.suppressed && label.code.is_none());
    labels.map(|label| label.name.clone()).collect()
}
