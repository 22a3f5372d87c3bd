//! Programs that share no code with the writer, and say what they read.

use std::path::{Path, PathBuf};
use std::process::Command;

use nightread_archive::Object;

pub fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..").canonicalize().expect("the repository")
}

/// `.cache/venv-archive/bin/NAME`; `None`, said aloud, where `tests/setup` could not have it.
pub fn of_venv(test: &str, name: &str) -> Option<PathBuf> {
    let program = repository().join(".cache/venv-archive/bin").join(name);
    if program.is_file() {
        return Some(program);
    }
    println!("SKIPPED: {test}: {name} is not here; `tests/setup` installs it");
    None
}

/// What a program says of a file, and whether it is content.
pub fn says(program: &Path, arguments: &[&str], file: &Path) -> (bool, String) {
    let output = Command::new(program).args(arguments).arg(file).output().expect("a program that runs");
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.push_str(&String::from_utf8_lossy(&output.stderr));
    (output.status.success(), text)
}

/// A program of dcmtk; `None`, said aloud, where it is not here.
pub fn of_dcmtk(test: &str, name: &str) -> Option<PathBuf> {
    let found = Command::new("which").arg(name).output().ok().filter(|output| output.status.success());
    if found.is_none() {
        println!("SKIPPED: {test}: {name} of dcmtk is not here; `tests/setup` installs it");
    }
    found.map(|output| PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()))
}

/// Writes objects into a folder: `<case>.<kind>-<n>.dcm`.
pub fn write(folder: &Path, case: &str, objects: &[Object]) -> Vec<PathBuf> {
    let paths = objects.iter().enumerate().map(|(nth, object)| {
        let path = folder.join(format!("{case}.{}-{nth}.dcm", object.kind.as_str()));
        std::fs::write(&path, &object.file).expect("a file");
        path
    });
    paths.collect()
}
