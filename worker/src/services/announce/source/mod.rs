//! Where names come from. A source runs on its own and hands batches over; it never has more than two waiting.

mod dead_letters;
mod lines;
mod listing;

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use nightread_domain::announcement::AllowedSources;
use nightread_domain::ports::Listing;
use nightread_domain::{BlobRef, ETag};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::filter::Facts;

/// Names handed over at once; also how finely a checkpoint cuts.
const BATCH: usize = 500;

/// A blob that a source named.
#[derive(Clone, Debug)]
pub(super) struct Named {
    pub blob: BlobRef,
    pub etag: Option<ETag>,
    pub facts: Facts,
}

/// From where a source goes on. What the fields mean is the source's own business.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Position {
    /// Which of several containers or files.
    #[serde(default)]
    pub part: usize,
    /// The page of a listing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marker: Option<String>,
    /// The last name that was handed over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Lines or rows that were handed over.
    #[serde(default)]
    pub count: u64,
}

/// Some names, and from where the source goes on after them.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub found: Vec<Named>,
    /// Names that Nightread does not take.
    pub refused: u64,
    /// Events, rows and folders that name no blob to read.
    pub ignored: u64,
    /// Blobs in the archive tier: their bytes cannot be read now.
    pub archived: u64,
    /// Which of several containers this is from.
    pub part: usize,
    pub position: Position,
}

pub(super) type Batches = mpsc::Receiver<Result<Batch>>;
type Out = mpsc::Sender<Result<Batch>>;

/// A container and the start of names in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub container: String,
    pub prefix: String,
}

impl Place {
    pub fn parse(text: &str) -> Self {
        let (container, prefix) = text.split_once('/').unwrap_or((text, ""));
        Self { container: container.to_owned(), prefix: prefix.to_owned() }
    }
}

/// Where to look.
#[derive(Debug)]
pub(super) enum BlobSource {
    Listing(Arc<dyn Listing>, Vec<Place>),
    Names,
    Inventory(Vec<PathBuf>),
    DeadLetters(Arc<dyn Listing>, Place, AllowedSources),
}

impl BlobSource {
    /// Whether people made the list, so that a name in it that is refused is a mistake to tell of.
    pub fn is_a_list(&self) -> bool {
        matches!(self, Self::Names | Self::Inventory(_))
    }

    /// Whether names come in order, by and large, so that a listing of results can be followed beside them.
    pub fn is_in_order(&self) -> bool {
        matches!(self, Self::Listing(..) | Self::Inventory(_))
    }

    /// The start of all names of a part.
    pub fn prefixes(&self) -> Vec<String> {
        match self {
            Self::Listing(_, places) => places.iter().map(|place| place.prefix.clone()).collect(),
            _ => Vec::new(),
        }
    }

    /// Starts it from `position` on. An error ends it.
    pub fn start(self, position: Position) -> Batches {
        let (out, batches) = mpsc::channel(2);
        match self {
            Self::Listing(store, places) => {
                tokio::spawn(ended(out.clone(), async move {
                    listing::run(&*store, &places, position, &out).await
                }));
            }
            Self::DeadLetters(store, place, allowed) => {
                tokio::spawn(ended(out.clone(), async move {
                    dead_letters::run(&*store, &place, &allowed, position, &out).await
                }));
            }
            Self::Names => blocking(out, move |out| lines::names(std::io::stdin().lock(), &position, out)),
            Self::Inventory(files) => blocking(out, move |out| lines::inventory(&files, &position, out)),
        }
        batches
    }
}

async fn ended(out: Out, run: impl Future<Output = Result<()>>) {
    if let Err(error) = run.await {
        // Whoever no longer listens has ended already.
        let _ = out.send(Err(error)).await;
    }
}

fn blocking(out: Out, run: impl FnOnce(&Out) -> Result<()> + Send + 'static) {
    tokio::task::spawn_blocking(move || {
        if let Err(error) = run(&out) {
            let _ = out.blocking_send(Err(error));
        }
    });
}
