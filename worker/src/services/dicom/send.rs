//! `nightread dicom send`: the objects of one document, to the archive of the settings.

use anyhow::{Context, Result};
use nightread_archive::Object;
use nightread_domain::{ErrorCode, JobError, Stage};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::result::make;
use crate::adapters::dicom::{Archive, ArchiveOptions, Verdict};
use crate::adapters::tls;
use crate::app;
use crate::cli::dicom::SendArgs;
use crate::settings::DeliverSettings;

/// What became of the objects of one result.
#[derive(Debug)]
pub(crate) struct Sent {
    objects: Vec<(Object, Verdict)>,
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
    let archive = archive(deliver)?;
    let made = make(&args.result, &args.source, &args.common, &settings).await?;
    let verdicts = archive.send(&made.objects).await;
    audited(deliver, &made.objects, &verdicts);
    Ok(Sent { objects: made.objects.into_iter().zip(verdicts).collect(), notes: made.notes })
}

/// The archive of the settings, which is not contacted yet.
///
/// # Errors
/// `settings_invalid`.
pub(crate) fn archive(settings: &DeliverSettings) -> Result<Archive, JobError> {
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
    })
}

/// One line for whoever audits what left for the archive: which study by a digest, how it ended, and nothing of the patient.
pub(crate) fn audited(settings: &DeliverSettings, objects: &[Object], verdicts: &[Verdict]) {
    let study = objects
        .first()
        .map_or_else(String::new, |object| hex::encode(&Sha256::digest(object.study.as_bytes())[..16]));
    let stored = verdicts.iter().filter(|verdict| verdict.is_stored()).count();
    let failed = verdicts.iter().find_map(|verdict| match verdict {
        Verdict::Failed(error) => Some(error.code.as_str()),
        Verdict::Stored(_) => None,
    });
    tracing::info!(
        audit = true,
        delivery_target = settings.name,
        archive = settings.archive,
        calling_title = settings.calling_title,
        study_sha256 = study,
        objects = objects.len(),
        stored,
        outcome = failed.unwrap_or("stored"),
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
                Verdict::Stored(None) => format!("{kind}  {name}  stored"),
                Verdict::Stored(Some(remark)) => format!("{kind}  {name}  stored: {remark}"),
                Verdict::Failed(error) => format!("{kind}  {name}  {}: {}", error.code, error.in_full()),
            }
        });
        lines.collect::<Vec<_>>().join("\n")
    }

    pub fn as_json(&self) -> Value {
        let objects = self.objects.iter().map(|(object, verdict)| {
            let (remark, error) = match verdict {
                Verdict::Stored(remark) => (remark.clone(), None),
                Verdict::Failed(error) => {
                    (None, Some(json!({"code": error.code, "message": error.in_full()})))
                }
            };
            json!({
                "kind": object.kind.as_str(),
                "sop_class_uid": object.sop_class,
                "sop_instance_uid": object.sop_instance,
                "stored": verdict.is_stored(),
                "remark": remark,
                "error": error,
            })
        });
        json!({ "objects": objects.collect::<Vec<_>>() })
    }
}
