//! Two listings side by side: the blobs, and the results of one model version. Both come in name order, but the order
//! of the results is another one: `a-b` comes after `a`, and `a-b.json` before `a.json`.

use std::collections::{BTreeMap, VecDeque};

use async_trait::async_trait;
use nightread_domain::{ETag, JobError};

/// What a listing tells of a result.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// The version of the blob that was read; unknown for documents without metadata.
    pub source_etag: Option<ETag>,
    pub failed: bool,
    /// It failed for what may have passed since: it does not count as done.
    pub may_pass: bool,
}

/// The name that a result has for a blob's name, both without what stands before them.
pub(super) fn result_key(name: &str) -> String {
    format!("{name}.json")
}

/// Hands blobs on in the order of their results' names.
///
/// A blob `p` has to wait only while blobs may come whose result sorts before `p.json`. Every blob that still comes is
/// at least the newest, `s`, so its result is greater than `s`: whatever has `p.json <= s` may go. What must wait has
/// `p <= s < p.json`, which only prefixes of `s` have: never more than a name has characters.
#[derive(Debug)]
pub(super) struct Reorder<T> {
    held: BTreeMap<String, T>,
    newest: Option<String>,
}

impl<T> Default for Reorder<T> {
    fn default() -> Self {
        Self { held: BTreeMap::new(), newest: None }
    }
}

impl<T> Reorder<T> {
    /// Takes the next blob and gives the blobs whose turn has come, each with its result's key. `Err` gives a blob back
    /// that is out of order, or came twice.
    pub fn push(&mut self, name: &str, item: T) -> Result<Vec<(String, T)>, T> {
        if self.newest.as_deref().is_some_and(|newest| name <= newest) {
            return Err(item);
        }
        let later = self.held.split_off(&after(name));
        let ready = std::mem::replace(&mut self.held, later);
        self.held.insert(result_key(name), item);
        self.newest = Some(name.to_owned());
        Ok(ready.into_iter().collect())
    }

    /// No more will come.
    pub fn finish(&mut self) -> Vec<(String, T)> {
        self.newest = None;
        std::mem::take(&mut self.held).into_iter().collect()
    }

    /// What waits for its turn.
    pub fn held(&self) -> impl Iterator<Item = &T> {
        self.held.values()
    }
}

/// The least text greater than `name`.
fn after(name: &str) -> String {
    format!("{name}\0")
}

/// Pages of a listing of results: keys in order, without what stands before them.
#[async_trait]
pub(super) trait Pages: Send {
    /// `None` at the end. Empty pages are no end.
    async fn next(&mut self) -> Result<Option<Vec<(String, Standing)>>, JobError>;
}

/// Follows one listing of results as keys are asked for in order.
#[derive(Debug)]
pub(super) struct Cursor<P> {
    pages: P,
    page: VecDeque<(String, Standing)>,
    ended: bool,
}

impl<P: Pages> Cursor<P> {
    pub fn new(pages: P) -> Self {
        Self { pages, page: VecDeque::new(), ended: false }
    }

    /// The result of this key, if the listing has it. Keys come in ascending order. A listing out of order makes this
    /// miss a result, never invent one: a repeated announcement is harmless.
    pub async fn seek(&mut self, key: &str) -> Result<Option<Standing>, JobError> {
        loop {
            while self.page.front().is_some_and(|(front, _)| front.as_str() < key) {
                self.page.pop_front();
            }
            if let Some((front, found)) = self.page.front() {
                return Ok((front == key).then(|| found.clone()));
            }
            if self.ended {
                return Ok(None);
            }
            match self.pages.next().await? {
                Some(page) => self.page = page.into(),
                None => self.ended = true,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use futures::FutureExt;
    use proptest::prelude::*;

    use super::*;

    struct Listing(VecDeque<Vec<(String, Standing)>>);

    #[async_trait]
    impl Pages for Listing {
        async fn next(&mut self) -> Result<Option<Vec<(String, Standing)>>, JobError> {
            Ok(self.0.pop_front())
        }
    }

    fn listing(results: &BTreeSet<String>, page: usize) -> Cursor<Listing> {
        let keys: Vec<_> = results.iter().map(|key| (key.clone(), Standing::default())).collect();
        let mut pages: VecDeque<_> = keys.chunks(page).map(<[_]>::to_vec).collect();
        pages.push_front(Vec::new());
        Cursor::new(Listing(pages))
    }

    /// The names without a result, and the most that ever waited.
    fn without_result(
        names: &BTreeSet<String>,
        results: &BTreeSet<String>,
        page: usize,
    ) -> (BTreeSet<String>, usize) {
        let mut cursor = listing(results, page);
        let (mut left, mut most) = (BTreeSet::new(), 0);
        let mut reorder = Reorder::default();
        let mut last = String::new();
        let mut ask = |ready: Vec<(String, String)>| {
            for (key, name) in ready {
                assert!(key > last, "{key:?} after {last:?}");
                last.clone_from(&key);
                let found =
                    cursor.seek(&key).now_or_never().expect("nothing to wait for").expect("a listing");
                if found.is_none() {
                    assert!(left.insert(name));
                }
            }
        };
        for name in names {
            ask(reorder.push(name, name.clone()).expect("in order"));
            most = most.max(reorder.held().count());
        }
        ask(reorder.finish());
        (left, most)
    }

    #[test]
    fn a_dash_sorts_before_the_dot_of_the_ending() {
        let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
        let names = set(&["a", "a b", "a-b", "a-c", "a.json", "a.png", "a/b", "b"]);
        let results = set(&["a-b.json", "a.json", "a.json.json", "a/b.json", "zz.json"]);
        let (left, _) = without_result(&names, &results, 2);
        assert_eq!(left, set(&["a b", "a-c", "a.png", "b"]));
    }

    #[test]
    fn out_of_order_and_twice_are_given_back() {
        let mut reorder = Reorder::default();
        assert!(reorder.push("b", 1).is_ok());
        assert_eq!(reorder.push("a", 2), Err(2));
        assert_eq!(reorder.push("b", 3), Err(3));
        assert_eq!(reorder.finish(), [("b.json".to_owned(), 1)]);
    }

    proptest! {
        /// Against the naive way: all names in one set, all results in another.
        #[test]
        fn the_merge_finds_what_a_set_finds(
            names in prop::collection::btree_set("[ab.~/ü-]{1,6}(\\.json)?", 0..60),
            done in prop::collection::vec(any::<bool>(), 60),
            strangers in prop::collection::btree_set("[ab.~/ü-]{1,6}\\.json", 0..20),
            page in 1_usize..7,
        ) {
            let has = names.iter().zip(&done).filter(|(_, done)| **done).map(|(name, _)| result_key(name));
            let results: BTreeSet<_> = has.chain(strangers).collect();
            let naive: BTreeSet<_> =
                names.iter().filter(|name| !results.contains(&result_key(name))).cloned().collect();
            let (left, most) = without_result(&names, &results, page);
            prop_assert_eq!(left, naive);
            prop_assert!(most <= 12, "{} waited", most);
        }
    }
}
