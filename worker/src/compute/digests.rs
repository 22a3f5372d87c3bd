//! The SHA-256 of every study, several at a time.
//!
//! A document names the digest of what was read, and nothing needs it before. So bytes wait for others to be digested side by side with:
//! until there are as many as this processor does at once, or until somebody asks for the digest. Nobody waits longer than that.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use nightread_digest::Together;
use nightread_domain::result::StudyKind;
use nightread_domain::study::FetchedStudy;
use nightread_domain::{Body, ErrorCode, JobError, Stage};
use tokio::sync::watch;

/// Digests the bytes of studies beside the reactor.
#[derive(Clone, Debug)]
pub struct Digests {
    together: Together,
    queue: Arc<Mutex<Queue>>,
}

#[derive(Debug, Default)]
struct Queue {
    /// The first came first.
    waiting: Vec<Waiting>,
    last: u64,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    bytes: Bytes,
    answer: watch::Sender<Option<String>>,
}

/// A SHA-256 in lower-case hexadecimal, which may be computed yet.
#[derive(Clone, Debug)]
pub enum Digest {
    Known(String),
    Coming(Arc<Coming>),
}

/// The digest of bytes that wait for it. Dropped, they wait no longer.
#[derive(Debug)]
pub struct Coming {
    number: u64,
    answer: watch::Receiver<Option<String>>,
    digests: Digests,
}

impl Default for Digests {
    fn default() -> Self {
        Self { together: Together::here(), queue: Arc::default() }
    }
}

impl Digests {
    /// [`FetchedStudy::sha256`]: of one blob as something that is coming, of a series computed when this returns.
    ///
    /// # Errors
    /// Those of [`Digest::get`].
    pub async fn of(&self, study: &FetchedStudy) -> Result<Digest, JobError> {
        if let (StudyKind::Blob, [only]) = (study.kind(), study.parts.as_slice()) {
            return Ok(self.begin(&only.body));
        }
        let mut digests = Vec::with_capacity(study.parts.len());
        // One group after the other: a series has hundreds of parts, and is to take one core and not all.
        for parts in study.parts.chunks(self.together.width()) {
            let begun: Vec<_> = parts.iter().map(|part| self.begin(&part.body)).collect();
            for part in begun {
                digests.push(part.get().await?);
            }
        }
        Ok(Digest::Known(study.sha256_of(digests)))
    }

    fn begin(&self, body: &Body) -> Digest {
        let bytes = match body {
            Body::Kept(kept) => return Digest::Known(kept.sha256().to_owned()),
            Body::Held(bytes) => bytes.clone(),
        };
        let (sender, answer) = watch::channel(None);
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.last += 1;
        let number = queue.last;
        queue.waiting.push(Waiting { number, bytes, answer: sender });
        let group =
            (queue.waiting.len() >= self.together.width()).then(|| std::mem::take(&mut queue.waiting));
        drop(queue);
        self.start(group.unwrap_or_default());
        Digest::Coming(Arc::new(Coming { number, answer, digests: self.clone() }))
    }

    /// All that wait, where one of them is asked for.
    fn group_of(&self, number: u64) -> Vec<Waiting> {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let waits = queue.waiting.iter().any(|waiting| waiting.number == number);
        if waits { std::mem::take(&mut queue.waiting) } else { Vec::new() }
    }

    fn start(&self, group: Vec<Waiting>) {
        if group.is_empty() {
            return;
        }
        let together = self.together;
        // Not on the threads that decode: an image would wait for the digests of others.
        tokio::task::spawn_blocking(move || {
            let messages: Vec<&[u8]> = group.iter().map(|waiting| &waiting.bytes[..]).collect();
            let digests = together.digest(&messages);
            for (waiting, digest) in group.into_iter().zip(digests) {
                waiting.answer.send_replace(Some(hex::encode(digest)));
            }
        });
    }
}

impl Digest {
    /// What it is, computed now if it is not known: together with all that wait.
    ///
    /// # Errors
    /// `internal` where computing it panicked.
    pub async fn get(&self) -> Result<String, JobError> {
        let coming = match self {
            Self::Known(digest) => return Ok(digest.clone()),
            Self::Coming(coming) => coming,
        };
        let digests = &coming.digests;
        digests.start(digests.group_of(coming.number));
        let mut answer = coming.answer.clone();
        let known = answer.wait_for(Option::is_some).await.ok().and_then(|known| known.clone());
        known.ok_or_else(|| JobError::new(Stage::Fetch, ErrorCode::Internal, "computing a SHA-256 panicked"))
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut queue = self.digests.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.waiting.retain(|waiting| waiting.number != self.number);
    }
}

#[cfg(test)]
mod tests {
    use nightread_domain::BlobRef;
    use nightread_domain::ETag;
    use nightread_domain::study::{Member, Series};

    use super::*;

    fn blob(name: &str) -> BlobRef {
        BlobRef::new("incoming", name).expect("a name")
    }

    async fn begun(digests: &Digests, bytes: &'static [u8]) -> Digest {
        let study = FetchedStudy::of_blob(&blob("a"), Body::Held(Bytes::from_static(bytes)));
        digests.of(&study).await.expect("a digest that is coming")
    }

    fn waiting(digests: &Digests) -> usize {
        digests.queue.lock().unwrap().waiting.len()
    }

    // By sha256sum.
    const ONE: &str = "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed";
    const TWO: &str = "3fc4ccfe745870e2c0d99f71f30ff0656c8dedd41cc1d7d3d376b0dbe685e2f3";

    #[tokio::test]
    async fn who_asks_waits_for_nobody_else() {
        let digests = Digests::default();
        let one = begun(&digests, b"one").await;
        assert_eq!(waiting(&digests), usize::from(digests.together.width() > 1));
        assert_eq!(one.get().await.expect("computed"), ONE);
        assert_eq!((waiting(&digests), one.clone().get().await.expect("known")), (0, ONE.to_owned()));
    }

    #[tokio::test]
    async fn as_many_as_are_done_at_once_begin_by_themselves() {
        let digests = Digests::default();
        let mut all = Vec::new();
        for at in 0..3 * digests.together.width() {
            all.push(begun(&digests, if at % 2 == 0 { b"one" } else { b"two" }).await);
        }
        assert_eq!(waiting(&digests), 0);
        for (at, digest) in all.iter().enumerate() {
            assert_eq!(digest.get().await.expect("computed"), if at % 2 == 0 { ONE } else { TWO });
        }
    }

    #[tokio::test]
    async fn what_nobody_asks_for_any_more_gives_its_memory_back() {
        let digests = Digests::default();
        let bytes = Bytes::from(vec![7; 1000]);
        let study = FetchedStudy::of_blob(&blob("a"), Body::Held(bytes.clone()));
        let coming = digests.of(&study).await.expect("coming");
        drop(study);
        assert_eq!(bytes.is_unique(), digests.together.width() == 1);
        drop(coming);
        assert_eq!((waiting(&digests), bytes.is_unique()), (0, true));
    }

    #[tokio::test]
    async fn a_series_has_one_digest_of_names_and_digests() {
        let digests = Digests::default();
        let members = ["1.dcm", "2.dcm"].map(|name| Member { blob: blob(name), etag: ETag("1".to_owned()) });
        let series = Series::new(blob("ct/1"), members.to_vec()).expect("a series");
        let bodies = [&b"one"[..], b"second"].map(|bytes| Body::Held(Bytes::from_static(bytes)));
        let study = FetchedStudy::of_series(&series, bodies.to_vec());
        let Digest::Known(digest) = digests.of(&study).await.expect("computed") else { panic!("known") };
        // Of `1.dcm`, the SHA-256 of `one`, `2.dcm`, the SHA-256 of `second`, each ended by a NUL; by sha256sum.
        assert_eq!(digest, "2546c86132fe0a5c8d9b533245bbb7797c21cdb82c098a395319fa5d4d280de3");
        assert_eq!(study.sha256(), digest);
    }
}
