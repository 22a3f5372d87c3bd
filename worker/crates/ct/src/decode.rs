//! The second pass over the files: pixels of the chosen slices, decoded on a few threads.
//!
//! One thread hands on files in their order, so that an archive is read once and as a stream; others decode. What comes of
//! it depends neither on their number nor on their haste: each slice has its place, and of several failures that of the
//! first file is told.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use nightread_dicom::{File, IsolatedCodec};
use nightread_domain::warning::Warning;

use crate::error::{CtCode, CtError};
use crate::files::{FileId, Files};
use crate::limits::CtLimits;
use crate::slice::{Slice, options};

/// Takes the stored values of a slice, by its index.
pub type Sink<'a> = dyn Fn(usize, &[i32]) + Sync + 'a;

/// What decoding needs.
#[derive(Clone, Copy, Debug)]
pub struct Decoding<'a> {
    pub files: &'a Files<'a>,
    pub limits: &'a CtLimits,
    pub codec: &'a dyn IsolatedCodec,
}

/// Decodes one frame, and gives it to the sink.
type One<'a> = dyn Fn(&(usize, usize)) -> Result<(), CtError> + Sync + 'a;

/// Slices of one file: their frames, and their indices.
type Wanted = Vec<(usize, usize)>;

impl Decoding<'_> {
    /// Decodes `slices` and gives each to the sink. Gives what was repaired in files.
    ///
    /// # Errors
    /// `unreadable`, with what the reader or the codec says; those of archives.
    pub fn run(&self, slices: &[Slice], sink: &Sink<'_>) -> Result<Vec<Warning>, CtError> {
        let mut wanted: BTreeMap<FileId, Wanted> = BTreeMap::new();
        for (index, slice) in slices.iter().enumerate() {
            wanted.entry(slice.file).or_default().push((slice.frame as usize, index));
        }
        let warnings = Mutex::new(Vec::new());
        let threads = self.limits.threads.max(1);
        if threads == 1 || wanted.len() <= 1 {
            self.files.each(&|id| wanted.contains_key(&id), &mut |id, bytes| {
                self.file(id, &bytes, &wanted[&id], threads, sink, &warnings)
            })?;
        } else {
            self.many(&wanted, threads, sink, &warnings)?;
        }
        Ok(warnings.into_inner().unwrap_or_else(PoisonError::into_inner))
    }

    fn many(
        &self,
        wanted: &BTreeMap<FileId, Wanted>,
        threads: usize,
        sink: &Sink<'_>,
        warnings: &Mutex<Vec<Warning>>,
    ) -> Result<(), CtError> {
        let failures = Mutex::new(BTreeMap::new());
        let failed = AtomicBool::new(false);
        let panicked = Mutex::new(None);
        let (sender, receiver) = sync_channel::<(FileId, Bytes)>(1);
        let receiver = Mutex::new(receiver);
        let work = || {
            while let Some((id, bytes)) = next(&receiver) {
                // A thread that is gone takes no files, and the one that hands them on would wait for ever.
                let file = AssertUnwindSafe(|| self.file(id, &bytes, &wanted[&id], 1, sink, warnings));
                let failure = match catch_unwind(file) {
                    Ok(Ok(())) => continue,
                    Ok(Err(error)) => Some(error),
                    Err(panic) => {
                        *locked(&panicked) = Some(panic);
                        None
                    }
                };
                failed.store(true, Ordering::Relaxed);
                locked(&failures).extend(failure.map(|error| (id, error)));
            }
        };
        let handed = std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(work);
            }
            let sender = sender;
            self.files.each(&|id| wanted.contains_key(&id), &mut |id, bytes| {
                let stopped = || CtError::new(CtCode::Unreadable, "decoding stopped");
                if failed.load(Ordering::Relaxed) {
                    return Err(stopped());
                }
                sender.send((id, bytes)).map_err(|_| stopped())
            })
        });
        if let Some(panic) = locked(&panicked).take() {
            resume_unwind(panic);
        }
        // Files are handed on in their order, so that every file before the first that failed was decoded.
        match std::mem::take(&mut *locked(&failures)).into_values().next() {
            Some(first) => Err(first),
            None => handed,
        }
    }

    /// The wanted frames of one file.
    fn file(
        &self,
        id: FileId,
        bytes: &[u8],
        wanted: &Wanted,
        threads: usize,
        sink: &Sink<'_>,
        warnings: &Mutex<Vec<Warning>>,
    ) -> Result<(), CtError> {
        let name = id.name(self.files.parts);
        let options = options(self.limits.max_file_bytes, Some(self.codec));
        let mut found = Vec::new();
        let file =
            File::open(bytes, &options, &mut Vec::new()).map_err(|error| CtError::of_file(&name, error))?;
        let pixels = file.pixels().map_err(|error| CtError::of_file(&name, error))?;
        let frames = pixels.frames(&mut found).map_err(|error| CtError::of_file(&name, error))?;
        keep(warnings, found);
        let one = |&(frame, index): &(usize, usize)| -> Result<(), CtError> {
            let mut found = Vec::new();
            let values =
                frames.values(frame, &options, &mut found).map_err(|error| CtError::of_file(&name, error))?;
            keep(warnings, found);
            sink(index, &values);
            Ok(())
        };
        if threads == 1 || wanted.len() == 1 {
            return wanted.iter().try_for_each(one);
        }
        in_turn(wanted, threads, &one)
    }
}

/// Frames of one file on several threads; of several failures that of the first frame.
fn in_turn(wanted: &Wanted, threads: usize, one: &One<'_>) -> Result<(), CtError> {
    let next = AtomicUsize::new(0);
    let failures = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(wanted.len()) {
            scope.spawn(|| {
                // Taken in order: whatever comes before the first that failed was taken too.
                while let Some(frame) = wanted.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(error) = one(frame) {
                        next.store(wanted.len(), Ordering::Relaxed);
                        locked(&failures).insert(frame.0, error);
                    }
                }
            });
        }
    });
    failures.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().next().map_or(Ok(()), Err)
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The next file; `None` when there are no more.
fn next(receiver: &Mutex<Receiver<(FileId, Bytes)>>) -> Option<(FileId, Bytes)> {
    locked(receiver).recv().ok()
}

/// Keeps one warning of each code, the first in words' order, so that no thread's haste shows.
fn keep(warnings: &Mutex<Vec<Warning>>, found: Vec<Warning>) {
    if found.is_empty() {
        return;
    }
    let mut all = locked(warnings);
    all.extend(found);
    once_each(&mut all);
}

/// One warning of each code.
pub fn once_each(warnings: &mut Vec<Warning>) {
    warnings.sort_by(|a, b| (&a.code, &a.message).cmp(&(&b.code, &b.message)));
    warnings.dedup_by(|later, first| later.code == first.code);
}
