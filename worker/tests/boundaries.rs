//! The walls between crates, proven from the dependency tree, and between the rooms of each, proven from their source.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::process::Command;

use support::rooms::House;

/// Crates that compute and do nothing else.
const PURE: [&str; 13] = [
    "nightread-domain",
    "nightread-archive",
    "nightread-compare",
    "nightread-ct",
    "nightread-dicom",
    "nightread-digest",
    "nightread-volume",
    "nightread-segmentation",
    "nightread-steps",
    "nightread-radiograph",
    "nightread-fmri",
    "nightread-table",
    "nightread-report",
];

/// Every crate that `package` needs, directly or not.
fn needs(package: &str) -> Vec<String> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--offline",
            "--locked",
            "--edges",
            "normal,build",
            "--prefix",
            "none",
            "--package",
            package,
        ])
        .current_dir(support::repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split(' ').next()).map(str::to_owned).collect()
}

#[test]
fn pure_crates_know_no_reactor_broker_cloud_or_runtime() {
    for package in PURE {
        let needed = needs(package);
        assert!(needed.len() > 3, "the tree of {package} was read");
        for name in needed {
            let outside = ["tokio", "lapin", "ort", "ort-sys", "reqwest", "axum"].contains(&name.as_str())
                || name.starts_with("azure_");
            assert!(!outside, "{package} needs {name}");
        }
    }
}

/// Formats know nothing of what is read from them, and readings nothing of each other.
#[test]
fn formats_and_readings_are_apart() {
    for (package, unknown) in [
        ("nightread-domain", &["dicom", "volume", "radiograph", "fmri", "engine"][..]),
        ("nightread-archive", &["volume", "radiograph", "fmri", "engine", "report"]),
        ("nightread-compare", &["dicom", "volume", "radiograph", "fmri", "engine"]),
        ("nightread-ct", &["radiograph", "fmri", "engine"]),
        ("nightread-dicom", &["archive", "volume", "radiograph", "fmri", "engine"]),
        ("nightread-digest", &["domain", "dicom", "volume", "radiograph", "fmri", "engine"]),
        ("nightread-segmentation", &["dicom", "radiograph", "fmri", "engine"]),
        ("nightread-steps", &["domain", "dicom", "volume", "radiograph", "fmri", "engine"]),
        ("nightread-volume", &["dicom", "radiograph", "fmri", "engine"]),
        ("nightread-radiograph", &["volume", "fmri", "engine"]),
        ("nightread-fmri", &["dicom", "radiograph", "engine"]),
        ("nightread-report", &["dicom", "radiograph", "fmri", "engine"]),
        ("nightread-engine", &["dicom", "volume", "radiograph", "fmri"]),
        ("nightread-table", &["dicom", "volume", "radiograph", "fmri", "engine"]),
    ] {
        let needed = needs(package);
        assert!(needed.contains(&package.to_owned()), "the tree of {package} was read");
        for name in unknown {
            assert!(!needed.contains(&format!("nightread-{name}")), "{package} needs nightread-{name}");
        }
    }
}

#[test]
fn only_the_engine_knows_onnx_runtime() {
    for package in PURE {
        assert!(!needs(package).contains(&"ort".to_owned()), "{package}");
    }
    let engine = needs("nightread-engine");
    assert!(engine.contains(&"ort".to_owned()));
    for name in ["tokio", "lapin"] {
        assert!(!engine.contains(&name.to_owned()), "the engine needs {name}");
    }
}

/// The crates whose rooms are looked at.
fn houses() -> impl Iterator<Item = (String, House)> {
    let crates = support::repository().join("worker/crates");
    let inner = std::fs::read_dir(crates).unwrap().map(|entry| entry.unwrap().path());
    let all = inner.chain([support::repository().join("worker")]);
    all.map(|folder| (folder.display().to_string(), House::read(&folder.join("src"))))
}

#[test]
fn no_files_name_each_other_in_a_circle() {
    let circles: Vec<String> = houses()
        .flat_map(|(name, house)| {
            assert!(house.names.len() > 3, "{name} was read");
            house.circles().into_iter().map(|circle| format!("{name}: {circle:?}")).collect::<Vec<_>>()
        })
        .collect();
    assert!(circles.is_empty(), "{circles:#?}");
}

/// One place for a module's own text: `name.rs`, or `name/mod.rs` where it has files of its own.
#[test]
fn a_module_with_files_of_its_own_is_a_folder() {
    for (name, house) in houses() {
        let files: Vec<_> = house.names.keys().map(String::as_str).collect();
        let has_folder = |file: &&&str| {
            file.strip_suffix(".rs").is_some_and(|stem| {
                files.iter().any(|other| other.strip_prefix(stem).is_some_and(|rest| rest.starts_with('/')))
            })
        };
        let apart: Vec<_> = files.iter().filter(has_folder).collect();
        assert!(apart.is_empty(), "{name}: {apart:?}");
    }
}

#[test]
fn no_room_knows_one_below_it() {
    let house = House::read(&support::repository().join("worker/src"));
    assert!(house.rooms.len() > 10, "the rooms were read: {:?}", house.rooms);
    let folders: Vec<_> = house.names.keys().filter_map(|file| file.split_once('/')).collect();
    assert!(folders.iter().all(|(room, _)| house.rooms.iter().any(|known| known == room)));
    assert!(house.climbs().is_empty(), "{:#?}", house.climbs());
}

/// Services that tell something while they run, for a run may last for hours, and the one that writes a table to standard
/// output piece by piece. What else there is to say, the command says.
const TELLS_WHILE_IT_RUNS: [&str; 3] =
    ["services/announce/progress.rs", "services/process/watch.rs", "services/results/output.rs"];

/// Services that print, move a bar, or choose an exit status.
fn loud_services(house: &House) -> Vec<&str> {
    const LOUD: [&str; 7] = ["ExitCode", "indicatif", "print", "println", "eprint", "eprintln", "stdout"];
    let is_loud = |file: &&str| {
        let mut named =
            house.paths[*file].iter().filter(|path| path.first().is_some_and(|room| room == "console"));
        // Tables are made by the services; of whatever else is there, nothing.
        named.any(|path| path.get(1).is_none_or(|what| what != "table"))
            || LOUD.iter().any(|word| house.words[*file].contains(*word))
    };
    house
        .names
        .keys()
        .map(String::as_str)
        .filter(|file| file.starts_with("services/"))
        .filter(is_loud)
        .collect()
}

#[test]
fn services_neither_print_nor_choose_an_exit_status() {
    let house = House::read(&support::repository().join("worker/src"));
    assert_eq!(loud_services(&house), TELLS_WHILE_IT_RUNS);
}

#[test]
fn commands_are_thin() {
    let src = support::repository().join("worker/src");
    let house = House::read(&src);
    let commands: Vec<_> = house.names.keys().filter(|file| file.starts_with("commands/")).collect();
    assert!(commands.len() > 15, "the commands were read: {commands:?}");
    for file in commands {
        let lines = std::fs::read_to_string(src.join(file)).unwrap().lines().count();
        assert!(lines < 80, "{file} has {lines} lines");
    }
}

/// One way to make a runtime, and one place that sets what holds for the whole process.
#[test]
fn runtimes_and_the_tls_provider_have_one_place() {
    let house = House::read(&support::repository().join("worker/src"));
    let those_with = |word: &str| -> Vec<&str> {
        house.words.iter().filter(|(_, words)| words.contains(word)).map(|(file, _)| file.as_str()).collect()
    };
    for word in ["new_multi_thread", "new_current_thread"] {
        assert_eq!(those_with(word), ["app/runtime.rs"], "{word}");
    }
    assert_eq!(those_with("install_provider"), ["adapters/tls.rs", "main.rs"]);
    assert_eq!(those_with("install_default"), ["adapters/tls.rs"]);
}

#[test]
fn loud_services_are_seen() {
    let lib = "/// People.\npub mod console;\n\n/// Work.\npub mod services;\n";
    let service = |text: &str| {
        let files = [("lib.rs", lib), ("console/mod.rs", ""), ("services/one.rs", text)];
        House::of(&files.map(|(file, text)| (file.to_owned(), text.to_owned())).into())
    };
    let quiet = "use crate::console::table::{shown, table}; fn f() { say(); }\n#[cfg(test)] mod tests { use crate::console::say; }";
    assert!(loud_services(&service(quiet)).is_empty());
    for loud in [
        "use crate::console::{table::table, say};",
        "use crate::{cli::Cli, console};",
        "use crate::console::*;",
        "fn f() { super::super::console::print(\"\") }",
        "use std::process::ExitCode;",
        "fn f() { println!() }",
    ] {
        assert_eq!(loud_services(&service(loud)), ["services/one.rs"], "{loud}");
    }
}

/// What the two tests of circles and climbs would say of a house that is wrong.
#[test]
fn circles_and_climbs_are_seen() {
    let text = |pairs: &[(&str, &str)]| {
        pairs.iter().map(|(file, text)| ((*file).to_owned(), (*text).to_owned())).collect()
    };
    let lib = ("lib.rs", "/// Low.\npub mod low;\n\n/// High.\npub mod high;\n");
    let sound = House::of(&text(&[
        lib,
        ("low.rs", "pub struct Stone;\n#[cfg(test)]\nmod tests { use crate::high::roof::Roof; }"),
        ("high/mod.rs", "pub mod roof;\nuse crate::low::{self, Stone};"),
        ("high/roof.rs", "fn f() -> super::super::low::Stone { crate::low::Stone }"),
    ]));
    assert!(sound.circles().is_empty() && sound.climbs().is_empty(), "{:?}", sound.names);
    assert!(sound.names["high/roof.rs"].contains("low.rs"));
    let circle = House::of(&text(&[
        lib,
        ("high/mod.rs", "mod roof;\npub(crate) use self::{roof::Roof};\npub struct Wall;"),
        ("high/roof.rs", "use super::Wall;"),
    ]));
    assert_eq!(circle.circles(), [vec!["high/mod.rs", "high/roof.rs"]]);
    let climb =
        House::of(&text(&[lib, ("low.rs", "use {std::fmt, crate::high::roof};"), ("high/roof.rs", "")]));
    assert_eq!(climb.climbs(), ["low.rs names high/roof.rs"]);
}
