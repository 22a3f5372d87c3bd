//! What is asked of whoever sends results to archives, and what is kept of what was sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::announcement::{Announcement, NativeSeries, SeriesForm, SetForm};
use crate::blob::BlobRef;
use crate::error::{ErrorCode, JobError, Stage};
use crate::study::{SeriesSource, Study};

/// The value of `schema` in every order of this form.
pub const ORDER: &str = "nightread.delivery-order.v1";

/// The value of `schema` in every record of this form.
pub const RECORD: &str = "nightread.delivery.v1";

/// Where records lie in the results container. No model's name begins so.
pub const RECORDS: &str = "_deliveries/";

/// One result is to go to one archive. Which of its readings is seen when its turn comes: the one that stands then.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryOrder {
    pub schema: String,
    /// The document: `container/name`.
    pub result: String,
    /// The archive, as the settings call it.
    pub target: String,
    /// Of a series, where it is told which blobs it has, in the form of its announcement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub series: Option<SeriesForm>,
}

impl DeliveryOrder {
    pub fn new(result: &BlobRef, target: &str) -> Self {
        Self { schema: ORDER.to_owned(), result: result.to_string(), target: target.to_owned(), series: None }
    }

    /// The same, of a result of this study. The number of a folder's blobs is left out: which version of the series is meant stands
    /// in the document.
    #[must_use]
    pub fn of(self, study: &Study) -> Self {
        let source = match study {
            Study::Blob(_) => None,
            Study::Series(series) => series.source(),
            Study::Announced(source) => Some(source),
        };
        let series = source.map(|source| match source {
            SeriesSource::Set(document) => SeriesForm::Set(SetForm { set: document.to_string() }),
            SeriesSource::Folder { folder, .. } => SeriesForm::Folder(format!("{folder}/")),
        });
        Self { series, ..self }
    }

    /// What announced the series; `None` where the order tells of none.
    ///
    /// # Errors
    /// `message_unparseable`.
    pub fn announcement(&self) -> Result<Option<Announcement>, JobError> {
        let of = |series| NativeSeries { series, ..NativeSeries::of_set("") };
        self.series.clone().map(|series| Announcement::try_from(of(series))).transpose()
    }

    /// # Errors
    /// `internal` where it cannot be written as JSON.
    pub fn body(&self) -> Result<Bytes, JobError> {
        written(self)
    }

    /// # Errors
    /// `message_unparseable` for what is no order of this form.
    pub fn parse(body: &[u8]) -> Result<Self, JobError> {
        let parsed = serde_json::from_slice::<Self>(body).ok().filter(|order| order.schema == ORDER);
        parsed.ok_or_else(|| {
            let text = format!("the message is no order of the form {ORDER:?}");
            JobError::new(Stage::Deliver, ErrorCode::MessageUnparseable, text)
        })
    }
}

/// One object that an archive has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveredObject {
    /// `sr`, `sc` or `seg`.
    pub kind: String,
    pub sop_class_uid: String,
    pub sop_instance_uid: String,
    pub series_instance_uid: String,
    /// The archive's own words, where it made any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
    /// The code of why the archive does not commit itself to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment_code: Option<ErrorCode>,
}

/// How a request for storage commitment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CommitmentOutcome {
    /// The archive commits itself to every object.
    Committed,
    /// It does not, or did not say so.
    CommitmentFailed,
}

impl CommitmentOutcome {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Committed => "committed",
            Self::CommitmentFailed => "commitment_failed",
        }
    }
}

/// A request for storage commitment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryCommitment {
    pub outcome: CommitmentOutcome,
    pub transaction_uid: String,
}

/// What an archive has of a result of one content, or did not commit itself to. No identifier of a patient or of an archive's study is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeliveryRecord {
    pub schema: String,
    /// The document: `container/name`.
    pub result: String,
    pub target: String,
    /// A digest of what the result says, in lower-case hexadecimal: equal content is not sent again.
    pub content_sha256: String,
    /// Of the Study Instance UID.
    pub study_sha256: String,
    /// When the study was read.
    #[serde(with = "time::serde::rfc3339")]
    pub read_at: OffsetDateTime,
    #[serde(with = "time::serde::rfc3339")]
    pub delivered_at: OffsetDateTime,
    pub objects: Vec<DeliveredObject>,
    /// Where the archive was asked to commit itself to what it stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub commitment: Option<DeliveryCommitment>,
    /// The report that this one's names as its predecessor.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub predecessor_uid: Option<String>,
}

impl DeliveryRecord {
    /// Where the records of a result's deliveries to an archive lie, with a slash at its end.
    pub fn folder(target: &str, result: &BlobRef) -> String {
        let digest = hex::encode(&Sha256::digest(result.to_string())[..16]);
        format!("{RECORDS}{target}/{digest}/")
    }

    /// Whether the archive has everything: what it does not commit itself to where it was asked is not delivered.
    pub fn is_delivered(&self) -> bool {
        let outcome = self.commitment.as_ref().map(|commitment| commitment.outcome);
        outcome != Some(CommitmentOutcome::CommitmentFailed)
    }

    /// The record of one content.
    ///
    /// # Errors
    /// `source_not_allowed` for names that are none.
    pub fn place(target: &str, result: &BlobRef, content_sha256: &str) -> Result<BlobRef, JobError> {
        let content = content_sha256.get(..32).unwrap_or(content_sha256);
        BlobRef::new(result.container(), format!("{}{content}.json", Self::folder(target, result)))
    }

    /// # Errors
    /// `internal` where it cannot be written as JSON.
    pub fn body(&self) -> Result<Bytes, JobError> {
        written(self)
    }

    /// `None` for what is no record of this form.
    pub fn parse(body: &[u8]) -> Option<Self> {
        serde_json::from_slice::<Self>(body).ok().filter(|record| record.schema == RECORD)
    }
}

fn written(value: &impl Serialize) -> Result<Bytes, JobError> {
    serde_json::to_vec(value).map(Bytes::from).map_err(|error| {
        JobError::new(Stage::Deliver, ErrorCode::Internal, "a delivery does not serialise").with_source(error)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::announcement::Location;

    #[test]
    fn orders_are_read_back_and_others_are_none() {
        let result = BlobRef::parse("results/m/1-fp32/incoming/a.dcm.json").expect("a name");
        let order = DeliveryOrder::new(&result, "pacs");
        let as_it_was = br#"{"schema":"nightread.delivery-order.v1","result":"results/m/1-fp32/incoming/a.dcm.json","target":"pacs"}"#;
        assert_eq!(order.body().expect("JSON"), as_it_was[..], "of a blob the form is as it was");
        let blob = |text| BlobRef::parse(text).expect("a name");
        let set = Study::Announced(SeriesSource::Set(blob("results/_series/incoming/ct/1.2.json")));
        let folder = SeriesSource::Folder { folder: blob("incoming/ct/1.2"), instances: Some(3) };
        for (order, location) in [
            (order.clone(), None),
            (order.clone().of(&Study::Blob(blob("incoming/a.dcm"))), None),
            (order.clone().of(&set), Some(Location::Set("results/_series/incoming/ct/1.2.json".to_owned()))),
            (
                order.of(&Study::Announced(folder)),
                Some(Location::Folder { path: "incoming/ct/1.2/".to_owned(), instances: None }),
            ),
        ] {
            let read = DeliveryOrder::parse(&order.body().expect("JSON")).expect("an order");
            assert_eq!(read, order);
            let announced = read.announcement().expect("an announcement");
            assert_eq!(announced.map(|announcement| announcement.location), location);
        }
        for other in [
            &b"{}"[..],
            b"no JSON",
            br#"{"schema":"nightread.delivery-order.v1","result":"results/a.json","target":"pacs","series":7}"#,
            br#"{"schema":"nightread.delivery-order.v2","result":"results/a.json","target":"pacs"}"#,
        ] {
            let error = DeliveryOrder::parse(other).expect_err("none");
            assert_eq!(error.code, ErrorCode::MessageUnparseable);
        }
    }

    #[test]
    fn a_record_has_a_place_of_its_own_for_each_result_target_and_content() {
        let long = format!("results/{}", "x".repeat(1000));
        let results = [long.as_str(), "results/b.json"].map(|text| BlobRef::parse(text).expect("a name"));
        let mut places = std::collections::BTreeSet::new();
        for result in &results {
            for target in ["pacs", "vna"] {
                for content in ["ab".repeat(32), "cd".repeat(32)] {
                    let place = DeliveryRecord::place(target, result, &content).expect("a name");
                    assert!(place.name().starts_with(&DeliveryRecord::folder(target, result)));
                    places.insert(place.to_string());
                }
            }
        }
        assert_eq!(places.len(), 8);
    }
}
