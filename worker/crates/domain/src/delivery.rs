//! What is asked of whoever sends results to archives, and what is kept of what was sent.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::blob::BlobRef;
use crate::error::{ErrorCode, JobError, Stage};

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
}

impl DeliveryOrder {
    pub fn new(result: &BlobRef, target: &str) -> Self {
        Self { schema: ORDER.to_owned(), result: result.to_string(), target: target.to_owned() }
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
}

/// What an archive has of a result of one content. No identifier of a patient or of an archive's study is in it.
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

    #[test]
    fn orders_are_read_back_and_others_are_none() {
        let result = BlobRef::parse("results/m/1-fp32/incoming/a.dcm.json").expect("a name");
        let order = DeliveryOrder::new(&result, "pacs");
        assert_eq!(DeliveryOrder::parse(&order.body().expect("JSON")).expect("an order"), order);
        for other in [
            &b"{}"[..],
            b"no JSON",
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
