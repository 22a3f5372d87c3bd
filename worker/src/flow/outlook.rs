//! What is left of the studies in hand whose own work is known: of volumes, from their headers on.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Seconds of this worker that are left of each such study.
#[derive(Clone, Debug, Default)]
pub struct Outlook(Arc<Mutex<Shares>>);

#[derive(Debug, Default)]
struct Shares {
    next: u64,
    left: BTreeMap<u64, f64>,
}

impl Outlook {
    /// A study that takes so many seconds, for as long as its share is held; `None` where that is not known yet.
    pub fn add(&self, seconds: Option<f64>) -> Share {
        let mut shares = self.lock();
        let key = shares.next;
        shares.next += 1;
        if let Some(seconds) = seconds {
            shares.left.insert(key, seconds);
        }
        drop(shares);
        Share { outlook: self.clone(), key }
    }

    /// How many studies of which it is known, and the seconds that are left of all.
    pub fn left(&self) -> (u64, f64) {
        let shares = self.lock();
        (shares.left.len() as u64, shares.left.values().sum())
    }

    fn lock(&self) -> MutexGuard<'_, Shares> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One study. Dropped, it is done or given up.
#[derive(Debug)]
pub struct Share {
    outlook: Outlook,
    key: u64,
}

impl Share {
    /// What is left of it now.
    pub fn set(&self, seconds: f64) {
        self.outlook.lock().left.insert(self.key, seconds);
    }

    /// Seconds that are left of the studies that were there before it.
    pub fn ahead(&self) -> f64 {
        self.outlook.lock().left.range(..self.key).map(|(_, seconds)| seconds).sum()
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.outlook.lock().left.remove(&self.key);
    }
}

#[cfg(test)]
#[allow(clippy::float_cmp)] // sums of whole numbers are exact
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_that_of_the_studies_in_hand() {
        let outlook = Outlook::default();
        let (one, other) = (outlook.add(Some(30.0)), outlook.add(None));
        assert_eq!(outlook.left(), (1, 30.0));
        other.set(400.0);
        assert_eq!(outlook.left(), (2, 430.0));
        other.set(100.0);
        assert_eq!(outlook.left(), (2, 130.0));
        drop(one);
        assert_eq!(outlook.left(), (1, 100.0));
        drop(other);
        assert_eq!(outlook.left(), (0, 0.0));
    }

    #[test]
    fn ahead_of_a_study_is_what_is_left_of_those_before_it() {
        let outlook = Outlook::default();
        let (first, second, third) = (outlook.add(Some(30.0)), outlook.add(None), outlook.add(Some(5.0)));
        assert_eq!((first.ahead(), second.ahead(), third.ahead()), (0.0, 30.0, 30.0));
        second.set(400.0);
        first.set(10.0);
        assert_eq!((first.ahead(), second.ahead(), third.ahead()), (0.0, 10.0, 410.0));
        drop(first);
        assert_eq!((second.ahead(), third.ahead()), (0.0, 400.0));
    }
}
