//! The one table from refusals to gRPC statuses, with the texts clients know.

use tonic::metadata::{BinaryMetadataKey, MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::catalog::CatalogError;
use crate::chunk::ChunkError;
use crate::controller::ControllerError;
use crate::controller::identity::Denied;
use crate::repo::RepoError;
use crate::store::StoreError;
use crate::tree::TreeError;

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

pub(super) fn with_hint(code: Code, message: String, hint: Option<String>) -> Status {
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
    let hint = error.hint();
    let text = error.to_string();
    let (code, text) = match error {
        RepoError::NotFound { kind, name, .. } => {
            (Code::NotFound, format!("{} not found", known_as(kind, &name)))
        }
        RepoError::Exists { kind, name } => {
            (Code::AlreadyExists, format!("{} already exists", known_as(kind, &name)))
        }
        RepoError::Ambiguous { .. } | RepoError::InvalidRef(_) => (Code::InvalidArgument, text),
        RepoError::NoHead { .. } => (Code::NotFound, text),
        RepoError::TooShort { branch } => {
            (Code::NotFound, format!("{} not found", known_as("branch", &branch.to_string())))
        }
        RepoError::Finished { .. }
        | RepoError::NotFinished { .. }
        | RepoError::OutputBranch { .. }
        | RepoError::NotStaged { .. }
        | RepoError::Refused { .. } => (Code::FailedPrecondition, text),
        RepoError::HeadMoved { .. } | RepoError::RootMoved { .. } | RepoError::Busy { .. } => {
            (Code::Aborted, text)
        }
        RepoError::Damaged { .. } => (Code::DataLoss, text),
        RepoError::Catalog(error) => return catalog(&error),
        RepoError::Store(error) => return store(&error),
    };
    with_hint(code, text, hint)
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

/// The status of a failed request to the store.
pub(super) fn store(error: &StoreError) -> Status {
    let code = match error {
        StoreError::NotFound { .. } => Code::NotFound,
        StoreError::AlreadyExists { .. } => Code::AlreadyExists,
        StoreError::NoSpace { .. } => Code::ResourceExhausted,
        StoreError::Denied { .. } => Code::PermissionDenied,
        StoreError::Unavailable { .. } => Code::Unavailable,
        StoreError::InvalidUrl { .. } => Code::InvalidArgument,
        StoreError::Format { .. } => Code::FailedPrecondition,
    };
    with_hint(code, error.to_string(), error.hint().map(str::to_owned))
}

/// The status of content that cannot be read or written.
pub(super) fn chunk(error: &ChunkError) -> Status {
    let code = match error {
        ChunkError::Store(error) => return store(error),
        ChunkError::Missing { .. }
        | ChunkError::Corrupt { .. }
        | ChunkError::CorruptPack { .. } => Code::DataLoss,
        ChunkError::ShortRead { .. } | ChunkError::TooLarge { .. } => Code::InvalidArgument,
        ChunkError::Interrupted => Code::Unavailable,
    };
    Status::new(code, error.to_string())
}

/// The status of a tree that cannot be read or changed.
pub(super) fn tree(error: &TreeError) -> Status {
    let code = match error {
        TreeError::Chunk(error) => return chunk(error),
        TreeError::Corrupt { .. } | TreeError::CorruptRoot { .. } => Code::DataLoss,
        TreeError::NotFound { .. } => Code::NotFound,
        TreeError::NotADirectory { .. }
        | TreeError::IsADirectory { .. }
        | TreeError::IsAFile { .. } => Code::FailedPrecondition,
        TreeError::InvalidEntry { .. } | TreeError::Unordered { .. } | TreeError::Path(_) => {
            Code::InvalidArgument
        }
    };
    Status::new(code, error.to_string())
}

/// The status of what the controller refuses.
pub(super) fn controller(error: ControllerError) -> Status {
    let text = error.to_string();
    match error {
        ControllerError::Catalog(error) => catalog(&error),
        ControllerError::Repo(error) => refused(error),
        ControllerError::Tree(error) => tree(&error),
        ControllerError::Chunk(error) => chunk(&error),
        ControllerError::Store(error) => store(&error),
        ControllerError::Io { .. } => Status::internal(text),
        ControllerError::Job(_) | ControllerError::Refused { .. } => {
            Status::failed_precondition(text)
        }
        ControllerError::Invalid(error) => with_hint(Code::InvalidArgument, text, error.hint),
        ControllerError::NotFound { .. } => Status::not_found(text),
        ControllerError::Unfinished(_) | ControllerError::Cancelled => Status::unavailable(text),
    }
}

/// The status of who is not let in.
pub(super) fn denied(denied: &Denied) -> Status {
    let code = match denied {
        Denied::Unauthenticated(_) => Code::Unauthenticated,
        Denied::Forbidden(_) => Code::PermissionDenied,
        Denied::Unavailable(_) => Code::Unavailable,
    };
    Status::new(code, denied.to_string())
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
