//! Errors of the layers below as a driver hears them: the one table.

use pfs_daemonset::{Code, Refusal};

use crate::api::client::{self, Status};
use crate::vfs::VfsError;

/// What a server has answered; `what` was asked for.
pub fn status(what: &str, status: &Status) -> Refusal {
    let code = match status.code() {
        client::Code::InvalidArgument => Code::InvalidArgument,
        client::Code::NotFound => Code::NotFound,
        client::Code::AlreadyExists => Code::AlreadyExists,
        client::Code::PermissionDenied => Code::PermissionDenied,
        client::Code::Unauthenticated => Code::Unauthenticated,
        client::Code::ResourceExhausted => Code::ResourceExhausted,
        client::Code::FailedPrecondition | client::Code::OutOfRange => Code::FailedPrecondition,
        client::Code::Aborted => Code::Aborted,
        client::Code::Unimplemented | client::Code::DataLoss => Code::Internal,
        client::Code::Ok
        | client::Code::Cancelled
        | client::Code::Unknown
        | client::Code::DeadlineExceeded
        | client::Code::Internal
        | client::Code::Unavailable => Code::Unavailable,
    };
    Refusal::new(code, format!("{what}: {}", status.message()))
}

/// What a file operation has answered.
pub fn vfs(what: &str, error: &VfsError) -> Refusal {
    let code = match error {
        VfsError::NotFound | VfsError::Gone(_) => Code::NotFound,
        VfsError::Exists => Code::AlreadyExists,
        VfsError::NotDirectory
        | VfsError::IsDirectory
        | VfsError::Invalid(_)
        | VfsError::NameTooLong
        | VfsError::NotUtf8 => Code::InvalidArgument,
        VfsError::NotPermitted(_) => Code::PermissionDenied,
        VfsError::NotEmpty
        | VfsError::ReadOnly
        | VfsError::CrossesRepos
        | VfsError::Conflict(_) => Code::FailedPrecondition,
        VfsError::TooLarge | VfsError::NoSpace(_) => Code::ResourceExhausted,
        VfsError::Unavailable(_) | VfsError::Unsettled(_) | VfsError::Staging(_) => {
            Code::Unavailable
        }
        VfsError::Unsupported(_)
        | VfsError::Never
        | VfsError::NoAttribute
        | VfsError::Stale
        | VfsError::Damaged(_) => Code::Internal,
    };
    Refusal::new(code, format!("{what}: {error}"))
}

/// A mistake of the system that this runs on.
pub fn system(what: &str, error: &std::io::Error) -> Refusal {
    Refusal::internal(format!("{what}: {error}"))
}
