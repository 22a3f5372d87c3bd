//! The caller's end of one queued item.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use futures_channel::oneshot;
use nightread_domain::{ErrorCode, JobError, Stage};

use crate::outputs::Outputs;

pub(crate) type Reply = oneshot::Sender<Result<Outputs, JobError>>;

/// A queued item's answer. Dropping it takes the item out of the queue; an item that runs already is finished.
///
/// Resolves on any executor.
#[derive(Debug)]
#[must_use = "dropping this cancels the item"]
pub struct Inference(State);

#[derive(Debug)]
enum State {
    Refused(Option<JobError>),
    Waiting(oneshot::Receiver<Result<Outputs, JobError>>),
}

impl Inference {
    pub(crate) fn refused(error: JobError) -> Self {
        Self(State::Refused(Some(error)))
    }

    pub(crate) fn waiting() -> (Reply, Self) {
        let (reply, answer) = oneshot::channel();
        (reply, Self(State::Waiting(answer)))
    }

    /// Blocks this thread until the answer is there: for benches and programs without an executor.
    pub fn wait(mut self) -> Result<Outputs, JobError> {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        loop {
            match Pin::new(&mut self).poll(&mut context) {
                Poll::Ready(answer) => return answer,
                Poll::Pending => thread::park(),
            }
        }
    }
}

impl Future for Inference {
    type Output = Result<Outputs, JobError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            State::Refused(error) => Poll::Ready(Err(error.take().unwrap_or_else(|| closed("polled again")))),
            State::Waiting(answer) => Pin::new(answer).poll(context).map(|answer| {
                answer.unwrap_or_else(|_| Err(closed("the engine went away before it answered")))
            }),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

pub(crate) fn closed(words: &str) -> JobError {
    JobError::new(Stage::Infer, ErrorCode::EngineClosed, words)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Engine;

    /// What a multi-threaded executor asks for; a failure is a compile error.
    #[test]
    fn answers_move_between_threads_and_engines_are_shared() {
        fn moves<T: Send + 'static>() {}
        fn is_shared<T: Send + Sync + 'static>() {}
        moves::<Inference>();
        is_shared::<Engine>();
    }

    #[test]
    fn an_engine_that_goes_away_is_told() {
        let (reply, answer) = Inference::waiting();
        drop(reply);
        assert_eq!(answer.wait().unwrap_err().code, ErrorCode::EngineClosed);
    }
}
