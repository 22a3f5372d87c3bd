//! Requests that are held: until a gate opens.

use hyper::body::Incoming;
use hyper::{Method, Request};
use tokio::sync::watch;

/// Requests of one method to paths that hold a text wait here until it opens.
#[derive(Clone, Debug)]
pub struct Gate {
    method: Method,
    text: String,
    /// So many pass before it shuts.
    first: usize,
    waiting: watch::Sender<usize>,
    open: watch::Sender<bool>,
}

impl Gate {
    /// Waits until this many requests have come, those that passed before it shut among them.
    pub async fn reached(&self, count: usize) {
        let mut waiting = self.waiting.subscribe();
        let reached =
            tokio::time::timeout(crate::wait::patience(), waiting.wait_for(|waiting| *waiting >= count));
        let _ = reached.await.expect("a request at the gate in time").expect("a gate");
    }

    /// Lets everything through, now and from now on.
    pub fn open(&self) {
        self.open.send_replace(true);
    }
}

impl Gate {
    pub(super) fn new(method: Method, text: &str, first: usize) -> Self {
        let (waiting, open) = (watch::Sender::new(0), watch::Sender::new(false));
        Self { method, text: text.to_owned(), first, waiting, open }
    }

    /// Holds a request that it is for.
    pub(super) async fn pass(&self, request: &Request<Incoming>) {
        if request.method() == self.method && request.uri().path().contains(&self.text) {
            let mut count = 0;
            self.waiting.send_modify(|waiting| {
                *waiting += 1;
                count = *waiting;
            });
            if count <= self.first {
                return;
            }
            let _ = self.open.subscribe().wait_for(|open| *open).await;
        }
    }
}
