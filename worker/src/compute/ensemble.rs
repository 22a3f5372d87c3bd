//! What documents say of several networks that are served as one model.

use nightread_domain::result::{EnsembleFacts, MemberFacts, ModelFacts};
use nightread_engine::{Ensemble, Manifest, Precision, Provider, sha256_of};

/// A version of an ensemble is one set of members: the digest of its weights is that of the list of theirs, and its manifest
/// pins what theirs decide.
pub(super) fn facts(
    manifest: &Manifest,
    ensemble: &Ensemble,
    precision: Precision,
    provider: Provider,
    members: &[&ModelFacts],
) -> ModelFacts {
    let lines = members.iter().map(|facts| format!("{}  {}\n", facts.weights_sha256, facts.name));
    ModelFacts {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        weights_sha256: sha256_of(lines.collect::<String>().as_bytes()),
        manifest_sha256: Some(manifest.sha256()),
        precision: precision.as_str().to_owned(),
        execution_provider: provider.as_str().to_owned(),
        preprocessing: manifest.preprocessing.id().to_owned(),
        ensemble: Some(EnsembleFacts {
            combine: ensemble.combine.as_str().to_owned(),
            members: members.iter().map(|facts| member(facts)).collect(),
        }),
    }
}

fn member(facts: &ModelFacts) -> MemberFacts {
    MemberFacts {
        name: facts.name.clone(),
        version: facts.version.clone(),
        weights_sha256: facts.weights_sha256.clone(),
        manifest_sha256: facts.manifest_sha256.clone().unwrap_or_default(),
        execution_provider: facts.execution_provider.clone(),
        preprocessing: facts.preprocessing.clone(),
    }
}
