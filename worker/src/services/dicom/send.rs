//! `nightread dicom send`: the objects of one document, to the archive of the settings.

use std::sync::Arc;

use anyhow::{Context, Result};
use nightread_archive::Object;
use nightread_domain::{ErrorCode, JobError, Stage};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::result::make;
use crate::adapters::dicom::{
    Archive, ArchiveOptions, Commitment, CommitmentOptions, ObjectVerdict, ReportListener, Reports, Sending,
};
use crate::adapters::tls;
use crate::app;
use crate::cli::dicom::SendArgs;
use crate::settings::{DeliverSettings, Settings};

/// What became of the objects of one result.
#[derive(Debug)]
pub(crate) struct Sent {
    objects: Vec<(Object, ObjectVerdict)>,
    commitment: Option<Commitment>,
    pub notes: Vec<String>,
}

/// # Errors
/// [`crate::app::WrongUse`]; those of making the objects; `settings_invalid`.
pub(crate) async fn run(args: &SendArgs) -> Result<Sent> {
    let settings = app::sound_settings(&args.common, |settings, problems| {
        if settings.targets.is_empty() {
            problems.add("[deliver] archive: the archive is not named");
        }
    })?;
    let deliver = settings.targets.first().context("the archive was required above")?;
    let reports = Arc::default();
    let archive = archive(deliver, &reports)?;
    let made = make(&args.result, &args.source, &args.common, &settings).await?;
    if let Some(listener) = listener(&settings, &reports).await? {
        tokio::spawn(listener.serve());
    }
    let sending = archive.send(&made.objects).await;
    audited(deliver, &made.objects, &sending);
    let Sending { verdicts, commitment } = sending;
    Ok(Sent { objects: made.objects.into_iter().zip(verdicts).collect(), commitment, notes: made.notes })
}

/// Where archives bring reports of storage commitments, where the settings name a port for them and an archive that is asked.
///
/// # Errors
/// `settings_invalid` where nobody can listen there.
pub(crate) async fn listener(
    settings: &Settings,
    reports: &Arc<Reports>,
) -> Result<Option<ReportListener>, JobError> {
    let Some(address) = settings.commitment_listen else { return Ok(None) };
    let asked = settings.targets.iter().filter(|target| target.commitment.is_some());
    let titles: Vec<String> = asked.map(|target| target.calling_title.clone()).collect();
    if titles.is_empty() {
        return Ok(None);
    }
    ReportListener::bind(address, titles, Arc::clone(reports)).await.map(Some)
}

/// The archive of the settings, which is not contacted yet. `reports`: where those of its storage commitments come in.
///
/// # Errors
/// `settings_invalid`.
pub(crate) fn archive(settings: &DeliverSettings, reports: &Arc<Reports>) -> Result<Archive, JobError> {
    let authorities = match &settings.ca_file {
        None => Vec::new(),
        Some(path) => {
            let unread = |error: String| {
                let text = format!("[deliver] ca_file: {} {error}", path.display());
                JobError::new(Stage::Start, ErrorCode::SettingsInvalid, text)
            };
            let pem =
                std::fs::read_to_string(path).map_err(|error| unread(format!("cannot be read: {error}")))?;
            tls::certificates(&pem).map_err(|error| unread(format!("holds no certificates: {error}")))?
        }
    };
    Archive::new(ArchiveOptions {
        address: settings.archive.clone(),
        authorization: settings.authorization.as_ref().map(|secret| secret.reveal().to_owned()),
        calling_title: settings.calling_title.clone(),
        authorities,
        timeout: settings.timeout,
        read_back: settings.read_back,
        commitment: settings
            .commitment
            .map(|patience| CommitmentOptions { patience, reports: Arc::clone(reports) }),
    })
}

/// One line for whoever audits what left for the archive: which study by a digest, how it ended, and nothing of the patient.
pub(crate) fn audited(settings: &DeliverSettings, objects: &[Object], sending: &Sending) {
    let study = objects
        .first()
        .map_or_else(String::new, |object| hex::encode(&Sha256::digest(object.study.as_bytes())[..16]));
    let Sending { verdicts, commitment } = sending;
    // What an archive does not commit itself to was stored all the same, by its own word.
    let stored = match commitment {
        Some(_) => objects.len(),
        None => verdicts.iter().filter(|verdict| verdict.is_stored()).count(),
    };
    let failed = verdicts.iter().find_map(|verdict| Some(verdict.error()?.code.as_str()));
    tracing::info!(
        audit = true,
        delivery_target = settings.name,
        archive = settings.archive,
        calling_title = settings.calling_title,
        study_sha256 = study,
        objects = objects.len(),
        stored,
        committed =
            commitment.as_ref().map(|asked| asked.outcomes.iter().filter(|kept| kept.is_ok()).count()),
        transaction = commitment.as_ref().map(|asked| asked.transaction.as_str()),
        outcome = failed.unwrap_or(if commitment.is_some() { "committed" } else { "stored" }),
        "DICOM results were sent"
    );
}

impl Sent {
    /// Whether the archive has every object.
    pub fn is_whole(&self) -> bool {
        self.objects.iter().all(|(_, verdict)| verdict.is_stored())
    }

    pub fn as_text(&self) -> String {
        let lines = self.objects.iter().map(|(object, verdict)| {
            let (kind, name) = (object.kind.as_str(), &object.sop_instance);
            match verdict {
                ObjectVerdict::Stored(None) => format!("{kind}  {name}  stored"),
                ObjectVerdict::Stored(Some(remark)) => format!("{kind}  {name}  stored: {remark}"),
                ObjectVerdict::Failed(error) => {
                    format!("{kind}  {name}  {}: {}", error.code, error.in_full())
                }
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn as_json(&self) -> Value {
        let objects = self.objects.iter().map(|(object, verdict)| {
            let error = verdict.error().map(|error| json!({"code": error.code, "message": error.in_full()}));
            json!({
                "kind": object.kind.as_str(),
                "sop_class_uid": object.sop_class,
                "sop_instance_uid": object.sop_instance,
                "stored": verdict.is_stored(),
                "remark": verdict.remark(),
                "error": error,
            })
        });
        let commitment = self
            .commitment
            .as_ref()
            .map(|asked| json!({"outcome": asked.outcome().as_str(), "transaction_uid": asked.transaction}));
        json!({ "objects": objects.collect::<Vec<_>>(), "commitment": commitment })
    }
}
