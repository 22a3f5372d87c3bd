//! What goes beside a document.

use std::collections::BTreeMap;

use bytes::Bytes;
use nightread_domain::result::{ArtefactFacts, ArtefactKind, NOTICE};
use nightread_domain::storing::{BidsName, artefact_blob, bids_artefact_blob};
use nightread_domain::{BlobRef, ErrorCode, Job, JobError, Stage, WriteCondition, WriteOutcome};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::document::Progress;
use super::store::{MAX_ROUNDS, serialised};
use super::tools::Tools;
use crate::compute::models::Model;
use crate::flow::WORKER_VERSION;
use crate::readings::{Artefact, Derivative};

/// The version of BIDS that names follow.
const BIDS_VERSION: &str = "1.10.0";

/// Larger files are none of ours.
const MAX_BYTES: u64 = 16 << 30;

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
) -> Result<Vec<ArtefactFacts>, JobError> {
    let mut written = Vec::with_capacity(artefacts.len());
    let mut is_data_set = false;
    for Artefact { kind, of, suffix, bids, body } in artefacts {
        let bids = match bids {
            Some(derivative) => named_by_bids(job, tools, progress, model, derivative)?,
            None => None,
        };
        let Some(NamedByBids { file, sidecar, about }) = bids else {
            let file = named(job, tools, progress, model, &suffix)?;
            written.push(put(tools, &file, kind, of, body, replace).await?);
            continue;
        };
        written.push(put(tools, &file, kind, of, body, replace).await?);
        written.push(put(tools, &sidecar, ArtefactKind::Sidecar, None, about, replace).await?);
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
    let blob = |name| {
        bids_artefact_blob(&tools.results_container, &facts.name, &version, job.study.name(), digest, name)
    };
    let sidecar = BidsName { extension: "json", ..derivative.name };
    let (Some(file), Some(sidecar)) = (blob(derivative.name)?, blob(sidecar)?) else { return Ok(None) };
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
    blob: &BlobRef,
    kind: ArtefactKind,
    of: Option<String>,
    body: Bytes,
    replace: bool,
) -> Result<ArtefactFacts, JobError> {
    let stored = store(tools, blob, body, replace).await?;
    let bytes = stored.len() as u64;
    // Maps of a scan are large enough to hold up whatever else the reactor has to do.
    let digest = move || Ok(hex::encode(Sha256::digest(&stored)));
    Ok(ArtefactFacts {
        kind,
        path: blob.name().to_owned(),
        media_type: kind.media_type().to_owned(),
        bytes,
        sha256: tools.reader.cpu.run(Stage::Report, digest).await?,
        of,
    })
}

/// What lies under the name afterwards: `body`, or what was there before where that stays. Another split of the cores may
/// give other last bits, so that the two need not be the same.
async fn store(tools: &Tools, blob: &BlobRef, body: Bytes, replace: bool) -> Result<Bytes, JobError> {
    let metadata = BTreeMap::new();
    let mut condition = WriteCondition::IfAbsent;
    for _ in 0..MAX_ROUNDS {
        match tools.results.write(blob, body.clone(), &metadata, condition).await? {
            WriteOutcome::Written(_) => return Ok(body),
            WriteOutcome::ConditionFailed => {
                condition = match tools.results.read(blob, MAX_BYTES).await? {
                    Some((there, _)) if !replace || there == body => return Ok(there),
                    Some((_, etag)) => WriteCondition::IfMatch(etag),
                    None => WriteCondition::IfAbsent,
                };
            }
        }
    }
    let text = "what goes beside the document kept changing";
    Err(JobError::new(Stage::Store, ErrorCode::ResultContended, text))
}
