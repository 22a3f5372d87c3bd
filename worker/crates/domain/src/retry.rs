//! The one schedule of retries.

use std::time::Duration;

/// How long a retry waits, in the three steps there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delay {
    Seconds5,
    Seconds30,
    Minutes5,
}

impl Delay {
    pub const ALL: [Self; 3] = [Self::Seconds5, Self::Seconds30, Self::Minutes5];

    /// The shortest of at least `wait`; the longest when there is none.
    pub fn at_least(wait: Duration) -> Self {
        Self::ALL.into_iter().find(|delay| delay.length() >= wait).unwrap_or(Self::Minutes5)
    }

    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Self::Seconds5 => 5,
            Self::Seconds30 => 30,
            Self::Minutes5 => 300,
        })
    }

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seconds5 => "5s",
            Self::Seconds30 => "30s",
            Self::Minutes5 => "5m",
        }
    }

    /// How long a job waits that has failed so often before; later ones wait as long as the last.
    pub fn after(failures: u32) -> Self {
        let step = usize::try_from(failures).unwrap_or(usize::MAX).min(Self::ALL.len() - 1);
        Self::ALL[step]
    }
}
