use std::os::unix::fs::symlink;
use std::time::Duration;

use super::*;

const HOUR: Duration = Duration::from_hours(1);

fn cache() -> (TempDir, GraphCache) {
    let folder = tempfile::tempdir().unwrap();
    let cache = GraphCache::open(&folder.path().join("nightread")).unwrap();
    (folder, cache)
}

/// Keeps an entry of `bytes` that was last used so long ago.
fn kept(cache: &GraphCache, name: &str, bytes: usize, ago: Duration) -> PathBuf {
    let (made, _lock) = cache.making().unwrap();
    fs::write(made.path().join(GRAPH), vec![7; bytes]).unwrap();
    let place = cache.keep(made.path(), &Key::named(name), "abc").unwrap();
    let record = File::open(place.join(RECORD)).unwrap();
    record.set_modified(SystemTime::now() - ago).unwrap();
    place
}

#[test]
fn the_users_folder_is_that_of_the_xdg_specification() {
    let environment = |xdg: Option<&'static str>, home: Option<&'static str>| {
        user_folder(|name| match name {
            "XDG_CACHE_HOME" => xdg.map(PathBuf::from),
            "HOME" => home.map(PathBuf::from),
            _ => None,
        })
    };
    assert_eq!(environment(Some("/x"), Some("/h")), Some(PathBuf::from("/x/nightread")));
    assert_eq!(environment(Some("x"), Some("/h")), Some(PathBuf::from("/h/.cache/nightread")));
    assert_eq!(environment(None, Some("/h")), Some(PathBuf::from("/h/.cache/nightread")));
    assert_eq!(environment(Some(""), None), None);
}

#[test]
fn what_is_kept_is_found_by_its_key_alone() {
    let (_root, cache) = cache();
    let place = kept(&cache, "one", 10, HOUR);
    let found = cache.find(&Key::named("one")).unwrap().unwrap();
    assert_eq!((found.folder, found.digest.as_str()), (place.clone(), "abc"));
    assert!(cache.find(&Key::named("two")).unwrap().is_none());
    // As if two keys had one digest.
    fs::rename(place, cache.place(&Key::named("two"))).unwrap();
    assert!(cache.find(&Key::named("two")).unwrap_err().contains("another graph"));
}

#[test]
fn an_entry_without_its_record_is_told_and_replaced() {
    let (_root, cache) = cache();
    let place = kept(&cache, "one", 10, HOUR);
    fs::remove_file(place.join(RECORD)).unwrap();
    assert!(cache.find(&Key::named("one")).unwrap_err().contains("record"));
    kept(&cache, "one", 20, HOUR);
    assert_eq!(cache.find(&Key::named("one")).unwrap().unwrap().digest, "abc");
    assert_eq!(fs::read_dir(&cache.folder).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn what_others_may_write_is_not_used() {
    let (root, cache) = cache();
    let place = kept(&cache, "one", 10, HOUR);
    for path in [place.join(GRAPH), place.join(RECORD), place.clone()] {
        let mode = path.metadata().unwrap().permissions();
        for open in [0o620, 0o602] {
            fs::set_permissions(&path, Permissions::from_mode(open | 0o100)).unwrap();
            assert!(cache.find(&Key::named("one")).unwrap_err().contains("chmod"), "{}", path.display());
        }
        fs::set_permissions(&path, mode).unwrap();
    }
    cache.find(&Key::named("one")).unwrap().unwrap();
    fs::rename(place.join(GRAPH), root.path().join("elsewhere")).unwrap();
    symlink(root.path().join("elsewhere"), place.join(GRAPH)).unwrap();
    assert!(cache.find(&Key::named("one")).is_err(), "a link leads to where others may write");
    fs::set_permissions(&cache.folder, Permissions::from_mode(0o777)).unwrap();
    assert!(GraphCache::open(&cache.folder).unwrap_err().contains("others may write"));
    fs::set_permissions(&cache.folder, Permissions::from_mode(0o700)).unwrap();
    fs::set_permissions(root.path(), Permissions::from_mode(0o777)).unwrap();
    assert!(GraphCache::open(&cache.folder).unwrap_err().contains("rename"));
    fs::set_permissions(root.path(), Permissions::from_mode(0o1777)).unwrap();
    GraphCache::open(&cache.folder).unwrap();
}

#[test]
fn another_users_entry_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        println!("SKIPPED: another_users_entry_is_not_used: only root can give a file away");
        return;
    }
    let (_root, cache) = cache();
    let place = kept(&cache, "one", 10, HOUR);
    std::os::unix::fs::chown(place.join(GRAPH), Some(12345), None).unwrap();
    assert!(cache.find(&Key::named("one")).unwrap_err().contains("user 12345"));
}

#[test]
fn the_one_that_was_not_used_for_the_longest_time_goes_first() {
    let (_root, cache) = cache();
    let cache = cache.with_limit_bytes(1000);
    let old = kept(&cache, "old", 400, 3 * HOUR);
    let older = kept(&cache, "older", 400, 4 * HOUR);
    cache.find(&Key::named("older")).unwrap().unwrap();
    let third = kept(&cache, "third", 400, 2 * HOUR);
    assert!(!old.exists() && older.exists() && third.exists(), "it was used now");
    let (made, _lock) = cache.making().unwrap();
    fs::write(made.path().join(GRAPH), vec![7; 1001]).unwrap();
    assert!(cache.keep(made.path(), &Key::named("large"), "abc").unwrap_err().contains("1001 bytes"));
    assert!(older.exists() && third.exists());
    assert!(cache.takes(250) && !cache.takes(251));
}

#[test]
fn what_others_keep_in_the_same_folder_stays() {
    let (_root, cache) = cache();
    let cache = cache.with_limit_bytes(1000);
    let (folder, file) = (cache.folder.join("models"), cache.folder.join("notes"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("weights"), vec![7; 2000]).unwrap();
    fs::write(&file, vec![7; 2000]).unwrap();
    let old = kept(&cache, "old", 600, 3 * HOUR);
    let new = kept(&cache, "new", 600, 2 * HOUR);
    assert!(!old.exists() && new.exists());
    assert!(folder.join("weights").exists() && file.exists(), "models of a registry lie there");
}

#[test]
fn what_makers_that_were_killed_left_behind_goes() {
    let (_root, cache) = cache();
    let [(killed, lock), (making, _held), (just, fresh)] = [0; 3].map(|_| cache.making().unwrap());
    let [killed, making, just] = [killed, making, just].map(TempDir::keep);
    for folder in [&killed, &making] {
        File::open(folder).unwrap().set_modified(SystemTime::now() - HOUR).unwrap();
    }
    drop((lock, fresh));
    // Asked for, not only when one is kept: a worker may be killed each time before that.
    cache.making().unwrap();
    assert!(!killed.exists() && making.exists() && just.exists());
}
