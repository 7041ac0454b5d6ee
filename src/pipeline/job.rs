//! The states of jobs and datums, and how they follow one another.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A word that is none of the states asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {kind} state {text:?}")]
pub struct UnknownState {
    /// `job` or `datum`.
    pub kind: &'static str,
    /// The word.
    pub text: String,
}

/// The state of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Its inputs are not finished yet.
    Created,
    /// Its datums are being worked out.
    Starting,
    /// Datums run.
    Running,
    /// Results are pushed to the egress URL.
    Egressing,
    /// Outputs are merged and the commits finished.
    Finishing,
    /// Every datum succeeded, was skipped or recovered.
    Success,
    /// A datum failed, a limit was reached, or outputs conflict.
    Failure,
    /// Stopped on request, or replaced by an update.
    Killed,
    /// An input failed, so there is nothing to run on.
    Unrunnable,
}

impl JobState {
    /// Every state, in the order of a job's life.
    pub const ALL: [Self; 9] = [
        Self::Created,
        Self::Starting,
        Self::Running,
        Self::Egressing,
        Self::Finishing,
        Self::Success,
        Self::Failure,
        Self::Killed,
        Self::Unrunnable,
    ];

    /// The word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Egressing => "egressing",
            Self::Finishing => "finishing",
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Killed => "killed",
            Self::Unrunnable => "unrunnable",
        }
    }

    /// Whether the job is over.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Success | Self::Failure | Self::Killed | Self::Unrunnable => true,
            Self::Created | Self::Starting | Self::Running | Self::Egressing | Self::Finishing => {
                false
            }
        }
    }

    /// Whether a job in this state may get into `next`.
    ///
    /// A restarted server plans an unfinished job anew, so `Starting` can be
    /// reached from every state that is not terminal.
    #[must_use]
    pub const fn can_become(self, next: Self) -> bool {
        if self.is_terminal() {
            return false;
        }
        match next {
            Self::Created => false,
            Self::Starting | Self::Killed | Self::Failure => true,
            Self::Unrunnable => matches!(self, Self::Created | Self::Starting),
            Self::Running => matches!(self, Self::Starting | Self::Running),
            Self::Egressing => matches!(self, Self::Running | Self::Starting),
            Self::Finishing => matches!(self, Self::Starting | Self::Running | Self::Egressing),
            Self::Success => matches!(self, Self::Finishing),
        }
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

impl fmt::Display for JobState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Display for DatumState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for JobState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        let found = Self::ALL.into_iter().find(|state| state.as_str() == text);
        found.ok_or_else(|| UnknownState { kind: "job", text: text.to_owned() })
    }
}

impl FromStr for DatumState {
    type Err = UnknownState;

    fn from_str(text: &str) -> Result<Self, UnknownState> {
        [Self::Starting, Self::Skipped, Self::Success, Self::Failed, Self::Recovered]
            .into_iter()
            .find(|state| state.as_str() == text)
            .ok_or_else(|| UnknownState { kind: "datum", text: text.to_owned() })
    }
}

/// How many datums of a job are in which state, and what they moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct JobCounters {
    /// All datums of the job.
    pub total: u64,
    /// Ran and succeeded.
    pub processed: u64,
    /// Kept from an earlier job.
    pub skipped: u64,
    /// Failed for good.
    pub failed: u64,
    /// Recovered by `err_cmd`.
    pub recovered: u64,
    /// Bytes of the inputs of datums that ran.
    pub download_bytes: u64,
    /// Bytes of the outputs of datums that ran.
    pub upload_bytes: u64,
}

impl JobCounters {
    /// Counts a datum that came to an end.
    pub fn count(&mut self, state: DatumState, download_bytes: u64, upload_bytes: u64) {
        match state {
            DatumState::Starting => return,
            DatumState::Skipped => self.skipped += 1,
            DatumState::Success => self.processed += 1,
            DatumState::Failed => self.failed += 1,
            DatumState::Recovered => self.recovered += 1,
        }
        self.download_bytes += download_bytes;
        self.upload_bytes += upload_bytes;
    }

    /// Datums that are not at an end.
    #[must_use]
    pub const fn waiting(&self) -> u64 {
        let done = self.processed + self.skipped + self.failed + self.recovered;
        self.total.saturating_sub(done)
    }
}

impl fmt::Display for JobCounters {
    /// `processed + skipped / total`, with recovered datums when there are any.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} + {}", self.processed, self.skipped)?;
        if self.recovered > 0 {
            write!(f, " + {}", self.recovered)?;
        }
        write!(f, " / {}", self.total)
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
            Self::Exited(code) => write!(f, "the program exited with code {code}"),
            Self::Signalled(signal) => write!(f, "the program was ended by signal {signal}"),
            Self::TimedOut => f.write_str("the program ran longer than datum_timeout"),
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
