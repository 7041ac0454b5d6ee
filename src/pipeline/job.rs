//! The states of jobs and datums, and how they follow one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::catalog::{JobCounters, JobState};
use crate::pipeline::record::DatumStats;

/// A word that is no state of a datum.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown datum state {0:?}")]
pub struct UnknownState(pub String);

/// The states from which a job may get into `next`.
///
/// A restarted server plans an unfinished job anew, so every state that is not
/// terminal leads back to `Starting`.
#[must_use]
pub fn predecessors(next: JobState) -> Vec<JobState> {
    use JobState::{
        Created, Egressing, Failure, Finishing, Killed, Running, Starting, Success, Unrunnable,
    };
    match next {
        Created => vec![],
        Starting | Killed | Failure => vec![Created, Starting, Running, Egressing, Finishing],
        Unrunnable => vec![Created, Starting],
        Running => vec![Starting, Running],
        Egressing => vec![Starting, Running, Egressing],
        Finishing => vec![Starting, Running, Egressing, Finishing],
        Success => vec![Finishing],
    }
}

/// The state of a datum.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DatumState {
    /// Waiting for a worker, or running.
    Starting,
    /// Its outputs of an earlier job are kept.
    Skipped,
    /// Its program succeeded.
    Success,
    /// Its program failed for the last time.
    Failed,
    /// Its program failed, but `err_cmd` succeeded: no output, no failure.
    Recovered,
}

impl DatumState {
    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Skipped => "skipped",
            Self::Success => "success",
            Self::Failed => "failed",
            Self::Recovered => "recovered",
        }
    }

    /// Whether nothing more happens to the datum in this job.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Starting => false,
            Self::Skipped | Self::Success | Self::Failed | Self::Recovered => true,
        }
    }
}

impl fmt::Display for DatumState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for DatumState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Starting, Self::Skipped, Self::Success, Self::Failed, Self::Recovered]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState(text.to_owned()))
    }
}

/// What a datum that came to an end adds to its job's counters.
#[must_use]
pub fn progress(state: DatumState, stats: &DatumStats) -> JobCounters {
    let mut counters = JobCounters::default();
    match state {
        DatumState::Starting => return counters,
        DatumState::Skipped => counters.skipped = 1,
        DatumState::Success => {
            counters.processed = 1;
            counters.downloaded = stats.download_bytes;
            counters.uploaded = stats.upload_bytes;
        }
        DatumState::Failed => counters.failed = 1,
        DatumState::Recovered => counters.recovered = 1,
    }
    counters.download_nanos = stats.download_nanos;
    counters.process_nanos = stats.process_nanos;
    counters.upload_nanos = stats.upload_nanos;
    counters
}

/// How far a job is, as listings print it: `processed + skipped / total`,
/// with recovered datums when there are any.
#[must_use]
pub fn progress_text(counters: &JobCounters) -> String {
    let JobCounters { processed, skipped, recovered, total, .. } = counters;
    match recovered {
        0 => format!("{processed} + {skipped} / {total}"),
        _ => format!("{processed} + {skipped} + {recovered} / {total}"),
    }
}

/// How one try of a program ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attempt {
    /// It exited with this code.
    Exited(i32),
    /// It was ended by this signal.
    Signalled(i32),
    /// It ran longer than `datum_timeout`.
    TimedOut,
    /// It could not be started, or its outputs could not be taken.
    Broken(String),
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signalled(signal) => write!(f, "ended by signal {signal}"),
            Self::TimedOut => f.write_str("ran over datum_timeout"),
            Self::Broken(why) => f.write_str(why),
        }
    }
}

/// What follows a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The datum succeeded.
    Success,
    /// Try once more.
    Retry,
    /// Out of tries: run `err_cmd`.
    RunErrCmd,
    /// Out of tries: the datum failed.
    Failed,
}

/// What follows the `tries`-th try (counted from 1) of a datum.
#[must_use]
pub fn judge(
    transform: &super::spec::Transform,
    allowed_tries: u32,
    tries: u32,
    attempt: &Attempt,
) -> Verdict {
    match attempt {
        Attempt::Exited(code) if transform.accepts(*code) => Verdict::Success,
        _ if tries < allowed_tries => Verdict::Retry,
        _ if !transform.err_cmd.is_empty() => Verdict::RunErrCmd,
        Attempt::Exited(_) | Attempt::Signalled(_) | Attempt::TimedOut | Attempt::Broken(_) => {
            Verdict::Failed
        }
    }
}

/// The datum's state after `err_cmd`.
#[must_use]
pub fn judge_recovery(attempt: &Attempt) -> DatumState {
    match attempt {
        Attempt::Exited(0) => DatumState::Recovered,
        Attempt::Exited(_) | Attempt::Signalled(_) | Attempt::TimedOut | Attempt::Broken(_) => {
            DatumState::Failed
        }
    }
}
