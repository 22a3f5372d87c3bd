//! The document that names a closed set of blobs: one series, each blob in its version.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::blob::{BlobRef, ETag};
use crate::error::{ErrorCode, JobError, Stage};
use crate::study::{MAX_MEMBERS, Member, Series};

/// The form that is written and read.
pub const SCHEMA: &str = "nightread.set.v1";

/// No set of [`MAX_MEMBERS`] blobs is longer: names have 1,024 characters at most.
pub const MAX_BYTES: u64 = 32 << 20;

/// A set as it stands in its document. Further fields may stand there and are not read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetDocument {
    /// [`SCHEMA`].
    pub schema: String,
    /// `container/name` that the results of the series are called by; the container is that of its blobs.
    pub name: String,
    /// (0020,000E).
    pub series_uid: String,
    /// (0008,0060).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// (0020,1209), where a blob says it: how many instances the series should have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<u32>,
    pub instances: Vec<SetInstance>,
}

/// One blob of a set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetInstance {
    /// Its name in the container.
    pub name: String,
    pub etag: ETag,
    /// (0008,0018).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance_uid: Option<String>,
}

impl SetDocument {
    /// # Errors
    /// `set_invalid`, which quotes nothing of the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, JobError> {
        let document: Self = serde_json::from_slice(bytes)
            .map_err(|_| invalid("it is not JSON of the form nightread.set.v1"))?;
        if document.schema != SCHEMA {
            return Err(invalid("its schema is not nightread.set.v1"));
        }
        Ok(document)
    }

    /// The series that it names.
    ///
    /// # Errors
    /// `set_invalid` for names that are none, blobs that are named twice, or another container than that of the name;
    /// `too_many_instances`.
    pub fn series(&self) -> Result<Series, JobError> {
        if self.instances.len() > MAX_MEMBERS {
            return Err(too_many());
        }
        let name = BlobRef::parse(&self.name).map_err(|_| invalid("its name is no container/name"))?;
        if !is_uid(&self.series_uid) {
            return Err(invalid("its series_uid is no UID"));
        }
        let mut members = Vec::with_capacity(self.instances.len());
        for instance in &self.instances {
            let blob = BlobRef::new(name.container(), instance.name.as_str())
                .map_err(|_| invalid("it names a blob that cannot be"))?;
            // A NUL would make two sets of one digest.
            if instance.etag.0.is_empty() || instance.etag.0.chars().any(char::is_control) {
                return Err(invalid("it names a blob without its version"));
            }
            members.push(Member { blob, etag: instance.etag.clone() });
        }
        Series::new(name, members).map_err(|error| invalid(&error.message))
    }

    /// Instances with UIDs of their own; a blob without one counts as one.
    pub fn distinct(&self) -> usize {
        let uids: BTreeSet<_> = self.instances.iter().filter_map(|one| one.instance_uid.as_deref()).collect();
        uids.len() + self.instances.iter().filter(|one| one.instance_uid.is_none()).count()
    }
}

/// Whether a text can be a UID: digits and dots, 64 at most. So it can stand in a blob's name.
pub fn is_uid(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
        && text.bytes().any(|byte| byte.is_ascii_digit())
        && !text.starts_with('.')
        && !text.ends_with('.')
}

/// `too_many_instances`.
pub fn too_many() -> JobError {
    let text = format!("a series of more than {MAX_MEMBERS} blobs is not read");
    JobError::new(Stage::Announce, ErrorCode::TooManyInstances, text)
}

fn invalid(what: &str) -> JobError {
    JobError::new(Stage::Announce, ErrorCode::SetInvalid, format!("the set document cannot be used: {what}"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn document() -> Value {
        json!({"schema": SCHEMA, "name": "incoming/ct/1.2", "series_uid": "1.2", "modality": "CT", "expected": 2,
            "instances": [{"name": "b.dcm", "etag": "2", "instance_uid": "1.2.2"}, {"name": "a.dcm", "etag": "\"1\""}],
            "written_by": "another program"})
    }

    fn read(value: &Value) -> Result<Series, JobError> {
        SetDocument::parse(value.to_string().as_bytes()).and_then(|document| document.series())
    }

    #[test]
    fn a_set_is_the_series_that_it_names() {
        let series = read(&document()).expect("sound");
        let members: Vec<_> = series.members().iter().map(|member| member.blob.to_string()).collect();
        assert_eq!(members, ["incoming/a.dcm", "incoming/b.dcm"]);
        let parsed = SetDocument::parse(document().to_string().as_bytes()).expect("sound");
        assert_eq!(parsed.distinct(), 2);
    }

    #[test]
    fn what_is_wrong_is_said_without_quoting_it() {
        let change = |at: &str, to: Value| {
            let mut document = document();
            *document.pointer_mut(at).expect("there") = to;
            document
        };
        for wrong in [
            change("/schema", json!("nightread.set.v2")),
            change("/name", json!("incoming")),
            change("/name", json!("incoming/../secret")),
            change("/series_uid", json!("1.2/..")),
            change("/instances", json!([])),
            change("/instances/0/name", json!("a.dcm")),
            change("/instances/0/name", json!("../secret")),
            change("/instances/0/etag", json!("")),
            change("/instances/0/etag", json!("1\u{0}2")),
            change("/instances/0", json!({"name": "secret"})),
            json!("secret"),
        ] {
            let error = read(&wrong).expect_err("refused");
            assert_eq!(error.code, ErrorCode::SetInvalid, "{wrong}");
            assert!(!error.in_full().contains("secret"), "{error}");
        }
        let many: Vec<_> = (0..=MAX_MEMBERS).map(|n| json!({"name": format!("{n}"), "etag": "1"})).collect();
        let error = read(&change("/instances", json!(many))).expect_err("refused");
        assert_eq!(error.code, ErrorCode::TooManyInstances);
    }

    #[test]
    fn uids_are_digits_and_dots() {
        assert!(is_uid("1.2.840.10008") && is_uid("2"));
        for wrong in ["", ".", "..", "1.", ".1", "1/2", "1.2 ", "1.a", &"1".repeat(65)] {
            assert!(!is_uid(wrong), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_a_set_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = SetDocument::parse(&bytes).and_then(|document| document.series());
        }
    }
}
