//! What a person sees of `nightread process`: every input's row and reason, folders and lists, full disks, help.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::print_stderr)]

mod support;

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nightread::adapters::storage::folder::FolderStore;
use nightread::services::autotune::images::png;
use nightread_domain::{BlobRef, BlobStore, ErrorCode, WriteCondition};
use serde_json::Value;
use support::{checked, nightread, process};
use tempfile::TempDir;

/// A folder with these files; a name that ends in `.dcm` or `.png` is an image that is read.
fn folder(files: &[&str]) -> TempDir {
    let work = TempDir::new().unwrap();
    for (seed, file) in files.iter().enumerate() {
        let path = work.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let image = [".dcm", ".png"].iter().any(|ending| file.ends_with(ending));
        fs::write(path, if image { png(256, seed as u64).unwrap().to_vec() } else { b"words".to_vec() })
            .unwrap();
    }
    work
}

fn command(inputs: &[&Path], out: &Path) -> Command {
    let mut command = nightread();
    command.args(["process", "--format", "json", "--out"]).arg(out).args(inputs);
    command
}

fn told(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|_| panic!("no JSON: {}", String::from_utf8_lossy(&output.stderr)))
}

fn json(command: &mut Command) -> Value {
    told(&command.output().unwrap())
}

/// Outcome and code of each file, by its name below `root`.
fn rows(json: &Value, root: &Path) -> BTreeMap<String, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let row = |row: &Value| {
        let file = text(&row["file"]);
        let name =
            Path::new(&file).strip_prefix(root).map_or(file.clone(), |name| name.display().to_string());
        (name, (text(&row["outcome"]), text(&row["code"])))
    };
    json["results"].as_array().unwrap().iter().map(row).collect()
}

fn names(json: &Value, root: &Path) -> Vec<String> {
    rows(json, root).into_keys().collect()
}

#[test]
fn every_input_has_a_row_a_reason_and_a_document_where_there_can_be_one() {
    let work = folder(&["in/good.png", "in/words.dat", "else/a.png"]);
    let (root, out) = (work.path().join("in"), work.path().join("out"));
    let mut scan = vec![0; 352];
    scan[..4].copy_from_slice(&348_i32.to_le_bytes());
    scan[344..348].copy_from_slice(b"n+1\0");
    fs::write(root.join("scan.nii"), scan).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"no-utf8-\xff.png")), b"x").unwrap();
    fs::write(root.join("line\nbreak.png"), b"x").unwrap();
    symlink("../else/a.png", root.join("link.png")).unwrap();
    symlink(".git/annex/objects/gone", root.join("broken.png")).unwrap();
    symlink("loop.png", root.join("loop.png")).unwrap();
    symlink("../else", root.join("linked")).unwrap();
    let pipe = work.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());

    let output = command(&[&root, &pipe], &out).args(["--model", "cxr-pneumonia-demo"]).output().unwrap();
    let json = told(&output);
    assert_eq!(output.status.code(), Some(1));
    let row = |outcome: &str, code: &str| (outcome.to_owned(), code.to_owned());
    let expected = BTreeMap::from([
        ("broken.png".to_owned(), row("failed", "blob_not_found")),
        ("good.png".to_owned(), row("read", "")),
        ("line\nbreak.png".to_owned(), row("given_up", "source_not_allowed")),
        ("link.png".to_owned(), row("read", "")),
        ("loop.png".to_owned(), row("failed", "storage_rejected")),
        ("no-utf8-\u{fffd}.png".to_owned(), row("given_up", "source_not_allowed")),
        ("scan.nii".to_owned(), row("given_up", "no_route")),
        ("words.dat".to_owned(), row("failed", "not_an_image")),
        (pipe.display().to_string(), row("failed", "storage_rejected")),
    ]);
    assert_eq!(rows(&json, &root), expected);
    for row in json["results"].as_array().unwrap() {
        let failed = row["outcome"] != "read";
        assert_eq!(row["message"].is_string(), failed, "{row}");
        if row["outcome"] == "given_up" {
            assert!(row["path"].is_null(), "{row}");
        } else {
            checked(&serde_json::from_slice(&fs::read(row["path"].as_str().unwrap()).unwrap()).unwrap());
        }
    }
    let broken =
        json["results"].as_array().unwrap().iter().find(|row| row["code"] == "blob_not_found").unwrap();
    assert!(broken["message"].as_str().unwrap().contains("git annex get"), "{broken}");
    assert_eq!(json["summary"]["given_up"], 3);
    assert_eq!(json["summary"]["left_out"]["linked_folders"], 1);

    let text = nightread().args(["process", "--out"]).args([&out, &root]).output().unwrap();
    let text = String::from_utf8(text.stdout).unwrap();
    assert!(text.contains("line\\nbreak.png") && text.contains("1 linked folders"), "{text}");
}

#[test]
fn all_failures_come_first_however_many() {
    let work = TempDir::new().unwrap();
    let root = work.path().join("in");
    fs::create_dir(&root).unwrap();
    fs::write(root.join("aa.png"), png(256, 1).unwrap()).unwrap();
    for number in 0..230 {
        fs::write(root.join(format!("bad-{number:03}.png")), b"").unwrap();
    }
    let out = work.path().join("out");
    let run = |flags: &[&str]| {
        let output = nightread().args(["process", "--out"]).args([&out, &root]).args(flags).output().unwrap();
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap())
    };
    let (text, told) = run(&["-v"]);
    let at = |name: &str| text.find(name).unwrap_or_else(|| panic!("{name} has no row"));
    for number in 0..230 {
        assert!(at(&format!("bad-{number:03}.png")) < at("aa.png"));
    }
    assert!(text.contains("230 failed") && text.contains("blob_empty"), "{text}");
    assert!(told.contains("measured how to split"), "{told}");
    assert!(!told.contains('\u{1b}') && !text.contains('\u{1b}'), "colours are for terminals");

    let (text, told) = run(&["-v"]);
    assert!(text.contains("1 already done"), "{text}");
    assert!(!told.contains("measured how to split"), "everything is done: {told}");
    let (quiet, told) = run(&["-q"]);
    assert!(quiet.contains("bad-000.png") && !quiet.contains("aa.png"), "{quiet}");
    assert_eq!(told, "");
}

/// Runs `nightread process` with a file system of its own at `out`.
fn on_its_own_disk(options: &str, out: &Path, inputs: &Path) -> Option<Output> {
    fs::create_dir_all(out).unwrap();
    let script = format!(
        "mount -t tmpfs -o {options} tmpfs {out} || exit 99\nexec timeout 60 {nightread} process --format json --out {out} {inputs}",
        out = out.display(),
        nightread = env!("CARGO_BIN_EXE_nightread"),
        inputs = inputs.display()
    );
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", &script]);
    command
        .env("NIGHTREAD_MODELS_DIR", support::models())
        .env("NIGHTREAD_MODELS_RUNTIME", support::runtime());
    let output = command.output().ok()?;
    // No namespaces for this user.
    (output.status.code() != Some(99) && !output.stdout.is_empty()).then_some(output)
}

#[test]
fn a_disk_that_takes_nothing_ends_the_run_with_the_system_s_words() {
    let files: Vec<_> = (0..40).map(|number| format!("in/{number}.png")).collect();
    let work = folder(&files.iter().map(String::as_str).collect::<Vec<_>>());
    let (root, out) = (work.path().join("in"), work.path().join("out"));
    for (options, said) in [("size=48k", "No space left on device"), ("ro", "Read-only file system")] {
        let Some(output) = on_its_own_disk(options, &out, &root) else {
            eprintln!("SKIPPED: a_disk_that_takes_nothing_ends_the_run: no mount namespaces here");
            return;
        };
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{options}: {stderr}");
        assert!(stderr.contains(said) && stderr.contains(&out.display().to_string()), "{options}: {stderr}");
        let json = told(&output);
        let results = json["results"].as_array().unwrap();
        assert_eq!(results.len(), 40, "every input has its row");
        let failed: Vec<_> = results.iter().filter(|row| row["outcome"] == "unfinished").collect();
        assert!(
            !failed.is_empty() && failed.iter().all(|row| row["code"] == "storage_unwritable"),
            "{json:#}"
        );
        assert!(failed.iter().any(|row| row["message"].as_str().unwrap().contains(said)), "{json:#}");
    }
}

#[test]
fn standard_output_that_takes_nothing_is_a_failure_and_a_closed_pipe_is_none() {
    let full = || Stdio::from(fs::File::options().write(true).open("/dev/full").unwrap());
    for arguments in [&["models"][..], &["completions", "bash"], &["check", "--format", "json"]] {
        let output = nightread().args(arguments).stdout(full()).output().unwrap();
        assert_eq!(output.status.code(), Some(1), "{arguments:?}");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("No space left on device"), "{arguments:?}: {stderr}");
    }
    let mut child = nightread().args(["completions", "bash"]).stdout(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn folders_leave_out_what_is_no_study_and_patterns_choose() {
    let work = folder(&[
        "LICENSE",
        "participants.tsv",
        "sub-01/a.dcm",
        "sub-01/a.json",
        "sub-01/notes.txt",
        "sub-02/b.dcm",
        "sub-02/b-mask.dcm",
        "derivatives/c.dcm",
        ".git/d.dcm",
        ".DS_Store",
    ]);
    let (root, out) = (work.path(), TempDir::new().unwrap());
    let all = json(&mut command(&[root], out.path()));
    assert_eq!(names(&all, root), ["derivatives/c.dcm", "sub-01/a.dcm", "sub-02/b-mask.dcm", "sub-02/b.dcm"]);
    assert_eq!(all["summary"]["left_out"]["no_study"], 6);

    let some = json(command(&[root], out.path()).args(["--exclude", "derivatives", "--exclude", "*-mask.*"]));
    assert_eq!(names(&some, root), ["sub-01/a.dcm", "sub-02/b.dcm"]);
    assert_eq!(some["summary"]["left_out"]["by_patterns"], 2);
    let some = json(command(&[root], out.path()).args(["--include", "sub-02", "--include", "*.txt"]));
    assert_eq!(names(&some, root), ["sub-01/notes.txt", "sub-02/b-mask.dcm", "sub-02/b.dcm"]);

    let named = json(&mut command(&[&root.join("participants.tsv")], out.path()));
    assert_eq!(rows(&named, root)["participants.tsv"].1, "not_an_image", "what somebody names is meant");
    let wrong = command(&[root], out.path()).args(["--include", "a["]).output().unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    let none = command(&[root], out.path()).args(["--include", "nothing"]).output().unwrap();
    assert_eq!(none.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&none.stderr).contains("left out:"), "{none:?}");
}

#[test]
fn lists_name_inputs_one_a_line_or_by_nul() {
    let work = folder(&["a b.dcm", "folder/c.dcm", "other.dcm"]);
    let (root, out) = (work.path(), TempDir::new().unwrap());
    let list = root.join("list.txt");
    let text = format!("{0}/a b.dcm\r\n\n{0}/folder\n{0}/gone.dcm\n", root.display());
    fs::write(&list, text).unwrap();
    let mut at = std::ffi::OsString::from("@");
    at.push(&list);
    let listed = json(&mut command(&[Path::new(&at)], out.path()));
    assert_eq!(names(&listed, root), ["a b.dcm", "folder/c.dcm", "gone.dcm"]);
    assert_eq!(rows(&listed, root)["gone.dcm"].1, "blob_not_found");

    let mut child = command(&[Path::new("-")], out.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .current_dir(root)
        .env("NIGHTREAD_MODELS_DIR", support::models())
        .env("NIGHTREAD_MODELS_RUNTIME", support::runtime())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"a b.dcm\0other.dcm\0").unwrap();
    let listed = told(&child.wait_with_output().unwrap());
    assert_eq!(names(&listed, root), ["a b.dcm", "other.dcm"]);
    let missing = command(&[Path::new("@/no/such/list")], out.path()).output().unwrap();
    assert!(String::from_utf8_lossy(&missing.stderr).contains("/no/such/list"), "{missing:?}");
}

#[test]
fn names_below_a_root_survive_a_move_and_content_decides() {
    let work = folder(&["here/sub/a.dcm", "here/b.dcm", "outside.dcm"]);
    let (here, there, out) = (work.path().join("here"), work.path().join("there"), work.path().join("out"));
    let read = |root: &Path| json(command(&[root], &out).arg("--root").arg(root));
    let first = read(&here);
    let paths: Vec<_> =
        first["results"].as_array().unwrap().iter().map(|row| row["path"].as_str().unwrap()).collect();
    assert!(paths.iter().any(|path| path.ends_with("/local/sub/a.dcm.json")), "{paths:?}");
    let document = fs::read(paths[0]).unwrap();

    support::copy_folder(&here, &there);
    fs::File::options()
        .write(true)
        .open(there.join("b.dcm"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    let copied = read(&there);
    for row in rows(&copied, &there).values() {
        assert_eq!(row.0, "already_done", "{copied:#}");
    }
    assert_eq!(fs::read(paths[0]).unwrap(), document, "a copy changes nothing");

    // Another image with an older time is another study.
    fs::write(there.join("b.dcm"), png(256, 99).unwrap()).unwrap();
    fs::File::options()
        .write(true)
        .open(there.join("b.dcm"))
        .unwrap()
        .set_modified(std::time::UNIX_EPOCH)
        .unwrap();
    assert_eq!(rows(&read(&there), &there)["b.dcm"].0, "read");

    let refused = |inputs: &[&Path], root: &Path| {
        let fresh = work.path().join("fresh");
        let output = command(inputs, &fresh).arg("--root").arg(root).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!(fs::read_dir(&fresh).map_or(0, Iterator::count), 0, "refused before any work");
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(refused(&[&here, &work.path().join("outside.dcm")], &here).contains("outside.dcm"));
    fs::create_dir(here.join("b.dcm.json")).unwrap();
    fs::write(here.join("b.dcm.json/c.dcm"), b"x").unwrap();
    assert!(refused(&[&here], &here).contains("b.dcm.json/c.dcm"));
}

#[test]
fn json_prints_what_is_stored_and_files_have_the_user_s_mask() {
    let work = folder(&["in/a.dcm"]);
    let out = work.path().join("out");
    let mut masked = Command::new("sh");
    masked
        .args([
            "-c",
            "umask 027; exec \"$@\"",
            "sh",
            env!("CARGO_BIN_EXE_nightread"),
            "process",
            "--format",
            "json",
        ])
        .arg("--out")
        .args([&out, &work.path().join("in")])
        .env("NIGHTREAD_MODELS_DIR", support::models())
        .env("NIGHTREAD_MODELS_RUNTIME", support::runtime());
    let first = masked.output().unwrap();
    let row = &told(&first)["results"][0];
    let path = PathBuf::from(row["path"].as_str().unwrap());
    let stored: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    assert_eq!(row["document"], stored, "when it is made");
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
    let again = process(&[work.path().join("in")], &out, &[]);
    assert_eq!(again.json["results"][0]["document"], stored, "and when it is found");
    let text = String::from_utf8(first.stdout).unwrap();
    let shortest = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.contains("\"probability\""));
        lines.map(|line| line.trim().trim_end_matches(',').to_owned()).collect()
    };
    assert_eq!(shortest(&text), shortest(&fs::read_to_string(&path).unwrap()), "to the last digit");
}

#[test]
fn help_says_what_it_is_not_and_completions_and_manuals_are_made() {
    let help = |arguments: &[&str]| {
        let output = nightread().args(arguments).arg("--help").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    for arguments in [&[][..], &["process"], &["run"], &["dead", "list"], &["models"]] {
        let text = help(arguments).split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("Not a medical device, not for diagnosis."), "{arguments:?}: {text}");
    }
    for shell in ["bash", "zsh", "fish"] {
        let output = nightread().args(["completions", shell]).output().unwrap();
        let script = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && script.contains("announce") && script.contains("skip-done"),
            "{shell}"
        );
    }
    let pages = TempDir::new().unwrap();
    assert!(nightread().arg("man").arg(pages.path()).status().unwrap().success());
    for page in ["nightread.1", "nightread-process.1", "nightread-dead-list.1"] {
        let text = fs::read_to_string(pages.path().join(page)).unwrap();
        assert!(text.contains(".TH") && text.contains("medical device"), "{page}");
    }
    assert!(!pages.path().join("nightread-codec-child.1").exists(), "nobody types that");
}

#[tokio::test]
async fn a_service_s_folders_are_never_left() {
    let work = folder(&["secret", "root/incoming/inside", "root/results/x"]);
    let root = work.path().join("root");
    let (incoming, results) = (root.join("incoming"), root.join("results"));
    symlink("inside", incoming.join("link")).unwrap();
    symlink("../../secret", incoming.join("relative")).unwrap();
    symlink(work.path().join("secret"), incoming.join("absolute")).unwrap();
    symlink("../..", incoming.join("up")).unwrap();
    symlink(work.path(), results.join("m")).unwrap();
    let store =
        FolderStore::new([("incoming".to_owned(), incoming), ("results".to_owned(), results.clone())])
            .with_results("results");
    let blob = |name: &str| BlobRef::parse(name).unwrap();
    let inside = store.properties(&blob("incoming/link")).await.unwrap();
    assert_eq!(
        store.fetch(&blob("incoming/link"), &inside, 100).await.unwrap().into_bytes().unwrap(),
        "words"
    );
    for name in ["incoming/relative", "incoming/absolute", "incoming/up/secret"] {
        let refused = store.properties(&blob(name)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::StorageForbidden, "{name}");
        assert_eq!(
            store.fetch(&blob(name), &inside, 100).await.unwrap_err().code,
            ErrorCode::StorageForbidden
        );
        assert!(store.read(&blob(name), 100).await.is_err(), "{name}");
    }
    let write = |name: &str| {
        let (store, blob) = (store.clone(), blob(name));
        async move { store.write(&blob, b"x".as_slice().into(), &BTreeMap::new(), WriteCondition::IfAbsent).await }
    };
    assert_eq!(write("results/m/new.json").await.unwrap_err().code, ErrorCode::StorageForbidden);
    assert!(!work.path().join("new.json").exists());
    write("results/n/new.json").await.unwrap();

    // A probe of the results finds out what a write would; nobody may make files in /sys, root neither.
    store.probe("results").await.unwrap();
    let system = FolderStore::new([("results".to_owned(), PathBuf::from("/sys"))]).with_results("results");
    let away = system.probe("results").await.unwrap_err();
    assert_eq!(away.code, ErrorCode::StorageUnwritable, "{away}");
    assert!(away.is_transient() && away.message.contains("/sys"), "{away}");
}
