//! Named instants at which a crash test may end the process, as a power cut would.

use serde::{Deserialize, Serialize};

/// Where the process aborts when the setting `worker.failpoint` names it. For crash tests only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Failpoint {
    AfterFetch,
    AfterInfer,
    AfterStore,
}

/// Aborts if `here` is the chosen instant.
#[expect(
    clippy::disallowed_methods,
    reason = "nothing may tidy up on the way out: neither unwinding nor destructors"
)]
pub fn reached(chosen: Option<Failpoint>, here: Failpoint) {
    if chosen == Some(here) {
        std::process::abort();
    }
}
