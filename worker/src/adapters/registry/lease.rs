//! Who reads with a version of the cache, and which versions go: those that nobody reads with, that the settings do not pin, and
//! that were not used for the longest time.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::SystemTime;

use nightread_engine::{CACHE_BYTES, is_sha256, room};

use super::cache::Cache;
use crate::settings::Pin;

/// Beside each version: locked for sharing by whoever reads with it, and as old as its last use. A folder without it was not
/// made by a worker, and stays.
const MARK: &str = ".used";

/// A version that is removed so often while it is asked for is removed by something else than workers.
const TRIES: usize = 100;

/// As long as it lives, no worker removes the version. The kernel lets it go with its holder, however that ends.
#[derive(Debug)]
pub(super) struct Lease(File);

impl Drop for Lease {
    fn drop(&mut self) {
        now(&self.0);
    }
}

impl Cache {
    /// Makes the version's folder, if it is not there, and holds it. `None` where that cannot be: in a folder that this user may
    /// not write to, or a file system without locks. Nothing is removed there either. Blocks.
    pub(super) fn lease(&self, pin: &Pin) -> Option<Lease> {
        let lease = self.leased(pin);
        lease
            .inspect_err(|error| tracing::debug!(%pin, %error, "a fetched model cannot be marked as used"))
            .ok()
    }

    fn leased(&self, pin: &Pin) -> io::Result<Lease> {
        let folder = self.folder_of(pin);
        let path = self.place_of(pin).join(MARK);
        for _ in 0..TRIES {
            fs::create_dir_all(&folder)?;
            let mark = match opened(&path) {
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                opened => opened?,
            };
            mark.lock_shared()?;
            // Whoever removes versions may have been first.
            if is_at(&mark, &path) {
                now(&mark);
                return Ok(Lease(mark));
            }
        }
        Err(io::Error::other("it is removed as often as it is made"))
    }

    /// Removes versions until those that are not pinned have [`CACHE_BYTES`] at most. What nobody can tell the use of stays, and
    /// so does, with a warning, what cannot be removed. Blocks.
    pub(super) fn prune(&self, pins: &[Pin]) {
        let may_go = |name: &str| is_sha256(name) && pins.iter().all(|pin| pin.sha256() != name);
        room::make(self.folder(), CACHE_BYTES, MARK, may_go, alone);
    }
}

/// One who may not write may still lock.
fn opened(path: &Path) -> io::Result<File> {
    match File::options().read(true).append(true).create(true).open(path) {
        Err(error) if matches!(error.kind(), ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem) => {
            File::open(path)
        }
        opened => opened,
    }
}

/// The mark of the version in `place`, if nobody reads with it, and nobody can begin to as long as it is held.
fn alone(place: &Path) -> Option<File> {
    let path = place.join(MARK);
    let mark = File::options().read(true).append(true).open(&path).ok()?;
    mark.try_lock().ok()?;
    // Another may have removed it, and one made it anew.
    is_at(&mark, &path).then_some(mark)
}

fn is_at(file: &File, path: &Path) -> bool {
    let (Ok(file), Ok(there)) = (file.metadata(), path.metadata()) else { return false };
    (file.dev(), file.ino()) == (there.dev(), there.ino())
}

/// Who may not write leaves it as old as it is.
fn now(mark: &File) {
    let _ = mark.set_modified(SystemTime::now());
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tempfile::TempDir;

    use super::*;

    const LARGE: u64 = CACHE_BYTES / 2 + 1;

    fn pin(digit: char) -> Pin {
        Pin::new("one-node", digit.to_string().repeat(64)).unwrap()
    }

    /// A version of so many bytes, whose last use ended so many hours ago.
    fn version(cache: &Cache, digit: char, bytes: u64, hours: u64) -> Pin {
        let pin = pin(digit);
        drop(cache.lease(&pin).unwrap());
        let file = File::create(cache.folder_of(&pin).join("model.onnx")).unwrap();
        file.set_len(bytes).unwrap();
        used(cache, &pin, hours);
        pin
    }

    fn used(cache: &Cache, pin: &Pin, hours: u64) {
        let mark = File::open(cache.place_of(pin).join(MARK)).unwrap();
        mark.set_modified(SystemTime::now() - Duration::from_hours(hours)).unwrap();
    }

    fn cache() -> (TempDir, Cache) {
        let folder = TempDir::new().unwrap();
        let cache = Cache::new(folder.path().join("cache"));
        (folder, cache)
    }

    #[test]
    fn those_go_first_that_were_not_used_for_the_longest_time() {
        let (_folder, cache) = cache();
        let pinned = version(&cache, '0', 4 * LARGE, 9);
        let [first, second, third] =
            [('1', 3), ('2', 2), ('3', 1)].map(|(n, ago)| version(&cache, n, LARGE, ago));
        cache.prune(std::slice::from_ref(&pinned));
        let there = [&pinned, &first, &second, &third].map(|pin| cache.place_of(pin).exists());
        assert_eq!(there, [true, false, false, true], "two of them are more than 1 GiB");
        let left = fs::read_dir(cache.folder()).unwrap().count();
        assert_eq!(left, 2, "and nothing is left of them");
    }

    #[test]
    fn what_is_used_or_was_just_used_stays() {
        let (_folder, cache) = cache();
        let (held, just) = (version(&cache, '1', 3 * LARGE, 3), version(&cache, '2', 3 * LARGE, 0));
        let lease = cache.lease(&held).unwrap();
        used(&cache, &held, 3);
        let second = cache.lease(&held).unwrap();
        used(&cache, &held, 3);
        cache.prune(&[]);
        assert!(cache.place_of(&held).exists() && cache.place_of(&just).exists());
        drop(second);
        used(&cache, &held, 3);
        cache.prune(&[]);
        assert!(cache.place_of(&held).exists(), "another still reads with it");
        drop(lease);
        cache.prune(&[]);
        assert!(cache.place_of(&held).exists(), "it was used until now");
        used(&cache, &held, 3);
        cache.prune(&[]);
        assert!(!cache.place_of(&held).exists() && cache.place_of(&just).exists());
    }

    #[test]
    fn what_workers_did_not_make_stays() {
        let (_folder, cache) = cache();
        let unmarked = version(&cache, '1', 3 * LARGE, 3);
        fs::remove_file(cache.place_of(&unmarked).join(MARK)).unwrap();
        let others = [cache.folder().join("mine"), cache.folder().join("2".repeat(63))];
        for other in &others {
            fs::create_dir(other).unwrap();
            File::create(other.join(MARK)).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
        }
        let file = cache.folder().join("3".repeat(64));
        fs::write(&file, "no folder").unwrap();
        cache.prune(&[]);
        assert!(
            cache.place_of(&unmarked).exists() && others.iter().all(|other| other.exists()) && file.exists()
        );
    }

    #[test]
    fn a_cache_that_takes_no_marks_holds_nothing_and_loses_nothing() {
        let (_folder, cache) = cache();
        fs::create_dir_all(cache.folder()).unwrap();
        // As a file in the version's place: no rights keep root from writing.
        fs::write(cache.place_of(&pin('1')), "in the way").unwrap();
        assert!(cache.lease(&pin('1')).is_none());
        cache.prune(&[]);
        assert!(cache.place_of(&pin('1')).exists());
    }

    #[test]
    fn what_a_killed_worker_left_half_removed_goes() {
        let (_folder, cache) = cache();
        let half = cache.folder().join(".making-abc/removed/one-node");
        fs::create_dir_all(&half).unwrap();
        let aside = File::open(cache.folder().join(".making-abc")).unwrap();
        cache.prune(&[]);
        assert!(half.exists(), "somebody may be at it");
        aside.set_modified(SystemTime::now() - Duration::from_hours(25)).unwrap();
        cache.prune(&[]);
        assert!(!cache.folder().join(".making-abc").exists());
    }
}
