//! What went wrong, as users see it: message, hint, exit code.

use std::io;

use crate::api::client::Status;
use crate::api::status;
use crate::model::{InvalidName, InvalidPath, InvalidRef};

/// How the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Done, or the reader of our output went away: 0.
    Success,
    /// Could not be done: 1.
    Failure,
    /// Not understood: 2.
    Usage,
    /// Stopped by Ctrl-C: 130.
    Interrupted,
}

impl Exit {
    /// The exit code of the process.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 2,
            Self::Interrupted => 130,
        }
    }
}

/// An error for people: what happened, and what to do where that is known.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// What happened; no trailing full stop.
    pub message: String,
    /// What to do about it.
    pub hint: Option<String>,
    /// How the process ends.
    pub exit: Exit,
    /// Whether the connection to the server broke, so that it is not known
    /// what became of the call.
    pub lost: bool,
}

/// Result of a command.
pub type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    /// Something that could not be done.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, exit: Exit::Failure, lost: false }
    }

    /// A command line that makes no sense.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { exit: Exit::Usage, ..Self::new(message) }
    }

    /// Says what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says first what was being done.
    #[must_use]
    pub fn context(mut self, doing: &str) -> Self {
        self.message = format!("{doing}: {}", self.message);
        self
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { exit: Exit::Success, ..Self::new("") },
            _ => Self::new(error.to_string()),
        }
    }
}

impl From<InvalidName> for Failure {
    fn from(error: InvalidName) -> Self {
        Self::new(error.to_string())
    }
}

impl From<InvalidPath> for Failure {
    fn from(error: InvalidPath) -> Self {
        Self::new(error.to_string())
    }
}

impl From<InvalidRef> for Failure {
    fn from(error: InvalidRef) -> Self {
        match error {
            InvalidRef::Name(error) if error.to_string().contains('/') => {
                Self::from(error).hint("a path follows a colon, as in REPO@REF:/PATH")
            }
            InvalidRef::Syntax { .. } => Self::usage(error.to_string()),
            InvalidRef::Name(error) => error.into(),
            InvalidRef::Path(error) => error.into(),
        }
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        if let Some(reason) = lost(&status) {
            let failure = Self::new(format!("the connection to the server broke: {reason}"));
            return Self { lost: true, ..failure.hint(UNREACHABLE) };
        }
        let message = match status.message().is_empty() {
            true => status.code().description().to_owned(),
            false => status.message().to_owned(),
        };
        let failure = Self::new(message);
        match status::hint(&status) {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// Why the connection broke, when that is why there is no answer: what the
/// server itself answers has no cause on this side.
fn lost(status: &Status) -> Option<String> {
    let mut cause = std::error::Error::source(status)?;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    Some(cause.to_string())
}

/// The advice for a server that does not answer.
pub const UNREACHABLE: &str =
    "is the server running? start it with 'pfs serve', or name it with --address or PFS_ADDRESS";

#[cfg(test)]
#[path = "failure/tests.rs"]
mod tests;
