//! Decides who may call and which volumes a pod gets.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::memory::Memory;
use super::{AUDIENCE, Access, AccessFile, Account, Identity, ReviewError, Reviewer, Token, audit};
use crate::model::{Clock, Repo};

/// Why somebody is not let in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It is not known who asks.
    #[error("{0}")]
    Unauthenticated(String),
    /// Who asks is known, and may not.
    #[error("{0}")]
    Forbidden(String),
    /// It cannot be found out now.
    #[error("{0}")]
    Unavailable(String),
}

/// Who has been let in; nobody in particular where all are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caller(pub Option<Account>);

/// A pod as the kubelet tells of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Its service account.
    pub account: String,
}

/// A volume that a pod is to get.
#[derive(Debug, Clone)]
pub struct VolumeRequest {
    /// The pod.
    pub pod: Pod,
    /// The token that the pod has for [`AUDIENCE`].
    pub token: Option<Token>,
    /// What it shows; everything when there is no repo.
    pub repo: Option<Repo>,
    /// Whether it is to be written too.
    pub write: bool,
}

/// Who is trusted with what.
pub struct Trust {
    /// Says whose a token is.
    pub reviewer: Arc<dyn Reviewer>,
    /// Who may make every call: agents, drivers, operators.
    pub trusted: BTreeSet<Account>,
    /// What the pods of a namespace may read and write.
    pub access: AccessFile,
    /// For how long answers are believed.
    pub clock: Arc<dyn Clock>,
}

/// Before every call and every volume. A cheap clone.
#[derive(Clone)]
pub struct Gate(Option<Arc<Guard>>);

struct Guard {
    memory: Memory,
    trusted: BTreeSet<Account>,
    access: AccessFile,
}

impl Gate {
    /// Lets everybody do everything.
    #[must_use]
    pub const fn open() -> Self {
        Self(None)
    }

    /// Lets in who has a token that says who it is.
    #[must_use]
    pub fn guarded(trust: Trust) -> Self {
        let memory = Memory::new(trust.reviewer, trust.clock);
        Self(Some(Arc::new(Guard { memory, trusted: trust.trusted, access: trust.access })))
    }

    /// Whether everybody is let in.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        self.0.is_none()
    }

    /// Lets the caller of `method` in, or not. A refusal is audited.
    pub async fn admit(&self, method: &str, token: Option<&Token>) -> Result<Caller, Denied> {
        let Some(guard) = &self.0 else { return Ok(Caller::default()) };
        let (account, outcome) = guard.admit(token).await;
        match outcome {
            Ok(()) => Ok(Caller(account)),
            Err(denied) => {
                audit::call(method, account.as_ref(), &denied);
                Err(denied)
            }
        }
    }

    /// Allows a volume, or not. Either is audited.
    pub async fn volume(&self, caller: &Caller, asked: &VolumeRequest) -> Result<(), Denied> {
        let (holder, outcome) = match &self.0 {
            None => (None, Ok(())),
            Some(guard) => guard.volume(asked).await,
        };
        audit::volume(asked, caller.0.as_ref(), holder.as_ref(), outcome.as_ref().copied());
        outcome
    }

    /// Whether the pods of `namespace` may know that `repo` exists.
    #[must_use]
    pub fn may_know(&self, namespace: &str, repo: &Repo) -> bool {
        let may_read = |guard: &Guard| guard.access.current().may_read(namespace, Some(repo));
        self.0.as_deref().is_none_or(may_read)
    }
}

impl Guard {
    async fn admit(&self, token: Option<&Token>) -> (Option<Account>, Result<(), Denied>) {
        let Some(token) = token else {
            let denied = "this server wants to know who calls: send the token of a service \
                          account, made for the audience \"pfs\", with 'authorization: Bearer'; \
                          commands take it from the file that PFS_TOKEN_FILE names";
            return (None, Err(Denied::Unauthenticated(denied.to_owned())));
        };
        let account = match self.memory.identity(token).await {
            Ok(identity) => identity.account,
            Err(error) => return (None, Err(unknown(error, "call"))),
        };
        let outcome = match self.trusted.contains(&account) {
            true => Ok(()),
            false => Err(Denied::Forbidden(format!(
                "service account {account} may make no calls: the server trusts it when it is \
                 started with '--trusted {account}'; what its pods may mount, the server's file \
                 of --access says"
            ))),
        };
        (Some(account), outcome)
    }

    async fn volume(&self, asked: &VolumeRequest) -> (Option<Identity>, Result<(), Denied>) {
        let pod = format!("pod {}/{}", asked.pod.namespace, asked.pod.name);
        let Some(token) = &asked.token else {
            return (
                None,
                Err(Denied::Unauthenticated(format!(
                    "{pod} has sent no token: the CSIDriver object must have tokenRequests with the \
                 audience {AUDIENCE:?}"
                ))),
            );
        };
        let holder = match self.memory.identity(token).await {
            Ok(holder) => holder,
            Err(error) => return (None, Err(unknown(error, &pod))),
        };
        let outcome = match is_of(&holder, asked) {
            false => Err(Denied::Forbidden(format!(
                "the token that was sent for {pod} is not its own: tokens of other pods, and \
                 those that no pod is named in, count for nothing"
            ))),
            true => allowed(&self.access.current(), asked),
        };
        (Some(holder), outcome)
    }
}

/// Whether the token was made for this very pod and its account.
fn is_of(holder: &Identity, asked: &VolumeRequest) -> bool {
    let (account, pod) = (&holder.account, &asked.pod);
    let same_pod = |bound: &super::BoundPod| bound.uid == pod.uid && bound.name == pod.name;
    account.namespace == pod.namespace
        && account.name == pod.account
        && holder.pod.as_ref().is_some_and(same_pod)
}

fn allowed(access: &Access, asked: &VolumeRequest) -> Result<(), Denied> {
    let namespace = asked.pod.namespace.as_str();
    let (allowed, what, list, pattern) = match (&asked.repo, asked.write) {
        (None, false) => {
            (access.may_read(namespace, None), "read every repo".to_owned(), "read", "*".to_owned())
        }
        (None, true) => {
            let denied = "a volume of all repos is read-only: name the repo to write";
            return Err(Denied::Forbidden(format!("namespace {namespace:?}: {denied}")));
        }
        (Some(repo), false) => {
            let what = format!("read repo \"{repo}\"");
            (access.may_read(namespace, Some(repo)), what, "read", repo.to_string())
        }
        (Some(repo), true) => {
            let what = format!("write repo \"{repo}\"");
            (access.may_write(namespace, repo), what, "write", repo.to_string())
        }
    };
    match allowed {
        true => Ok(()),
        false => Err(Denied::Forbidden(format!(
            "namespace {namespace:?} may not {what}: an operator allows it with {pattern:?} in \
             namespaces, {namespace}, {list} of the server's file of --access"
        ))),
    }
}

fn unknown(error: ReviewError, whose: &str) -> Denied {
    match error {
        ReviewError::Refused { .. } => Denied::Unauthenticated(format!("{whose}: {error}")),
        ReviewError::Unavailable { .. } => Denied::Unavailable(format!("{whose}: {error}")),
    }
}
