//! What the server answers, as a driver passes it on.

use pfs_csi::Refusal;

use crate::api::client::{Code, Status};

/// The one table from the server's statuses to refusals.
pub(super) fn refusal(status: &Status) -> Refusal {
    let text = match status.message().is_empty() {
        true => status.code().description().to_owned(),
        false => status.message().to_owned(),
    };
    // What the server itself answers has no cause on this side.
    if std::error::Error::source(status).is_some() {
        return Refusal::Unavailable(format!("the server does not answer: {text}"));
    }
    match status.code() {
        Code::InvalidArgument => Refusal::Invalid(text),
        Code::NotFound => Refusal::NotFound(text),
        Code::AlreadyExists => Refusal::Exists(text),
        Code::OutOfRange => Refusal::OutOfRange(text),
        Code::Aborted => Refusal::Pending(text),
        Code::FailedPrecondition => Refusal::InTheWay(text),
        Code::ResourceExhausted => Refusal::Exhausted(text),
        Code::PermissionDenied => Refusal::Denied(text),
        Code::Unauthenticated => Refusal::Unauthenticated(text),
        Code::Unavailable | Code::Cancelled | Code::DeadlineExceeded => Refusal::Unavailable(text),
        Code::Ok | Code::Unknown | Code::Unimplemented | Code::Internal | Code::DataLoss => {
            Refusal::Internal(text)
        }
    }
}
