//! `nightread results compare`: how two sets of results differ, and whether that is within limits.

use std::fs::File;
use std::num::NonZero;
use std::path::Path;
use std::thread::available_parallelism;

use anyhow::Result;
use futures::TryStreamExt;
use nightread_compare::{
    Bootstrap, Cohorts, CompareError, CompareOptions, Comparison, JoinKey, RolloutLimits, Truth,
    TruthColumns, Which,
};

use super::documents::Documents;
use super::filter::Filter;
use super::source::DocumentSource;
use crate::app::WrongUse;
use crate::cli::results::CompareArgs;

/// Unreadable documents that are told one by one.
const TOLD: usize = 20;

/// A comparison, and what of the documents could not be read, a line each.
#[derive(Debug)]
pub(crate) struct Compared {
    pub comparison: Comparison,
    pub unread: Vec<String>,
}

/// Compares what `args` name.
///
/// # Errors
/// [`WrongUse`], also where nothing can be compared; what storage says.
pub(crate) async fn run(args: &CompareArgs) -> Result<Compared> {
    let (sides, key) = opened(args)?;
    // Before the documents, which may take long.
    let truth = args.truth.as_deref().map(|path| read_truth(path, args)).transpose().map_err(WrongUse)?;
    let mut cohorts = Cohorts::new(key);
    let (mut unreadable, mut unread) = ([0; 2], Vec::new());
    for (which, documents) in [Which::A, Which::B].into_iter().zip(&sides) {
        unreadable[which as usize] = take(&mut cohorts, which, documents, &mut unread).await?;
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
    let comparison = Comparison::of(&cohorts, &options);
    let comparison = comparison.map_err(|problem| {
        let mut told = in_words(&problem, key, args);
        // Else a side whose documents are all refused would be told as one that has none.
        if let (count @ 1.., Some(first)) = (unreadable.iter().sum::<usize>(), unread.first()) {
            told = format!("{told}; {count} documents were left out, the first is {first}");
        }
        WrongUse(told)
    })?;
    Ok(Compared { comparison, unread })
}

/// Both sides, and what their studies are joined by.
fn opened(args: &CompareArgs) -> Result<([Documents; 2], JoinKey)> {
    let filter = Filter { models: args.model.clone(), prefix: args.prefix.clone(), ..Filter::default() };
    let a = Documents::open(&args.a, &args.common, filter.clone())?;
    let b = Documents::open(&args.b, &args.common, filter)?;
    let of_a = DocumentSource::parse(&args.a).map_err(WrongUse)?;
    let of_b = DocumentSource::parse(&args.b).map_err(WrongUse)?;
    if are_shared(&of_a, &of_b) {
        let told = "A and B have documents in common: name two folders, containers or lists of which neither holds the other";
        return Err(WrongUse(told.to_owned()).into());
    }
    let usual = if of_a.is_container() || of_b.is_container() { JoinKey::Study } else { JoinKey::Name };
    Ok(([a, b], args.by.map_or(usual, JoinKey::from)))
}

/// Whether two sources hold the same documents, so that some would be compared with themselves. Of lists nobody knows.
fn are_shared(a: &DocumentSource, b: &DocumentSource) -> bool {
    match (a, b) {
        (
            DocumentSource::Folder(a) | DocumentSource::File(a),
            DocumentSource::Folder(b) | DocumentSource::File(b),
        ) => match (a.canonicalize(), b.canonicalize()) {
            (Ok(a), Ok(b)) => a.starts_with(&b) || b.starts_with(&a),
            _ => false,
        },
        (
            DocumentSource::Container { name: a, prefix: of_a },
            DocumentSource::Container { name: b, prefix: of_b },
        ) => a == b && (of_a.starts_with(of_b) || of_b.starts_with(of_a)),
        (DocumentSource::List(a), DocumentSource::List(b)) => a == b,
        _ => false,
    }
}

fn read_truth(path: &Path, args: &CompareArgs) -> Result<Truth, String> {
    let columns = TruthColumns { study: args.study_column.clone(), group: args.group.clone() };
    let file = File::open(path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    Truth::read(file, &columns).map_err(|problem| format!("{}: {problem}", path.display()))
}

/// Takes what is compared of a side's documents; gives how many could not be read, and tells of them in `unread`.
async fn take(
    cohorts: &mut Cohorts,
    which: Which,
    documents: &Documents,
    unread: &mut Vec<String>,
) -> Result<usize> {
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
                unread.push(format!("{which}: {}: {problem}", entry.path.name()));
            }
        }
    }
    if unreadable > TOLD {
        unread.push(format!("{which}: {} more documents cannot be read", unreadable - TOLD));
    }
    let gone = documents.counts().gone;
    if gone > 0 {
        unread.push(format!("{which}: {gone} documents were gone when their turn came"));
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
