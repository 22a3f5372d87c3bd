//! SHA-256 of files, in lower-case hexadecimal.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use bytes::Buf;
use sha2::{Digest, Sha256};

const BLOCK: usize = 1 << 16;

/// The SHA-256 of bytes, in lower-case hexadecimal.
pub fn of_bytes(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Whether a text is a SHA-256 in lower-case hexadecimal.
pub fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The SHA-256 of a file, in lower-case hexadecimal.
///
/// # Errors
/// What the disk says.
pub fn of_file(path: &Path) -> io::Result<String> {
    Digesting::open(path)?.finish()
}

/// A file that is digested while a parser reads or skips it: weights are large, and what a graph says of itself is small.
pub(crate) struct Digesting {
    file: File,
    hasher: Sha256,
    /// The block that is read, and what of it was consumed.
    block: Vec<u8>,
    at: usize,
    /// Bytes of the file after `block`.
    left: u64,
    /// A [`Buf`] cannot fail: the parser then meets an end, and this tells why.
    failed: Option<io::Error>,
}

impl Digesting {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let left = file.metadata()?.len();
        let mut opened =
            Self { file, hasher: Sha256::new(), block: Vec::with_capacity(BLOCK), at: 0, left, failed: None };
        opened.next_block();
        Ok(opened)
    }

    fn next_block(&mut self) {
        self.block.clear();
        self.at = 0;
        let length = self.left.min(BLOCK as u64);
        if length == 0 {
            return;
        }
        let read = (&mut self.file).take(length).read_to_end(&mut self.block);
        let read = read.and_then(|read| {
            if read as u64 == length {
                return Ok(());
            }
            Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"))
        });
        match read {
            Ok(()) => {
                self.left -= length;
                self.hasher.update(&self.block);
            }
            Err(error) => {
                self.block.clear();
                self.left = 0;
                self.failed = Some(error);
            }
        }
    }

    /// The digest of the whole file, whatever was consumed.
    pub(crate) fn finish(mut self) -> io::Result<String> {
        while self.left > 0 {
            self.next_block();
        }
        match self.failed {
            None => Ok(hex::encode(self.hasher.finalize())),
            Some(error) => Err(error),
        }
    }
}

impl Buf for Digesting {
    fn remaining(&self) -> usize {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        left.saturating_add(self.block.len() - self.at)
    }

    fn chunk(&self) -> &[u8] {
        &self.block[self.at..]
    }

    fn advance(&mut self, mut count: usize) {
        loop {
            let here = count.min(self.block.len() - self.at);
            self.at += here;
            count -= here;
            if self.at == self.block.len() {
                self.next_block();
            }
            if count == 0 || self.block.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(length: usize) -> (tempfile::TempDir, std::path::PathBuf, Vec<u8>) {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..length).map(|at| (at * 31 % 251) as u8).collect();
        let path = folder.path().join("file");
        std::fs::write(&path, &bytes).unwrap();
        (folder, path, bytes)
    }

    #[test]
    fn a_file_has_the_digest_of_its_bytes_however_it_is_consumed() {
        for length in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 17] {
            let (_folder, path, bytes) = file(length);
            assert_eq!(of_file(&path).unwrap(), of_bytes(&bytes));
            for steps in [vec![], vec![length], vec![length / 3, length / 2], vec![1; length.min(5)]] {
                let mut file = Digesting::open(&path).unwrap();
                let mut at = 0;
                for step in steps {
                    file.advance(step);
                    at += step;
                    assert_eq!(file.remaining(), length - at);
                    assert_eq!(file.chunk().first(), bytes.get(at), "byte {at} of {length}");
                }
                assert_eq!(file.finish().unwrap(), of_bytes(&bytes));
            }
        }
    }

    #[test]
    fn a_file_that_becomes_shorter_has_no_digest() {
        let (_folder, path, bytes) = file(4 * BLOCK);
        let mut digesting = Digesting::open(&path).unwrap();
        std::fs::write(&path, &bytes[..BLOCK + 5]).unwrap();
        digesting.advance(BLOCK);
        assert_eq!(digesting.remaining(), 0);
        assert!(digesting.finish().unwrap_err().to_string().contains("shorter"));
    }
}
