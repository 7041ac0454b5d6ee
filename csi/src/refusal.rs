//! Why a volume cannot be had, and the gRPC code that says so.

use tonic::{Code, Status};

/// Why a backend did not do as asked. The text is for people: it names the
/// thing, and holds no secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request makes no sense, whatever the state of things.
    #[error("{0}")]
    Invalid(String),
    /// The volume, or what it is to be made of, is not there.
    #[error("{0}")]
    NotFound(String),
    /// There is another thing of that name.
    #[error("{0}")]
    Exists(String),
    /// No volume can have that size.
    #[error("{0}")]
    OutOfRange(String),
    /// Something is being done with the volume already; ask again.
    #[error("{0}")]
    Pending(String),
    /// Somebody uses it, or the state of things is in the way.
    #[error("{0}")]
    InTheWay(String),
    /// There is no room left for it.
    #[error("{0}")]
    Exhausted(String),
    /// Who asks is known, and may not.
    #[error("{0}")]
    Denied(String),
    /// Who asks is not known: a token is missing, or not valid any more.
    #[error("{0}")]
    Unauthenticated(String),
    /// Agent or server are away; ask again.
    #[error("{0}")]
    Unavailable(String),
    /// A mistake of this program, or of what it stands on.
    #[error("{0}")]
    Internal(String),
}

/// What a backend answers.
pub type Result<T, E = Refusal> = std::result::Result<T, E>;

impl Refusal {
    /// The gRPC code of the refusal: the one table.
    #[must_use]
    pub const fn code(&self) -> Code {
        match self {
            Self::Invalid(_) => Code::InvalidArgument,
            Self::NotFound(_) => Code::NotFound,
            Self::Exists(_) => Code::AlreadyExists,
            Self::OutOfRange(_) => Code::OutOfRange,
            Self::Pending(_) => Code::Aborted,
            Self::InTheWay(_) => Code::FailedPrecondition,
            Self::Exhausted(_) => Code::ResourceExhausted,
            Self::Denied(_) => Code::PermissionDenied,
            Self::Unauthenticated(_) => Code::Unauthenticated,
            Self::Unavailable(_) => Code::Unavailable,
            Self::Internal(_) => Code::Internal,
        }
    }
}

impl From<Refusal> for Status {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code(), refusal.to_string())
    }
}
