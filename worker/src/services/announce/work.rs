//! From what a source names to what is to be announced, on a task of its own.

use std::sync::Arc;

use anyhow::Result;
use bytes::Bytes;
use nightread_domain::announcement::{Native, NativeSeries};
use nightread_domain::{Attributes, Lane, Message};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

use super::done::{Decision, Done};
use super::filter::Filter;
use super::item::Work;
use super::source::{Batches, Position};

/// What became of names, so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Counts {
    /// Names that the source gave.
    pub seen: u64,
    /// Names that a condition left out.
    pub filtered: u64,
    /// Names that have their result.
    pub done: u64,
    /// Names whose blob is gone.
    pub gone: u64,
    /// Names that Nightread does not take.
    pub refused: u64,
    /// Events, rows and folders that name no blob to read.
    pub ignored: u64,
    /// Blobs in the archive tier.
    #[serde(default)]
    pub archived: u64,
    /// Announcements that the broker confirmed.
    pub announced: u64,
}

impl Counts {
    pub fn add(&mut self, more: Self) {
        self.seen += more.seen;
        self.filtered += more.filtered;
        self.done += more.done;
        self.gone += more.gone;
        self.refused += more.refused;
        self.ignored += more.ignored;
        self.archived += more.archived;
        self.announced += more.announced;
    }
}

/// The state of the source after some more names. Together with what was handed over before and is not confirmed, it is
/// all that a checkpoint needs.
#[derive(Debug, Default)]
pub(super) struct PreparedBatch {
    pub announce: Vec<Work>,
    /// Not decided about yet.
    pub held: Vec<Work>,
    /// What this adds.
    pub counts: Counts,
    /// `None` for what comes from a checkpoint itself.
    pub position: Option<Position>,
}

/// What names go through.
pub(super) struct Selector {
    pub filter: Filter,
    pub containers: Vec<String>,
    pub done: Option<Done>,
}

impl Selector {
    /// Starts it on what a checkpoint left over, and then on the source's names.
    pub fn start(
        mut self,
        left_over: Vec<Work>,
        mut batches: Batches,
    ) -> mpsc::Receiver<Result<PreparedBatch>> {
        let (out, prepared) = mpsc::channel(2);
        tokio::spawn(async move {
            if let Err(error) = self.run(left_over, &mut batches, &out).await {
                // Whoever no longer listens has ended already.
                let _ = out.send(Err(error)).await;
            }
        });
        prepared
    }

    async fn run(
        &mut self,
        left_over: Vec<Work>,
        batches: &mut Batches,
        out: &mpsc::Sender<Result<PreparedBatch>>,
    ) -> Result<()> {
        if !left_over.is_empty() {
            let mut prepared = PreparedBatch::default();
            // They are from before the position: no listing is followed for them.
            let merging = self.done.as_mut().map(|done| std::mem::replace(&mut done.merging, false));
            self.decide(0, left_over, &mut prepared).await?;
            if let (Some(done), Some(merging)) = (&mut self.done, merging) {
                done.merging = merging;
            }
            if out.send(Ok(prepared)).await.is_err() {
                return Ok(());
            }
        }
        while let Some(batch) = batches.recv().await {
            let batch = batch?;
            let mut prepared = PreparedBatch { position: Some(batch.position), ..PreparedBatch::default() };
            prepared.counts.seen = batch.found.len() as u64 + batch.refused + batch.ignored + batch.archived;
            prepared.counts.refused = batch.refused;
            prepared.counts.ignored = batch.ignored;
            prepared.counts.archived = batch.archived;
            let mut works = Vec::with_capacity(batch.found.len());
            for named in batch.found {
                if !self.containers.iter().any(|container| container == named.blob.container()) {
                    prepared.counts.refused += 1;
                } else if self.filter.takes(&named.blob, named.facts) {
                    works.push(Work { blob: named.blob, etag: named.etag, redriven: false });
                } else {
                    prepared.counts.filtered += 1;
                }
            }
            self.decide(batch.part, works, &mut prepared).await?;
            if let Some(done) = &self.done {
                prepared.held = done.held().cloned().collect();
            }
            if out.send(Ok(prepared)).await.is_err() {
                return Ok(());
            }
        }
        if let Some(done) = &mut self.done {
            let mut prepared = PreparedBatch::default();
            let decisions = done.finish().await?;
            settle(decisions, &mut prepared);
            let _ = out.send(Ok(prepared)).await;
        }
        Ok(())
    }

    async fn decide(&mut self, part: usize, works: Vec<Work>, prepared: &mut PreparedBatch) -> Result<()> {
        match &mut self.done {
            None => prepared.announce = works,
            Some(done) => settle(done.decide(part, works).await?, prepared),
        }
        Ok(())
    }
}

fn settle(decisions: Vec<Decision>, prepared: &mut PreparedBatch) {
    for decision in decisions {
        match decision {
            Decision::Announce(work) => prepared.announce.push(work),
            Decision::Done => prepared.counts.done += 1,
            Decision::Gone => prepared.counts.gone += 1,
        }
    }
}

/// What all announcements of one run have in common.
#[derive(Clone, Debug)]
pub(super) struct Template {
    pub lane: Lane,
    /// What is announced are the series of set documents.
    pub sets: bool,
    pub model: Option<String>,
    pub force: bool,
    pub correlation_id: Option<Arc<str>>,
}

impl Template {
    /// The announcement of a blob. Its message id is the same each time, so that repeats can be told.
    pub fn message(&self, work: &Work) -> Message {
        let blob = work.blob.to_string();
        let id = hex::encode(&Sha256::digest(&blob)[..16]);
        let correlation_id = self.correlation_id.as_deref().map(str::to_owned);
        let (model, force) = (self.model.clone(), self.force);
        // Structs of texts and flags always serialise.
        let body = if self.sets {
            let native = NativeSeries { model, force, correlation_id, ..NativeSeries::of_set(blob) };
            serde_json::to_vec(&native)
        } else {
            serde_json::to_vec(&Native { blob, model, force, correlation_id })
        };
        let body = Bytes::from(body.unwrap_or_default());
        let mut attributes = Attributes::for_lane(self.lane);
        attributes.message_id = Some(id);
        attributes.content_type = Some("application/json".to_owned());
        attributes.redriven = work.redriven;
        Message { body, attributes }
    }
}
