//! The bytes of a blob, wherever they are held while it is read.

use std::fmt::Debug;
use std::io::{self, Read};
use std::sync::Arc;

use bytes::Bytes;
use sha2::{Digest, Sha256};

/// A blob's bytes: in memory, or, when they are many, where they can be read over and over.
#[derive(Clone, Debug)]
pub enum Body {
    Held(Bytes),
    Kept(Arc<dyn Kept>),
}

/// Bytes outside of memory, as an adapter keeps them. Gone when the last clone is.
pub trait Kept: Debug + Send + Sync {
    fn bytes(&self) -> u64;

    /// Their SHA-256 in lower-case hexadecimal, taken piece by piece as they came: a file of gigabytes is not read once more for it.
    fn sha256(&self) -> &str;

    /// A reader at the first byte; several may be open at a time.
    fn open(&self) -> Box<dyn Read + Send + '_>;

    /// Whether the bytes are still those that were fetched. Somebody else's file may be written to while it is read.
    fn is_unchanged(&self) -> io::Result<bool>;
}

impl Body {
    pub fn len(&self) -> u64 {
        match self {
            Self::Held(bytes) => bytes.len() as u64,
            Self::Kept(kept) => kept.bytes(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its SHA-256 in lower-case hexadecimal. That of held bytes is computed here and now.
    pub fn sha256(&self) -> String {
        match self {
            Self::Held(bytes) => hex::encode(Sha256::digest(bytes)),
            Self::Kept(kept) => kept.sha256().to_owned(),
        }
    }

    /// A reader at the first byte.
    pub fn open(&self) -> Box<dyn Read + Send + '_> {
        match self {
            Self::Held(bytes) => Box::new(&bytes[..]),
            Self::Kept(kept) => kept.open(),
        }
    }

    /// The first bytes, `most` or fewer. What is held costs no copy.
    pub fn head(&self, most: usize) -> io::Result<Bytes> {
        match self {
            Self::Held(bytes) => Ok(bytes.slice(..bytes.len().min(most))),
            Self::Kept(kept) => {
                let mut head = Vec::new();
                kept.open().take(most as u64).read_to_end(&mut head)?;
                Ok(head.into())
            }
        }
    }

    /// All of it in memory.
    pub fn into_bytes(self) -> io::Result<Bytes> {
        match self {
            Self::Held(bytes) => Ok(bytes),
            Self::Kept(kept) => {
                let mut all = Vec::with_capacity(usize::try_from(kept.bytes()).unwrap_or(0));
                kept.open().read_to_end(&mut all)?;
                Ok(all.into())
            }
        }
    }

    /// What is kept outside of memory, if it is.
    pub fn kept(&self) -> Option<&Arc<dyn Kept>> {
        match self {
            Self::Held(_) => None,
            Self::Kept(kept) => Some(kept),
        }
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Held(bytes.into())
    }
}
