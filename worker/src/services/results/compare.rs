//! `nightread results compare`: how two sets of results differ, and whether that is within limits.

use std::fs::{File, Permissions};
use std::io::Write;
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::ExitCode;
use std::thread::available_parallelism;

use anyhow::{Context, Result};
use futures::TryStreamExt;
use nightread_compare::{
    Bootstrap, Cohorts, CompareError, CompareOptions, Comparison, JoinKey, RolloutLimits, Truth,
    TruthColumns, Which, html, markdown, page,
};

use super::documents::Documents;
use super::filter::Filter;
use super::source::Source;
use crate::cli::results::{CompareArgs, ComparisonFormat};
use crate::console::page::text;
use crate::console::{FAILED, WRONG_USE, print, say};

/// Unreadable documents that are told one by one.
const TOLD: usize = 20;

pub(crate) async fn run(args: &CompareArgs) -> Result<ExitCode> {
    let Some((sides, key)) = opened(args)? else { return Ok(ExitCode::from(WRONG_USE)) };
    // Before the documents, which may take long.
    let truth = match args.truth.as_deref().map(|path| read_truth(path, args)).transpose() {
        Ok(truth) => truth,
        Err(problem) => return Ok(wrong_use(&problem)),
    };
    let mut cohorts = Cohorts::new(key);
    let mut unreadable = [0; 2];
    for (which, documents) in [Which::A, Which::B].into_iter().zip(&sides) {
        unreadable[which as usize] = take(&mut cohorts, which, documents).await?;
    }
    let options = CompareOptions {
        limits: RolloutLimits { flips: args.max_flips, unpaired: args.max_unpaired },
        named: args.named,
        truth: truth.as_ref().map(|truth| (truth, args.group.as_deref())),
        bootstrap: Bootstrap {
            draws: args.draws,
            seed: args.seed,
            threads: available_parallelism().unwrap_or(NonZero::<usize>::MIN),
        },
        sources: [&args.a, &args.b].map(|path| path.display().to_string()),
        unreadable,
    };
    match Comparison::of(&cohorts, &options) {
        Ok(comparison) => told(args, &comparison),
        Err(problem) => Ok(wrong_use(&in_words(&problem, key, args))),
    }
}

fn wrong_use(problem: &str) -> ExitCode {
    say(problem);
    ExitCode::from(WRONG_USE)
}

/// Both sides, and what their studies are joined by; none after it was told what is wrong.
fn opened(args: &CompareArgs) -> Result<Option<([Documents; 2], JoinKey)>> {
    let filter = || Filter { models: args.model.clone(), prefix: args.prefix.clone(), ..Filter::default() };
    let Some(a) = Documents::open(&args.a, &args.common, filter())? else { return Ok(None) };
    let Some(b) = Documents::open(&args.b, &args.common, filter())? else { return Ok(None) };
    let (Ok(of_a), Ok(of_b)) = (Source::parse(&args.a), Source::parse(&args.b)) else { return Ok(None) };
    if are_shared(&of_a, &of_b) {
        say(
            "A and B have documents in common: name two folders, containers or lists of which neither holds the other",
        );
        return Ok(None);
    }
    let is_container = |source: &Source| matches!(source, Source::Container { .. });
    let usual = if is_container(&of_a) || is_container(&of_b) { JoinKey::Study } else { JoinKey::Name };
    Ok(Some(([a, b], args.by.map_or(usual, JoinKey::from))))
}

/// Whether two sources hold the same documents, so that some would be compared with themselves. Of lists nobody knows.
fn are_shared(a: &Source, b: &Source) -> bool {
    match (a, b) {
        (Source::Folder(a) | Source::File(a), Source::Folder(b) | Source::File(b)) => {
            match (a.canonicalize(), b.canonicalize()) {
                (Ok(a), Ok(b)) => a.starts_with(&b) || b.starts_with(&a),
                _ => false,
            }
        }
        (Source::Container { name: a, prefix: of_a }, Source::Container { name: b, prefix: of_b }) => {
            a == b && (of_a.starts_with(of_b) || of_b.starts_with(of_a))
        }
        (Source::List(a), Source::List(b)) => a == b,
        _ => false,
    }
}

fn read_truth(path: &Path, args: &CompareArgs) -> Result<Truth, String> {
    let columns = TruthColumns { study: args.study_column.clone(), group: args.group.clone() };
    let file = File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Truth::read(file, &columns).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// Takes what is compared of a side's documents; gives how many could not be read.
async fn take(cohorts: &mut Cohorts, which: Which, documents: &Documents) -> Result<usize> {
    let mut unreadable = 0;
    let mut entries = documents.entries();
    while let Some(entry) = entries.try_next().await? {
        let problem = match entry.document {
            Ok(document) => cohorts.add(which, &document).err().map(|problem| problem.to_string()),
            Err(why) => Some(why),
        };
        if let Some(problem) = problem {
            unreadable += 1;
            if unreadable <= TOLD {
                say(&format!("{which}: {}: {problem}", entry.path.name()));
            }
        }
    }
    if unreadable > TOLD {
        say(&format!("{which}: {} more documents cannot be read", unreadable - TOLD));
    }
    let gone = documents.counts().gone;
    if gone > 0 {
        say(&format!("{which}: {gone} documents were gone when their turn came"));
    }
    Ok(unreadable)
}

/// Why nothing was compared, and what to do about it.
fn in_words(problem: &CompareError, key: JoinKey, args: &CompareArgs) -> String {
    let advice = match (problem, key) {
        (CompareError::NoCommonStudy { .. }, JoinKey::Study) => {
            "; --by name compares studies whose containers have other names"
        }
        (CompareError::Twice { models, .. }, _) if models[0] != models[1] => {
            "; name one version by its path, as in results/<model>/<version>-<precision>, or one model by --model"
        }
        (CompareError::Twice { .. }, JoinKey::Name) => {
            "; --by study tells studies of several containers apart"
        }
        _ => "",
    };
    let of = match (problem, &args.truth) {
        (CompareError::Truth(_), Some(path)) => format!("{}: ", path.display()),
        _ => String::new(),
    };
    format!("{of}{problem}{advice}")
}

/// Writes the comparison, tells which limits it is past, and gives the exit status.
fn told(args: &CompareArgs, comparison: &Comparison) -> Result<ExitCode> {
    let format = args.format.unwrap_or_else(|| usual_format(args.out.as_deref()));
    let written = match format {
        ComparisonFormat::Text => text(&page(comparison)),
        ComparisonFormat::Markdown => markdown(&page(comparison)),
        ComparisonFormat::Json => serde_json::to_string_pretty(comparison)?,
        ComparisonFormat::Html => html(&page(comparison)),
    };
    let written = written.trim_end();
    match &args.out {
        Some(path) => write(path, written)?,
        None => print(written)?,
    }
    if args.out.is_some() {
        print(&format!(
            "{} of {} decisions differ over {} studies",
            comparison.flips, comparison.decisions, comparison.compared
        ))?;
    }
    for check in comparison.checks.iter().filter(|check| !check.passed) {
        say(&format!(
            "past the limit: {}: {} of {}, at most {}",
            check.what, check.found, check.of, check.limit
        ));
    }
    Ok(if comparison.passed { ExitCode::SUCCESS } else { ExitCode::from(FAILED) })
}

/// As the file's name ends.
fn usual_format(out: Option<&Path>) -> ComparisonFormat {
    match out.and_then(Path::extension).and_then(|end| end.to_str()) {
        Some("md") => ComparisonFormat::Markdown,
        Some("json") => ComparisonFormat::Json,
        Some("html" | "htm") => ComparisonFormat::Html,
        _ => ComparisonFormat::Text,
    }
}

/// Beside its name until it is whole, so that a broken-off run leaves no half a comparison behind.
fn write(path: &Path, written: &str) -> Result<()> {
    let failed = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .permissions(Permissions::from_mode(0o666)) // less the umask
        .tempfile_in(folder.unwrap_or(".".as_ref()))
        .with_context(failed)?;
    writeln!(file, "{written}").with_context(failed)?;
    file.persist(path).with_context(failed)?;
    Ok(())
}
