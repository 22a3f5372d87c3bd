//! The archives that results go to.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use nightread_archive::Kind;
use nightread_domain::BlobRef;
use toml::{Table, Value};

use super::keys;
use super::raw::{Problems, RawSettings};
use super::{DeliverSettings, Secret};

const KINDS: [Kind; 3] = [Kind::Report, Kind::Capture, Kind::Segmentation];
const TEXTS: [&str; 5] = ["name", "archive", "authorization", "calling_title", "ca_file"];

/// The archive of `[deliver]`, where it is named, then those of `[[targets]]`: a row says what differs from `[deliver]`, but
/// for the authorization, which is each archive's own.
pub(super) fn targets(raw: &RawSettings, problems: &mut Problems) -> Vec<DeliverSettings> {
    let usual = usual(raw, problems);
    let mut targets: Vec<DeliverSettings> = Vec::new();
    if !usual.archive.is_empty() {
        targets.push(usual.clone());
    }
    for (n, row) in raw.targets.iter().enumerate() {
        targets.extend(of_row(row, &usual, &format!("[[targets]] {}", n + 1), problems));
    }
    without_commitment_by_http(&usual, &mut targets, problems);
    for (n, target) in targets.iter().enumerate() {
        if BlobRef::new(target.name.as_str(), "x").is_err() {
            problems.add(format!(
                "the archive's name {:?}: 3 to 63 lower-case letters, digits and single hyphens are expected",
                target.name
            ));
        }
        if targets.iter().take(n).any(|other| other.name == target.name) {
            problems.add(format!("two archives are called {:?}", target.name));
        }
    }
    targets
}

/// Archives that are reached by HTTP know no storage commitment: what `[deliver]` says of it is for the others.
fn without_commitment_by_http(
    usual: &DeliverSettings,
    targets: &mut [DeliverSettings],
    problems: &mut Problems,
) {
    for target in targets.iter_mut().filter(|target| target.archive.starts_with("http")) {
        target.commitment = None;
    }
    if usual.commitment.is_some() && targets.iter().all(|target| target.commitment.is_none()) {
        problems.add(
            "[deliver] commitment_seconds: only an archive that is reached by dicom:// or dicom+tls:// can be asked for storage \
             commitment, and there is none",
        );
    }
}

/// What `[deliver]` says, with an archive or without.
fn usual(raw: &RawSettings, problems: &mut Problems) -> DeliverSettings {
    let text = |key| raw.text(key).unwrap_or_default().to_owned();
    DeliverSettings {
        name: text(keys::DELIVER_NAME),
        archive: text(keys::DELIVER_ARCHIVE),
        authorization: raw.text(keys::DELIVER_AUTHORIZATION).map(Secret::new),
        calling_title: text(keys::DELIVER_CALLING_TITLE),
        ca_file: raw.text(keys::DELIVER_CA_FILE).map(PathBuf::from),
        timeout: seconds(raw.integer(keys::DELIVER_SECONDS).unwrap_or_default(), "[deliver]", problems),
        read_back: raw.boolean(keys::DELIVER_READ_BACK),
        commitment: commitment(raw.integer(keys::DELIVER_COMMITMENT_SECONDS).unwrap_or_default()),
        objects: objects(&raw.list(keys::DELIVER_OBJECTS), "[deliver]", problems),
    }
}

fn of_row(
    row: &Table,
    usual: &DeliverSettings,
    place: &str,
    problems: &mut Problems,
) -> Option<DeliverSettings> {
    let mut target = DeliverSettings { authorization: None, ..usual.clone() };
    let (mut is_named, mut has_archive, mut is_asked) = (false, false, false);
    for (name, value) in row {
        match (name.as_str(), value) {
            ("name", Value::String(text)) => {
                is_named = true;
                target.name.clone_from(text);
            }
            ("archive", Value::String(text)) => {
                has_archive = true;
                target.archive.clone_from(text);
            }
            ("authorization", Value::String(text)) => target.authorization = Some(Secret::new(text.as_str())),
            ("calling_title", Value::String(text)) => target.calling_title.clone_from(text),
            ("ca_file", Value::String(text)) => target.ca_file = Some(PathBuf::from(text)),
            ("seconds", Value::Integer(count)) => {
                target.timeout = seconds(u64::try_from(*count).unwrap_or_default(), place, problems);
            }
            ("commitment_seconds", Value::Integer(count)) => {
                target.commitment = commitment(u64::try_from(*count).unwrap_or_default());
                is_asked = target.commitment.is_some();
            }
            ("read_back", Value::Boolean(yes)) => target.read_back = *yes,
            ("objects", Value::Array(words)) if words.iter().all(Value::is_str) => {
                let words: Vec<_> = words.iter().filter_map(Value::as_str).map(str::to_owned).collect();
                target.objects = objects(&words, place, problems);
            }
            (name, _) => problems.add(format!(
                "{place}: {name} is not one of the texts {}, nor seconds, commitment_seconds, read_back, objects",
                TEXTS.join(", ")
            )),
        }
    }
    if !is_named || !has_archive {
        problems.add(format!("{place}: name and archive are expected"));
        return None;
    }
    if is_asked && target.archive.starts_with("http") {
        problems.add(format!("{place} commitment_seconds: dicom:// or dicom+tls:// is expected as archive"));
    }
    Some(target)
}

fn seconds(count: u64, place: &str, problems: &mut Problems) -> Duration {
    if count == 0 {
        problems.add(format!("{place} seconds: at least 1 is expected"));
    }
    Duration::from_secs(count)
}

fn commitment(count: u64) -> Option<Duration> {
    (count > 0).then(|| Duration::from_secs(count))
}

/// Where archives bring reports of storage commitments.
pub(super) fn commitment_listen(raw: &RawSettings, problems: &mut Problems) -> Option<SocketAddr> {
    let text = raw.text(keys::DELIVER_COMMITMENT_LISTEN)?;
    let address = text.parse().ok();
    if address.is_none() {
        problems.add(
            "[deliver] commitment_listen: an address with a port is expected, for example 127.0.0.1:11112",
        );
    }
    address
}

fn objects(words: &[String], place: &str, problems: &mut Problems) -> Vec<Kind> {
    let known = KINDS.into_iter().filter(|kind| words.iter().any(|word| word == kind.as_str())).collect();
    let is_known = |word: &String| KINDS.iter().any(|kind| kind.as_str() == word);
    if words.is_empty() || !words.iter().all(is_known) {
        problems.add(format!("{place} objects: some of {} are expected", KINDS.map(Kind::as_str).join(", ")));
    }
    known
}
