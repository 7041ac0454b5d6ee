//! Why a use case was refused.

use std::borrow::Cow;

use crate::catalog::CatalogError;
use crate::model::{Branch, Commit, CommitId, InvalidRef, TransactionId};
use crate::pipeline::trigger::InvalidTrigger;
use crate::store::StoreError;

/// The use cases' result type.
pub type Result<T, E = RepoError> = std::result::Result<T, E>;

/// Why a use case was refused. Nothing was changed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RepoError {
    /// There is no such thing.
    #[error("{kind} {name} not found")]
    NotFound {
        /// What was looked for, e.g. `repo`.
        kind: &'static str,
        /// Its name as users write it.
        name: String,
        /// The nearest name that exists.
        nearest: Option<String>,
    },
    /// There already is one.
    #[error("{kind} {name} already exists")]
    Exists {
        /// What was to be created.
        kind: &'static str,
        /// Its name as users write it.
        name: String,
    },
    /// A prefix that several commits share.
    #[error("{kind} {prefix} is ambiguous{}: {}", within(.repo.as_deref()), list(.candidates))]
    Ambiguous {
        /// What was looked for, e.g. `commit`.
        kind: &'static str,
        /// The prefix.
        prefix: String,
        /// The repo; `None` where all were searched.
        repo: Option<String>,
        /// Some of the commits that have it.
        candidates: Vec<CommitId>,
    },
    /// No branch, but the first digits of a commit's id: too few of them.
    #[error("branch {branch} not found")]
    TooShort {
        /// What was taken for a branch.
        branch: Branch,
    },
    /// A ref that cannot be understood.
    #[error(transparent)]
    InvalidRef(#[from] InvalidRef),
    /// The branch has no commit yet.
    #[error("branch {branch} has no head")]
    NoHead {
        /// The branch.
        branch: Branch,
    },
    /// The commit takes no more writes.
    #[error("commit {commit} has already finished")]
    Finished {
        /// The commit.
        commit: Commit,
    },
    /// The commit is still open.
    #[error("commit {commit} has not been finished")]
    NotFinished {
        /// The commit.
        commit: Commit,
    },
    /// Only its pipeline writes to the branch.
    #[error("cannot start a commit on an output branch: {branch}")]
    OutputBranch {
        /// The branch.
        branch: Branch,
    },
    /// The head is not what the caller built upon; build upon the new one.
    #[error("the head of {branch} has moved")]
    HeadMoved {
        /// The branch.
        branch: Branch,
        /// Where it is now.
        current: Option<CommitId>,
    },
    /// The tree of an open commit is not what the caller built upon.
    #[error("commit {commit} was changed by another writer")]
    RootMoved {
        /// The commit.
        commit: Commit,
    },
    /// A transaction whose owner may have changes that nobody else has.
    #[error(
        "transaction {transaction} of {branch} cannot be committed from here: its changes are {}",
        kept(.owner, .staging)
    )]
    NotStaged {
        /// The transaction.
        transaction: TransactionId,
        /// The branch it is about.
        branch: Branch,
        /// Who writes: a host and a directory there, a volume.
        owner: String,
        /// Where the owner keeps its changes.
        staging: String,
    },
    /// A rule of versioning forbids it.
    #[error("{what}")]
    Refused {
        /// What is forbidden and why.
        what: String,
        /// What to do instead.
        remedy: Option<Cow<'static, str>>,
    },
    /// Other writers were faster many times in a row.
    #[error("gave up after {attempts} attempts: {what}")]
    Busy {
        /// How often it was tried.
        attempts: u32,
        /// What changed the last time.
        what: String,
    },
    /// A stored object is not what it must be.
    #[error("object {key} is damaged: {what}")]
    Damaged {
        /// The object.
        key: String,
        /// What is wrong with it.
        what: String,
    },
    /// The catalog failed.
    #[error(transparent)]
    Catalog(CatalogError),
    /// The object store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

fn within(repo: Option<&str>) -> String {
    repo.map_or_else(String::new, |repo| format!(" in repo {repo}"))
}

fn list(ids: &[CommitId]) -> String {
    ids.iter().map(CommitId::to_string).collect::<Vec<_>>().join(", ")
}

fn kept(owner: &str, staging: &str) -> String {
    match (owner, staging) {
        ("", _) => "with whoever opened it".to_owned(),
        (owner, "") => format!("with {owner}"),
        (owner, staging) => format!("in {staging}, of the mount {owner}"),
    }
}

impl From<InvalidTrigger> for RepoError {
    fn from(error: InvalidTrigger) -> Self {
        Self::refused(error.rule, error.remedy)
    }
}

impl From<CatalogError> for RepoError {
    fn from(error: CatalogError) -> Self {
        Self::Catalog(error)
    }
}

impl RepoError {
    /// A rule forbids it.
    pub(super) fn refused(what: impl Into<String>, remedy: impl Into<Cow<'static, str>>) -> Self {
        Self::Refused { what: what.into(), remedy: Some(remedy.into()) }
    }

    /// The nearest name that exists, for one that does not.
    #[must_use]
    pub fn nearest(&self) -> Option<&str> {
        match self {
            Self::NotFound { nearest, .. } => nearest.as_deref(),
            _ => None,
        }
    }

    /// What the user can do about it, where there is something.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::NotFound { nearest, .. } => {
                nearest.as_ref().map(|name| format!("did you mean {name}?"))
            }
            Self::Exists { .. } => None,
            Self::Ambiguous { .. } => Some("give more digits of the id".into()),
            Self::TooShort { .. } => Some("a commit is named by 8 or more digits of its id".into()),
            Self::InvalidRef(_) => None,
            Self::NoHead { .. } => {
                Some("it has no commit yet: put a file, or wait for the job of its pipeline".into())
            }
            Self::Finished { .. } => Some("write to a branch, or start a new commit".into()),
            Self::NotFinished { .. } => Some("finish the commit first".into()),
            Self::OutputBranch { .. } => {
                Some("only its pipeline writes there; put data into an input repo".into())
            }
            Self::HeadMoved { .. } | Self::RootMoved { .. } | Self::Busy { .. } => {
                Some("try again".into())
            }
            Self::NotStaged { transaction, branch, .. } => Some(format!(
                "there 'pfs mount -r {branch}+w --resume {transaction} DIR' goes on with them; \
                 'pfs delete transaction {transaction}' gives them up"
            )),
            Self::Refused { remedy, .. } => remedy.clone().map(Cow::into_owned),
            Self::Damaged { .. } => Some("run 'pfs fsck'".into()),
            Self::Catalog(_) | Self::Store(_) => None,
        }
    }
}
