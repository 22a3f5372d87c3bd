//! What goes beside a document.

use std::collections::BTreeMap;

use bytes::Bytes;
use nightread_domain::result::{ArtefactFacts, ArtefactKind, NOTICE};
use nightread_domain::storing::{BidsName, artefact_blob, bids_artefact_blob};
use nightread_domain::{BlobRef, Job, JobError, WriteCondition};
use serde_json::{Value, json};

use super::beside::{self, Beside};
use super::document::Progress;
use super::store::serialised;
use super::tools::Tools;
use crate::compute::verified::Model;
use crate::flow::WORKER_VERSION;
use crate::readings::{Artefact, Derivative};

/// The version of BIDS that names follow.
const BIDS_VERSION: &str = "1.10.0";

/// Stores artefacts before the document that names them. One that is there already stays, because a document may name it,
/// unless `replace` says that it is of another reading; the facts are those of the bytes that lie there, whoever wrote them.
/// A file with a BIDS name has a JSON sidecar of that name, and the results of its container describe themselves as a data set.
///
/// # Errors
/// `result_contended` when one comes and goes; what storage says.
pub(super) async fn write(
    job: &Job,
    tools: &Tools,
    progress: &Progress,
    model: &Model,
    artefacts: Vec<Artefact>,
    replace: bool,
) -> Result<Vec<Beside>, JobError> {
    let mut written = Vec::with_capacity(artefacts.len());
    let mut is_data_set = false;
    for Artefact { kind, of, suffix, bids, body } in artefacts {
        let bids = match bids {
            Some(derivative) => named_by_bids(job, tools, progress, model, derivative)?,
            None => None,
        };
        let Some(NamedByBids { file, sidecar, about }) = bids else {
            let file = named(job, tools, progress, model, &suffix)?;
            written.push(put(tools, file, kind, of, body, replace).await?);
            continue;
        };
        written.push(put(tools, file, kind, of, body, replace).await?);
        written.push(put(tools, sidecar, ArtefactKind::Sidecar, None, about, replace).await?);
        is_data_set = true;
    }
    if is_data_set {
        describe_data_set(job, tools, model).await?;
    }
    Ok(written)
}

/// BIDS wants it at the top of derivatives. The first one stays: it says the same of every scan.
async fn describe_data_set(job: &Job, tools: &Tools, model: &Model) -> Result<(), JobError> {
    let facts = &model.facts;
    let version = facts.version_in_paths();
    let name = format!("{}/{version}/{}/dataset_description.json", facts.name, job.study.name().container());
    let about = json!({
        "Name": format!("{} {version}", facts.name),
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "Nightread", "Description": NOTICE}],
    });
    let body = serialised(&about, "a sidecar")?;
    let blob = BlobRef::new(&tools.results_container, name)?;
    tools.results.write(&blob, body, &BTreeMap::new(), WriteCondition::IfAbsent).await?;
    Ok(())
}

fn named(
    job: &Job,
    tools: &Tools,
    progress: &Progress,
    model: &Model,
    suffix: &str,
) -> Result<BlobRef, JobError> {
    let facts = &model.facts;
    let digest = progress.sha256.as_deref().unwrap_or_default();
    let version = facts.version_in_paths();
    artefact_blob(&tools.results_container, &facts.name, &version, job.study.name(), digest, suffix)
}

/// Where a derivative goes, and its sidecar.
struct NamedByBids {
    file: BlobRef,
    sidecar: BlobRef,
    about: Bytes,
}

/// Name and sidecar of what is derived from a scan with a BIDS name; `None` where it has none.
fn named_by_bids(
    job: &Job,
    tools: &Tools,
    progress: &Progress,
    model: &Model,
    derivative: Derivative,
) -> Result<Option<NamedByBids>, JobError> {
    let facts = &model.facts;
    let digest = progress.sha256.as_deref().unwrap_or_default();
    let version = facts.version_in_paths();
    let sidecar = BidsName { extension: "json", ..derivative.name };
    let container = &tools.results_container;
    let names = [derivative.name, sidecar]
        .map(|name| bids_artefact_blob(container, &facts.name, &version, job.study.name(), digest, name));
    let [file, sidecar] = names;
    let (Some(file), Some(sidecar)) = (file?, sidecar?) else { return Ok(None) };
    let about = sidecar_body(job, progress, model, derivative.about)?;
    Ok(Some(NamedByBids { file, sidecar, about }))
}

/// What is said of a derivative, and where it comes from.
fn sidecar_body(
    job: &Job,
    progress: &Progress,
    model: &Model,
    mut about: BTreeMap<String, Value>,
) -> Result<Bytes, JobError> {
    let facts = &model.facts;
    about.insert("Sources".to_owned(), json!([job.study.name().to_string()]));
    about.insert("SourceSHA256".to_owned(), json!(progress.sha256));
    about.insert(
        "GeneratedBy".to_owned(),
        json!([{
            "Name": "Nightread",
            "Version": WORKER_VERSION,
            "Model": facts.name,
            "ModelVersion": facts.version,
            "Precision": facts.precision,
            "WeightsSHA256": facts.weights_sha256,
            "ManifestSHA256": facts.manifest_sha256,
        }]),
    );
    serialised(&about, "a sidecar")
}

async fn put(
    tools: &Tools,
    blob: BlobRef,
    kind: ArtefactKind,
    of: Option<String>,
    body: Bytes,
    replace: bool,
) -> Result<Beside, JobError> {
    let lying = beside::put(&*tools.results, &blob, body, replace).await?;
    let (bytes, sha256) = beside::measured(&tools.reader.cpu, lying.body).await?;
    let (path, media_type) = (blob.name().to_owned(), kind.media_type().to_owned());
    Ok(Beside { blob, facts: ArtefactFacts { kind, path, media_type, bytes, sha256, of }, etag: lying.etag })
}
