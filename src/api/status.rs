//! The one table from refusals to gRPC statuses, with the texts clients know.

use tonic::metadata::{BinaryMetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::catalog::CatalogError;
use crate::repo::RepoError;

/// What a service method answers.
pub(super) type Result<T, E = Status> = std::result::Result<T, E>;

/// Carries what to do about an error.
const HINT: &str = "pfs-hint-bin";

/// What to do about a refused call, when the server knows.
#[must_use]
pub fn hint(status: &Status) -> Option<String> {
    let bytes = status.metadata().get_bin(HINT)?.to_bytes().ok()?;
    String::from_utf8(bytes.to_vec()).ok()
}

fn with_hint(code: Code, message: String, hint: Option<String>) -> Status {
    let mut metadata = MetadataMap::new();
    if let Some(hint) = hint {
        let key = BinaryMetadataKey::from_static(HINT);
        metadata.insert_bin(key, MetadataValue::from_bytes(hint.as_bytes()));
    }
    Status::with_metadata(code, message, metadata)
}

/// The status of a refusal. Every variant is spelt out: a new one must be
/// given its code here.
pub(super) fn refused(error: RepoError) -> Status {
    let text = error.to_string();
    let plain = |code| Status::new(code, text.clone());
    match error {
        RepoError::NotFound { kind, name, nearest } => {
            let hint = nearest.map(|nearest| format!("did you mean {nearest}?"));
            with_hint(Code::NotFound, format!("{} not found", known_as(kind, &name)), hint)
        }
        RepoError::Exists { kind, name } => {
            Status::already_exists(format!("{} already exists", known_as(kind, &name)))
        }
        RepoError::Ambiguous { .. } | RepoError::InvalidRef(_) => plain(Code::InvalidArgument),
        RepoError::NoHead { .. } => plain(Code::NotFound),
        RepoError::Finished { .. } | RepoError::NotFinished { .. } => {
            plain(Code::FailedPrecondition)
        }
        RepoError::OutputBranch { .. } => plain(Code::FailedPrecondition),
        RepoError::HeadMoved { .. } | RepoError::RootMoved { .. } | RepoError::Busy { .. } => {
            plain(Code::Aborted)
        }
        RepoError::Refused { what, remedy } => {
            with_hint(Code::FailedPrecondition, what, remedy.map(str::to_owned))
        }
        RepoError::Damaged { .. } => plain(Code::DataLoss),
        RepoError::Catalog(error) => catalog(&error),
        RepoError::Store(_) => plain(Code::Unavailable),
    }
}

/// The status of a failing catalog.
pub(super) fn catalog(error: &CatalogError) -> Status {
    let code = match error {
        CatalogError::Conflict { .. } => Code::Aborted,
        CatalogError::Locked { .. } | CatalogError::Newer { .. } => Code::FailedPrecondition,
        CatalogError::Unsupported { .. } => Code::InvalidArgument,
        CatalogError::NoSpace => Code::ResourceExhausted,
        CatalogError::Damaged { .. } => Code::DataLoss,
        CatalogError::Failed { .. } => Code::Internal,
    };
    Status::new(code, error.to_string())
}

/// A thing as Pachyderm's messages name it: with its project always.
fn known_as(kind: &str, name: &str) -> String {
    let has_project = name.split('@').next().is_some_and(|repo| repo.contains('/'));
    match kind {
        "repo" | "commit" | "branch" | "pipeline" | "job" if !has_project => {
            format!("{kind} default/{name}")
        }
        "project" => format!("{kind} {name:?}"),
        _ => format!("{kind} {name}"),
    }
}

/// A request that lacks or garbles something.
pub(super) fn invalid(what: impl std::fmt::Display) -> Status {
    Status::invalid_argument(what.to_string())
}

/// A request without a field it needs.
pub(super) fn missing(what: &str) -> Status {
    Status::invalid_argument(format!("request names no {what}"))
}
