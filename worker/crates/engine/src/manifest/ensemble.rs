//! Ensembles: several networks, one result.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::reader::Reader;
use super::{Input, Manifest, Precision, Problem, Task};

/// More networks than anybody asks for one image, and few enough that a slip cannot exhaust memory.
const MOST_MEMBERS: usize = 32;

/// What becomes of the members' answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Combine {
    /// The mean of the members' probabilities, each after its own activation and calibration.
    Mean,
    /// The share of members whose probability reaches their own threshold.
    Vote,
}

impl Combine {
    const ALL: [(&'static str, Self); 2] = [("mean", Self::Mean), ("vote", Self::Vote)];

    /// As manifests and results have it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mean => "mean",
            Self::Vote => "vote",
        }
    }
}

/// Networks that are asked together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ensemble {
    pub combine: Combine,
    pub members: Vec<Member>,
}

/// One of them, by the digests that it must have. All are lower-case hexadecimal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its folder, beside the ensemble's.
    pub model: String,
    /// Of what its manifest decides.
    pub manifest_sha256: String,
    /// Of its weights, by precision.
    pub fp32_sha256: Option<String>,
    pub int8_sha256: Option<String>,
}

impl Member {
    /// Digest of its weights.
    pub fn weights_sha256(&self, precision: Precision) -> Option<&str> {
        match precision {
            Precision::Fp32 => self.fp32_sha256.as_deref(),
            Precision::Int8 => self.int8_sha256.as_deref(),
            // What is measured of one network says nothing of several.
            Precision::Bf16 => None,
        }
    }
}

/// What of a manifest is each member's own.
const OF_MEMBERS: [&str; 8] =
    ["weights", "input", "preprocessing", "window", "output", "measurements", "maps", "bring_your_own"];

impl Ensemble {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let combine = reader.choice("combine", &Combine::ALL);
        let members = reader.tables("members", |reader| {
            let (model, manifest_sha256) = (reader.text("model"), reader.sha256("manifest_sha256"));
            reader.refuse("bf16_sha256", "is of one network alone: ensembles run in fp32 or int8");
            let (fp32_sha256, int8_sha256) =
                (reader.sha256_if("fp32_sha256"), reader.sha256_if("int8_sha256"));
            Some(Member { model: model?, manifest_sha256: manifest_sha256?, fp32_sha256, int8_sha256 })
        });
        Some(Self { combine: combine?, members: members?.into_iter().collect::<Option<_>>()? })
    }

    /// Notes what an ensemble's manifest must not say.
    pub(super) fn leave_out(reader: &mut Reader<'_>) {
        for key in OF_MEMBERS {
            reader.refuse(key, "is each member's own: leave it out of an ensemble");
        }
    }

    /// Whether every member has weights of this precision.
    pub fn offers(&self, precision: Precision) -> bool {
        self.members.iter().all(|member| member.weights_sha256(precision).is_some())
    }
}

impl Input {
    /// That of an ensemble: its members have their own.
    pub(super) fn of_members() -> Self {
        Self { name: String::new(), item_shape: Vec::new(), value_range: [0.0, 0.0] }
    }
}

/// Rules of the section itself.
pub(super) fn check(manifest: &Manifest, ensemble: &Ensemble, problems: &mut Vec<Problem>) {
    if manifest.task != Task::Radiograph {
        problems.push(Problem::new("ensemble", "serves radiographs alone"));
    }
    let count = ensemble.members.len();
    if !(2..=MOST_MEMBERS).contains(&count) {
        let what = format!("must name 2 to {MOST_MEMBERS} networks, not {count}");
        problems.push(Problem::new("ensemble.members", what));
    }
    let mut seen = BTreeSet::new();
    for (number, member) in ensemble.members.iter().enumerate() {
        if !seen.insert(&member.model) {
            let what = format!("{:?} is a member already", member.model);
            problems.push(Problem::new(at(number, "model"), what));
        }
    }
    if !Precision::ALL.into_iter().any(|precision| ensemble.offers(precision)) {
        let what = "must have a fp32_sha256 of each, or an int8_sha256 of each: members run at one precision";
        problems.push(Problem::new("ensemble.members", what));
    }
    for (index, label) in manifest.labels.iter().enumerate() {
        let fields = [
            ("suppressed", label.suppressed),
            ("op_threshold", label.op_threshold.is_some()),
            ("family", label.family.is_some()),
        ];
        for (field, _) in fields.into_iter().filter(|(_, is_said)| *is_said) {
            let what = "is each member's own: an ensemble lists the labels that they report";
            problems.push(Problem::new(format!("labels[{index}].{field}"), what));
        }
    }
}

fn at(number: usize, field: &str) -> String {
    format!("ensemble.members[{number}].{field}")
}

/// What keeps `models`, all that are sound, from being the members that a manifest names; nothing of a network.
pub(super) fn check_members(manifest: &Manifest, models: &BTreeMap<String, Arc<Manifest>>) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(ensemble) = &manifest.ensemble else { return problems };
    for (number, member) in ensemble.members.iter().enumerate() {
        let name = &member.model;
        match models.get(name) {
            None => {
                let what = format!("{name:?} is no sound model beside this one: see `nightread models`");
                problems.push(Problem::new(at(number, "model"), what));
            }
            Some(found) if found.ensemble.is_some() => {
                let what = format!("{name:?} is an ensemble itself: name its members");
                problems.push(Problem::new(at(number, "model"), what));
            }
            Some(found) if found.task != manifest.task => {
                let what =
                    format!("{name:?} reads {}: members read what the ensemble does", found.task.studies());
                problems.push(Problem::new(at(number, "model"), what));
            }
            Some(found) => check_member(manifest, (number, member), found, &mut problems),
        }
    }
    problems
}

fn check_member(
    manifest: &Manifest,
    (number, member): (usize, &Member),
    found: &Manifest,
    problems: &mut Vec<Problem>,
) {
    let name = &member.model;
    let decided = found.sha256();
    if decided != member.manifest_sha256 {
        problems.push(Problem::new(at(number, "manifest_sha256"), other(name, &decided)));
    }
    for precision in Precision::ALL {
        let Some(wanted) = member.weights_sha256(precision) else { continue };
        let field = format!("{precision}_sha256");
        match found.weights(precision).and_then(super::Weights::digest) {
            Some(digest) if digest == wanted => {}
            Some(digest) => problems.push(Problem::new(at(number, &field), other(name, &digest))),
            None => {
                let what = format!("is of weights that are not there: {name} has no {precision} to run");
                problems.push(Problem::new(at(number, &field), what));
            }
        }
    }
    if let Some(what) = other_labels(manifest, found) {
        problems.push(Problem::new(at(number, "model"), what));
    }
    for (field, theirs, ours) in [
        ("simulated", found.trained_on.simulated, manifest.trained_on.simulated),
        ("demonstration", found.trained_on.demonstration, manifest.trained_on.demonstration),
    ] {
        if theirs && !ours {
            let what = format!("must be true: it is of the member {name}");
            problems.push(Problem::new(format!("trained_on.{field}"), what));
        }
    }
}

fn other(name: &str, digest: &str) -> String {
    format!(
        "is not that of {name} here, {digest}: another one was meant, or the ensemble gets this digest and a new version"
    )
}

/// The first label in which a member differs from its ensemble.
fn other_labels(ensemble: &Manifest, member: &Manifest) -> Option<String> {
    let [ours, theirs] = [ensemble, member].map(|manifest| {
        let reported = manifest.labels.iter().filter(|label| !label.suppressed);
        reported.map(|label| label.name.as_str()).collect::<Vec<_>>()
    });
    let name = &member.name;
    if let Some(place) = ours.iter().zip(&theirs).position(|(ours, theirs)| ours != theirs) {
        return Some(format!(
            "{name:?} reports {:?} where labels[{place}] is {:?}: members report the same labels in the same order",
            theirs[place], ours[place]
        ));
    }
    (ours.len() != theirs.len())
        .then(|| format!("{name:?} reports {} labels and the ensemble {}", theirs.len(), ours.len()))
}
