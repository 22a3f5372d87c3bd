//! What archives have: one record for each result, archive and content, written when the archive has every object of it,
//! or does not commit itself to what it stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use nightread_archive::{Kind, Object, Predecessor, Reference, ReportClass, SegForm, content_digest};
use nightread_domain::delivery::{DeliveredObject, DeliveryCommitment, DeliveryRecord, RECORD};
use nightread_domain::{
    BlobRef, BlobStore, ErrorCode, JobError, ResultDocument, Stage, WriteCondition, WriteOutcome,
};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::adapters::dicom::Sending;
use crate::services::dicom::objects::Labels;

/// A record names some objects.
const MOST_BYTES: u64 = 4 << 20;

/// Contents of one result: as many as there were thresholds, models' codes and readings of other versions.
const MOST_CONTENTS: usize = 1000;

#[derive(Debug)]
pub(super) struct Records {
    pub store: Arc<dyn BlobStore>,
}

/// The digest of what an archive is sent of a document: equal digests are equal objects, but for their dates and the report
/// before.
pub(super) fn content(
    document: &ResultDocument,
    labels: &Labels,
    forms: (ReportClass, SegForm),
    kinds: &[Kind],
) -> Result<String, JobError> {
    let said = content_digest(document, &labels.codes).map_err(|error| {
        JobError::new(Stage::Deliver, ErrorCode::Internal, "a result has no digest").with_source(error)
    })?;
    let mut digest = Sha256::new();
    digest.update(format!("{said}\n{forms:?}"));
    if !labels.scales.is_empty() {
        digest.update(format!("\n{:?}", labels.scales));
    }
    for kind in kinds {
        digest.update(format!("\n{}", kind.as_str()));
    }
    Ok(hex::encode(digest.finalize()))
}

impl Records {
    /// Whether the archive has this content.
    pub async fn has(&self, target: &str, result: &BlobRef, content: &str) -> Result<bool, JobError> {
        let place = DeliveryRecord::place(target, result, content)?;
        let found = self.store.read(&place, MOST_BYTES).await?;
        Ok(found
            .and_then(|(body, _)| DeliveryRecord::parse(&body))
            .is_some_and(|record| record.is_delivered()))
    }

    /// The reports that the archive has of the same result: of each study that it was in, the one that was read last.
    pub async fn predecessors(&self, target: &str, result: &BlobRef) -> Result<Vec<Predecessor>, JobError> {
        let folder = DeliveryRecord::folder(target, result);
        let mut latest: BTreeMap<String, DeliveryRecord> = BTreeMap::new();
        for (place, _) in self.store.all_below(result.container(), &folder, MOST_CONTENTS).await? {
            let Some((body, _)) = self.store.read(&place, MOST_BYTES).await? else { continue };
            let Some(record) = DeliveryRecord::parse(&body).filter(DeliveryRecord::is_delivered) else {
                continue;
            };
            let is_later = latest.get(&record.study_sha256).is_none_or(|known| when(known) < when(&record));
            if is_later {
                latest.insert(record.study_sha256.clone(), record);
            }
        }
        Ok(latest.into_values().filter_map(report_of).collect())
    }

    /// Writes what became of this. A record that is there already says the same, or of a commitment that failed before.
    pub async fn write(&self, delivered: Delivered<'_>) -> Result<(), JobError> {
        let place = DeliveryRecord::place(delivered.target, delivered.result, delivered.content)?;
        let record = delivered.record();
        let body = record.body()?;
        let (metadata, mut condition) = (BTreeMap::new(), WriteCondition::IfAbsent);
        loop {
            let written = self.store.write(&place, body.clone(), &metadata, condition).await?;
            if let WriteOutcome::Written(_) = written {
                return Ok(());
            }
            condition = match self.store.read(&place, MOST_BYTES).await? {
                None => WriteCondition::IfAbsent,
                Some((there, _))
                    if DeliveryRecord::parse(&there).is_some_and(|there| there.is_delivered()) =>
                {
                    return Ok(());
                }
                Some((_, version)) => WriteCondition::IfMatch(version),
            };
        }
    }
}

fn when(record: &DeliveryRecord) -> (OffsetDateTime, OffsetDateTime) {
    (record.read_at, record.delivered_at)
}

fn report_of(record: DeliveryRecord) -> Option<Predecessor> {
    let report = record.objects.into_iter().find(|object| object.kind == Kind::Report.as_str())?;
    Some(Predecessor {
        study_sha256: record.study_sha256,
        report: Reference {
            series: report.series_instance_uid,
            sop_class: report.sop_class_uid,
            sop_instance: report.sop_instance_uid,
        },
    })
}

/// What was delivered.
#[derive(Clone, Debug)]
pub(super) struct Delivered<'a> {
    pub target: &'a str,
    pub result: &'a BlobRef,
    pub content: &'a str,
    /// Of the Study Instance UID.
    pub study_sha256: String,
    pub document: &'a ResultDocument,
    pub objects: &'a [Object],
    pub sending: &'a Sending,
    pub predecessor: Option<&'a Predecessor>,
}

impl Delivered<'_> {
    fn record(self) -> DeliveryRecord {
        let Sending { verdicts, commitment } = self.sending;
        let objects = self.objects.iter().zip(verdicts).map(|(object, verdict)| DeliveredObject {
            kind: object.kind.as_str().to_owned(),
            sop_class_uid: object.sop_class.clone(),
            sop_instance_uid: object.sop_instance.clone(),
            series_instance_uid: object.series.clone(),
            remark: verdict.remark().map(str::to_owned),
            commitment_code: verdict.error().filter(|_| commitment.is_some()).map(|error| error.code),
        });
        DeliveryRecord {
            schema: RECORD.to_owned(),
            result: self.result.to_string(),
            target: self.target.to_owned(),
            content_sha256: self.content.to_owned(),
            study_sha256: self.study_sha256,
            read_at: self.document.read_at,
            delivered_at: OffsetDateTime::now_utc(),
            objects: objects.collect(),
            commitment: commitment.as_ref().map(|asked| DeliveryCommitment {
                outcome: asked.outcome(),
                transaction_uid: asked.transaction.clone(),
            }),
            predecessor_uid: self.predecessor.map(|before| before.report.sop_instance.clone()),
        }
    }
}
