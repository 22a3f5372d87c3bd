//! Which items go into the next batch: a pure state machine without clock, channel or thread.
//!
//! One FIFO for each key. The key whose head is oldest is served first, so no key starves another. Time comes in as an
//! argument and is used only for the optional linger.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

/// How large a batch may be, and how long it may wait to grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Items in one batch; at least 1.
    pub items: usize,
    /// Bytes in one batch. An item larger than this goes alone.
    pub bytes: usize,
    /// How long the head may wait for company. Zero: a batch goes as soon as somebody takes it.
    pub linger: Duration,
}

/// Items of one key, in the order of their arrival.
#[derive(Debug, PartialEq, Eq)]
pub struct Batch<K, T> {
    pub key: K,
    /// Each with the time of its arrival. Never empty.
    pub items: Vec<(T, Instant)>,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    bytes: usize,
    arrived: Instant,
    /// Position among all arrivals: `Instant` alone may tie.
    sequence: u64,
}

/// Items waiting for a session, by key.
#[derive(Debug)]
pub struct Batcher<K, T> {
    limits: Limits,
    queues: HashMap<K, VecDeque<Entry<T>>>,
    next_sequence: u64,
    waiting: usize,
    cancelled: u64,
}

impl<K: Clone + Eq + Hash, T> Batcher<K, T> {
    /// An empty batcher; a limit of no items is raised to one.
    pub fn new(limits: Limits) -> Self {
        let limits = Limits { items: limits.items.max(1), ..limits };
        Self { limits, queues: HashMap::new(), next_sequence: 0, waiting: 0, cancelled: 0 }
    }

    /// Queues an item of `bytes` bytes that arrived `now`.
    pub fn push(&mut self, key: K, item: T, bytes: usize, now: Instant) {
        let entry = Entry { item, bytes, arrived: now, sequence: self.next_sequence };
        self.next_sequence += 1;
        self.waiting += 1;
        self.queues.entry(key).or_default().push_back(entry);
    }

    /// The next batch, or `None` when nothing waits or everything lingers. Items for which `cancelled` says true are
    /// dropped and counted.
    pub fn take(&mut self, now: Instant, cancelled: impl Fn(&T) -> bool) -> Option<Batch<K, T>> {
        self.skip_cancelled_heads(&cancelled);
        let linger = self.limits.linger;
        let key = self
            .queues
            .iter()
            .filter_map(|(key, queue)| queue.front().map(|head| (key, queue, head)))
            .filter(|(_, queue, head)| {
                now.saturating_duration_since(head.arrived) >= linger || self.fills_a_batch(queue, &cancelled)
            })
            .min_by_key(|(_, _, head)| head.sequence)
            .map(|(key, _, _)| key.clone())?;
        Some(self.fill(key, cancelled))
    }

    /// As [`Batcher::take`], but nothing lingers: for the end.
    pub fn take_now(&mut self, cancelled: impl Fn(&T) -> bool) -> Option<Batch<K, T>> {
        self.skip_cancelled_heads(&cancelled);
        let heads = self.queues.iter().filter_map(|(key, queue)| Some((key, queue.front()?.sequence)));
        let key = heads.min_by_key(|(_, sequence)| *sequence).map(|(key, _)| key.clone())?;
        Some(self.fill(key, cancelled))
    }

    /// When [`Batcher::take`] may give a batch that it does not give now; `None` when nothing waits.
    pub fn next_deadline(&self) -> Option<Instant> {
        let heads = self.queues.values().filter_map(VecDeque::front);
        heads.map(|head| head.arrived + self.limits.linger).min()
    }

    /// Takes everything out, in order of arrival.
    pub fn drain(&mut self) -> Vec<T> {
        let mut entries: Vec<_> = self.queues.drain().flat_map(|(_, queue)| queue).collect();
        entries.sort_by_key(|entry| entry.sequence);
        self.waiting = 0;
        entries.into_iter().map(|entry| entry.item).collect()
    }

    /// Items waiting, cancelled ones that were not met yet included.
    pub fn len(&self) -> usize {
        self.waiting
    }

    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Cancelled items dropped so far.
    pub fn cancelled(&self) -> u64 {
        self.cancelled
    }

    fn skip_cancelled_heads(&mut self, cancelled: &impl Fn(&T) -> bool) {
        let mut skipped = 0;
        self.queues.retain(|_, queue| {
            while queue.front().is_some_and(|head| cancelled(&head.item)) {
                queue.pop_front();
                skipped += 1;
            }
            !queue.is_empty()
        });
        self.count_cancelled(skipped);
    }

    fn count_cancelled(&mut self, skipped: usize) {
        self.waiting -= skipped;
        self.cancelled += skipped as u64;
    }

    /// Whether waiting longer could not make the queue's next batch larger.
    fn fills_a_batch(&self, queue: &VecDeque<Entry<T>>, cancelled: &impl Fn(&T) -> bool) -> bool {
        let (mut items, mut bytes) = (0, 0_usize);
        queue.iter().filter(|entry| !cancelled(&entry.item)).any(|entry| {
            items += 1;
            bytes = bytes.saturating_add(entry.bytes);
            items >= self.limits.items || bytes >= self.limits.bytes
        })
    }

    /// Pops from one queue while the limits hold; its head is live, so the batch is never empty.
    fn fill(&mut self, key: K, cancelled: impl Fn(&T) -> bool) -> Batch<K, T> {
        let mut items = Vec::new();
        let mut skipped = 0;
        if let Some(queue) = self.queues.get_mut(&key) {
            let mut bytes = 0_usize;
            while let Some(entry) = queue.front() {
                let live = !cancelled(&entry.item);
                let grown = bytes.saturating_add(entry.bytes);
                let fits =
                    items.is_empty() || (items.len() < self.limits.items && grown <= self.limits.bytes);
                if live && !fits {
                    break;
                }
                let Some(entry) = queue.pop_front() else { break };
                if live {
                    bytes = grown;
                    items.push((entry.item, entry.arrived));
                } else {
                    skipped += 1;
                }
            }
            if queue.is_empty() {
                self.queues.remove(&key);
            }
        }
        self.waiting -= items.len();
        self.count_cancelled(skipped);
        Batch { key, items }
    }
}

#[cfg(test)]
mod tests;
