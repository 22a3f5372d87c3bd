//! How fast tables are made: `table_speed make N DIR` writes N synthetic documents, `table_speed read DIR FILE THREADS [wide]` makes a
//! table of them and tells documents a second and peak memory. `worker/benches/table.py` runs both beside a plain loop in Python.
#![allow(clippy::print_stdout)]

use std::error::Error;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Instant;

use nightread_domain::ResultDocument;
use nightread_domain::result::Parsed;
use nightread_table::{Batch, Column, Contents, Form, Format, Located, Writer};
use serde_json::json;

type Anyhow<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// Documents of a folder, and of a batch.
const FOLDER: usize = 1000;
const BATCH: usize = 128;

/// As many as the model `xrv-padchest-18` has.
const LABELS: usize = 18;

fn main() -> Anyhow<()> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["make", count, folder] => make(count.parse()?, Path::new(folder)),
        ["read", folder, file, threads] => read(Path::new(folder), Path::new(file), threads.parse()?, false),
        ["read", folder, file, threads, "wide"] => {
            read(Path::new(folder), Path::new(file), threads.parse()?, true)
        }
        _ => Err("table_speed make N DIR | read DIR FILE THREADS [wide]".into()),
    }
}

fn make(count: usize, folder: &Path) -> Anyhow<()> {
    for number in 0..count {
        let below = folder.join(format!("m/1.0.0-fp32/local/{:05}", number / FOLDER));
        if number.is_multiple_of(FOLDER) {
            fs::create_dir_all(&below)?;
        }
        let body = serde_json::to_vec_pretty(&document(number)?)?;
        fs::write(below.join(format!("{number:08}.png.json")), body)?;
    }
    Ok(())
}

/// One in a hundred failed; no two have the same numbers.
fn document(number: usize) -> Anyhow<ResultDocument> {
    let score = |label: usize| ((number * 31 + label * 7919) % 100_003) as f32 / 100_003.0;
    let is_good = !number.is_multiple_of(100);
    let mut document = json!({
        "schema": "nightread.result.v2", "status": if is_good { "ok" } else { "failed" },
        "notice": "Research output of a machine-learning model. Not a medical device, not for diagnosis.", "task": "radiograph",
        "study": {"kind": "blob", "container": "local", "name": format!("{:05}/{number:08}.png", number / FOLDER),
            "version": format!("{number:x}-3e8-7f"), "last_modified": "2026-01-31T12:00:00.123456Z", "bytes": 1_000_000 + number,
            "sha256": format!("{number:064x}"), "media": "png"},
        "model": {"name": "m", "version": "1.0.0", "precision": "fp32", "weights_sha256": "ab".repeat(32),
            "manifest_sha256": "cd".repeat(32), "execution_provider": "cpu", "preprocessing": "xrv-1"},
        "input": {"bits_stored": 16, "width_px": 2000 + number % 500, "height_px": 2500, "max_value": 65535,
            "photometric": "MONOCHROME2"},
        "artefacts": [], "warnings": [{"code": "unverified_view", "message": "neither header nor format tells the view"}],
        "timing_ms": {"fetch": 0.5, "decode": 20.25, "preprocess": 3.125, "queue": 0.25, "infer": 40.0 + score(0) , "total": 70.5},
        "worker": {"version": "0.1.0"}, "read_at": "2026-02-01T00:00:00.5Z"
    });
    if is_good {
        let findings = (0..LABELS).map(|label| {
            json!({"label": format!("Finding {label}"), "logit": score(label) * 8.0 - 4.0, "probability": score(label),
                "threshold": 0.5, "positive": score(label) >= 0.5})
        });
        document["findings"] = findings.collect();
    } else {
        document["error"] =
            json!({"code": "blob_empty", "stage": "fetch", "message": "the blob has no bytes"});
    }
    Ok(serde_json::from_value(document)?)
}

fn read(folder: &Path, file: &Path, threads: usize, wide: bool) -> Anyhow<()> {
    let started = Instant::now();
    let form = if wide { Form::Wide(contents(folder)?) } else { Form::Long };
    let columns: Arc<[Column]> = form.columns().into();
    let mut writer =
        Writer::new(Format::Parquet, columns.to_vec(), &[], BufWriter::new(File::create(file)?))?;
    let (mut documents, mut rows) = (0, 0);
    each_batch(
        folder,
        threads,
        move |paths| cells(&form, &columns, &paths),
        |batch: Batch| {
            documents += batch.documents();
            rows += batch.rows();
            Ok(writer.write(batch)?)
        },
    )?;
    writer.finish()?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{}",
        json!({"documents": documents, "rows": rows, "seconds": seconds, "cpu_seconds": cpu_seconds()?,
            "documents_per_second": documents as f64 / seconds, "documents_per_cpu_second": documents as f64 / cpu_seconds()?,
            "peak_mib": peak_mib()?})
    );
    Ok(())
}

fn contents(folder: &Path) -> Anyhow<Contents> {
    let mut all = Contents::default();
    let one = |paths: Vec<PathBuf>| {
        let mut contents = Contents::default();
        for path in paths {
            let document = parsed(&fs::read(path)?)?;
            contents.add(&document);
        }
        Ok(contents)
    };
    each_batch(folder, 2, one, |some| {
        all.join(some);
        Ok(())
    })?;
    Ok(all)
}

fn cells(form: &Form, columns: &[Column], paths: &[PathBuf]) -> Anyhow<Batch> {
    let mut batch = Batch::new(columns);
    for path in paths {
        let document = parsed(&fs::read(path)?)?;
        let located = Located { path: &path.to_string_lossy(), etag: "1", document: &document };
        form.add(&located, &mut batch).map_err(|unfit| format!("{unfit:?}"))?;
    }
    Ok(batch)
}

fn parsed(body: &[u8]) -> Anyhow<Box<ResultDocument>> {
    match ResultDocument::parse(body) {
        Parsed::Document(document) => Ok(document),
        other => Err(format!("{other:?}").into()),
    }
}

/// Hands batches of files to threads, and what they make of them to `take`, here.
fn each_batch<T: Send + 'static>(
    folder: &Path,
    threads: usize,
    make: impl Fn(Vec<PathBuf>) -> Anyhow<T> + Send + Sync + 'static,
    mut take: impl FnMut(T) -> Anyhow<()>,
) -> Anyhow<()> {
    let (names, batches) = mpsc::sync_channel(4);
    let batches = Arc::new(Mutex::new(batches));
    let (done, made) = mpsc::sync_channel(4);
    let make = Arc::new(make);
    let workers: Vec<_> = (0..threads)
        .map(|_| {
            let (batches, done, make) = (Arc::clone(&batches), done.clone(), Arc::clone(&make));
            thread::spawn(move || {
                loop {
                    let Ok(batch) = batches.lock().map(|batches| batches.recv()) else { return };
                    let Ok(batch) = batch else { return };
                    if done.send(make(batch)).is_err() {
                        return;
                    }
                }
            })
        })
        .collect();
    drop(done);
    let folder = folder.to_owned();
    let walker =
        thread::spawn(move || walk(&folder, &mut Vec::new(), &names).map(|rest| drop(names.send(rest))));
    for batch in made {
        take(batch?)?;
    }
    for worker in workers {
        worker.join().map_err(|_| "a thread panicked")?;
    }
    walker.join().map_err(|_| "the walk panicked")?
}

/// Gives what is left of the last batch.
fn walk(
    folder: &Path,
    batch: &mut Vec<PathBuf>,
    out: &mpsc::SyncSender<Vec<PathBuf>>,
) -> Anyhow<Vec<PathBuf>> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            *batch = walk(&entry.path(), batch, out)?;
            continue;
        }
        batch.push(entry.path());
        if batch.len() == BATCH {
            out.send(std::mem::take(batch))?;
        }
    }
    Ok(std::mem::take(batch))
}

/// Of this process, user and system, in all its threads.
fn cpu_seconds() -> Anyhow<f64> {
    let stat = fs::read_to_string("/proc/self/stat")?;
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
    let ticks = |at: usize| -> Anyhow<f64> { Ok(fields.get(at).ok_or("no such field")?.parse::<f64>()?) };
    Ok((ticks(11)? + ticks(12)?) / 100.0)
}

fn peak_mib() -> Anyhow<f64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).ok_or("no VmHWM")?;
    Ok(line.trim().trim_end_matches(" kB").parse::<f64>()? / 1024.0)
}
