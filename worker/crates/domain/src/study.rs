//! What a job reads: one blob, or the blobs of one series.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use crate::blob::{BlobRef, ETag};
use crate::body::{Body, Kept};
use crate::error::{ErrorCode, JobError, Stage};
use crate::result::StudyKind;

/// What a job reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Study {
    Blob(BlobRef),
    Series(Series),
    /// A series that is announced, and whose blobs are not known yet: storage has to be asked.
    Announced(SeriesSource),
}

/// Where it is told which blobs are a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesSource {
    /// A document that names them, each in its version.
    Set(BlobRef),
    /// All that lie below this name and a slash; as many as are said, where that is said.
    Folder { folder: BlobRef, instances: Option<u32> },
}

impl SeriesSource {
    /// The set document, or the folder without its slash.
    pub const fn name(&self) -> &BlobRef {
        match self {
            Self::Set(name) | Self::Folder { folder: name, .. } => name,
        }
    }
}

/// A closed set of blobs that are one study: which they are, and each in which version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Series {
    name: BlobRef,
    members: Vec<Member>,
    /// Where it was told; asked again when it matters what belongs to the series now.
    source: Option<SeriesSource>,
}

/// The most blobs of one series.
pub const MAX_MEMBERS: usize = 4_096;

/// One blob of a series.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub blob: BlobRef,
    /// The version that belongs to the series.
    pub etag: ETag,
}

impl Series {
    /// `name`: what its results are called by. The order of `members` does not matter.
    ///
    /// # Errors
    /// `message_unparseable` when there are none, when one is named twice, or when they lie in several containers.
    pub fn new(name: BlobRef, mut members: Vec<Member>) -> Result<Self, JobError> {
        members.sort_by(|a, b| a.blob.cmp(&b.blob));
        let Some(first) = members.first() else { return Err(refused("a series has no blobs")) };
        if members.iter().any(|member| member.blob.container() != first.blob.container()) {
            return Err(refused("the blobs of a series lie in one container"));
        }
        if members.windows(2).any(|pair| matches!(pair, [a, b] if a.blob == b.blob)) {
            return Err(refused("a series names a blob twice"));
        }
        Ok(Self { name, members, source: None })
    }

    #[must_use]
    pub fn told_by(mut self, source: &SeriesSource) -> Self {
        self.source = Some(source.clone());
        self
    }

    pub const fn source(&self) -> Option<&SeriesSource> {
        self.source.as_ref()
    }

    /// In the order of their names.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// What tells this set from every other: the SHA-256 of its names and marks, in the order of the names, each ended by a
    /// NUL, which neither may hold.
    pub fn version(&self) -> ETag {
        let texts = self.members.iter().flat_map(|member| [member.blob.to_string(), member.etag.strong()]);
        ETag(digest_of(texts))
    }
}

impl Study {
    pub const fn kind(&self) -> StudyKind {
        match self {
            Self::Blob(_) => StudyKind::Blob,
            Self::Series(_) | Self::Announced(_) => StudyKind::Series,
        }
    }

    /// What routes, results and reports know it by.
    pub const fn name(&self) -> &BlobRef {
        match self {
            Self::Blob(blob) => blob,
            Self::Series(series) => &series.name,
            Self::Announced(source) => source.name(),
        }
    }

    /// The container that its bytes lie in.
    pub fn container(&self) -> &str {
        match self {
            Self::Blob(blob) => blob.container(),
            Self::Series(series) => series.members.first().map_or("", |member| member.blob.container()),
            Self::Announced(source) => source.name().container(),
        }
    }
}

/// The bytes of a study, of one version.
#[derive(Clone, Debug)]
pub struct FetchedStudy {
    /// In the order of the study; never empty.
    pub parts: Vec<Part>,
    kind: StudyKind,
}

/// One blob of a study that was fetched.
#[derive(Clone, Debug)]
pub struct Part {
    pub blob: BlobRef,
    pub body: Body,
}

impl FetchedStudy {
    pub fn of_blob(blob: &BlobRef, body: Body) -> Self {
        Self { parts: vec![Part { blob: blob.clone(), body }], kind: StudyKind::Blob }
    }

    /// `bodies`: those of the members, in their order.
    pub fn of_series(series: &Series, bodies: Vec<Body>) -> Self {
        let parts =
            series.members.iter().zip(bodies).map(|(member, body)| Part { blob: member.blob.clone(), body });
        Self { parts: parts.collect(), kind: StudyKind::Series }
    }

    /// What tells its bytes from all others, in lower-case hexadecimal, by the SHA-256 of each part: of a blob that one; of a series
    /// the SHA-256 of its blobs' names and digests, in the order of the names, each ended by a NUL.
    pub fn sha256_of(&self, parts: Vec<String>) -> String {
        match (self.kind, <[String; 1]>::try_from(parts)) {
            (StudyKind::Blob, Ok([only])) => only,
            (_, parts) => {
                let parts = parts.map_or_else(|parts| parts, Vec::from);
                let texts =
                    self.parts.iter().zip(&parts).flat_map(|(part, sha256)| [part.blob.name(), sha256]);
                digest_of(texts)
            }
        }
    }

    /// [`FetchedStudy::sha256_of`] its parts, of which those that are held are digested here and now.
    pub fn sha256(&self) -> String {
        self.sha256_of(self.parts.iter().map(|part| part.body.sha256()).collect())
    }

    pub const fn kind(&self) -> StudyKind {
        self.kind
    }

    /// Bytes of all parts.
    pub fn len(&self) -> u64 {
        self.parts.iter().map(|part| part.body.len()).fold(0, u64::saturating_add)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is kept outside of memory.
    pub fn kept(&self) -> impl Iterator<Item = &Arc<dyn Kept>> {
        self.parts.iter().filter_map(|part| part.body.kept())
    }

    /// The one blob of a study that may have no more.
    ///
    /// # Errors
    /// `wrong_modality` for a series.
    pub fn into_only(mut self) -> Result<Part, JobError> {
        match (self.parts.pop(), self.parts.len()) {
            (Some(part), 0) => Ok(part),
            (_, others) => {
                let text =
                    format!("a series of {} blobs was announced for a model that reads one", others + 1);
                Err(JobError::new(Stage::Decode, ErrorCode::WrongModality, text))
            }
        }
    }
}

impl From<BlobRef> for Study {
    fn from(blob: BlobRef) -> Self {
        Self::Blob(blob)
    }
}

/// The SHA-256 of texts, each ended by a NUL.
fn digest_of(texts: impl Iterator<Item = impl AsRef<[u8]>>) -> String {
    let mut digest = Sha256::new();
    for text in texts {
        digest.update(text);
        digest.update([0]);
    }
    hex::encode(digest.finalize())
}

fn refused(text: &str) -> JobError {
    JobError::new(Stage::Announce, ErrorCode::MessageUnparseable, text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn blob(text: &str) -> BlobRef {
        BlobRef::parse(text).expect("a name")
    }

    fn series(members: &[(&str, &str)]) -> Result<Series, JobError> {
        let members = members
            .iter()
            .map(|&(name, etag)| Member { blob: blob(name), etag: ETag(etag.to_owned()) })
            .collect();
        Series::new(blob("incoming/ct/1"), members)
    }

    #[test]
    fn a_series_has_blobs_of_one_container_each_once() {
        for wrong in [&[][..], &[("inc/a", "1"), ("inc/a", "2")], &[("inc/a", "1"), ("other/b", "1")]] {
            assert_eq!(series(wrong).expect_err("refused").code, ErrorCode::MessageUnparseable, "{wrong:?}");
        }
        let sound = series(&[("inc/b", "1"), ("inc/a", "1")]).expect("sound");
        assert_eq!(sound.members()[0].blob, blob("inc/a"));
        assert_eq!(Study::Series(sound).container(), "inc");
    }

    fn version(members: &[(&str, &str)]) -> ETag {
        series(members).expect("sound").version()
    }

    #[test]
    fn the_version_is_that_of_names_and_marks() {
        let two = version(&[("inc/a", "1"), ("inc/b", "2")]);
        // printf 'inc/a\0"1"\0inc/b\0"2"\0' | sha256sum
        assert_eq!(two.0, "ea2a3d8dcc81261895d884c3a9790963d0944496e81ad4e4cf251e477d277040");
        assert_eq!(version(&[("inc/b", "2"), ("inc/a", "\"1\"")]), two, "order and spelling do not matter");
        for other in
            [&[("inc/a", "1")][..], &[("inc/a", "2"), ("inc/b", "2")], &[("inc/a", "1"), ("inc/c", "2")]]
        {
            assert_ne!(version(other), two, "{other:?}");
        }
    }

    proptest! {
        #[test]
        fn the_order_of_the_announcement_changes_nothing(numbers in proptest::collection::btree_set(0_u32..1000, 1..20), turn in 0_usize..20) {
            let members: Vec<_> = numbers.iter().map(|n| Member { blob: blob(&format!("inc/{n}")), etag: ETag(format!("{}", n * 7)) }).collect();
            let mut turned = members.clone();
            turned.rotate_left(turn % members.len());
            let name = blob("inc/series");
            prop_assert_eq!(Series::new(name.clone(), members).expect("sound"), Series::new(name, turned).expect("sound"));
        }
    }
}
