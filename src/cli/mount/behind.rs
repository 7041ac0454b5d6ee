//! The transactions of a mount as their server has them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::Duration;

use futures::stream::StreamExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use super::source::{AGAIN, ServerSource, failed};
use super::wire;
use crate::api::client::{Code, Status};
use crate::api::proto::pfs_v1 as v1;
use crate::chunk::PackWriter;
use crate::model::{Branch, CommitId, TransactionId};
use crate::vfs::{Begin, Edits, Published, Resolved, Started, Upon, VfsError, patiently};

/// How long a transaction lives without this process, in seconds.
const LEASE: u32 = 60;

/// How often a commit that was not answered is asked for again.
const ATTEMPTS: u32 = 20;

/// How long the server may take to hear that a transaction ends.
const TELLING: Duration = Duration::from_secs(2);

/// Bytes of edits sent in one message.
const BATCH: usize = 4 << 20;

/// A transaction as the server has it.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    /// Whether edits of an earlier attempt may be staged there.
    pub(super) staged: bool,
    /// The description that it was told to commit with. Whether it has may be
    /// unknown; what is staged stays as it is until it is known.
    pub(super) told: Option<String>,
    /// A process that has died was committing it, and the server has not been
    /// heard on that since.
    pub(super) inherited: bool,
    /// The one that follows it, drawn once so that it is opened once.
    pub(super) next: TransactionId,
    /// Whether none is to follow it, since nobody writes any more.
    pub(super) last: bool,
    /// What became of it, until the next one is in use.
    pub(super) published: Option<Published>,
    /// Where its changes are until they are committed.
    pub(super) staging: PathBuf,
}

/// A transaction that has not ended, as others see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    pub id: TransactionId,
    /// Who has it, for people.
    pub owner: String,
    pub stage: Stage,
}

/// How far a transaction has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Somebody may write.
    Open,
    /// Nobody writes any more, and it is going to be committed.
    Sealing,
    /// A commit is under way, or was tried.
    Sealed,
}

impl ServerSource {
    /// Opens a transaction, and keeps it alive.
    pub(super) async fn begin(&self, begin: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        let base = self.open(begin).await?;
        self.track(begin.id, begin.staging, false);
        Ok(base)
    }

    /// Goes on with a transaction that was opened before.
    pub(super) async fn adopt(&self, left: &Started, staging: &Path) -> Result<(), VfsError> {
        let info = self.renew(left.id, None).await.map_err(|status| failed(&status))?;
        self.put_upon(&info, left).await?;
        self.track(left.id, staging, true);
        Ok(())
    }

    pub(super) fn track(&self, id: TransactionId, staging: &Path, staged: bool) {
        let (next, staging) = (self.clock.transaction_id(), staging.to_owned());
        let (told, inherited, last, published) = (None, false, false, None);
        let behind = Behind { staged, told, inherited, next, last, published, staging };
        self.behind().insert(id, behind);
    }

    /// Opens a transaction; asked again for the same one, answers the same.
    pub(super) async fn open(&self, begin: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        let Begin { id, branch, upon, staging } = begin;
        let base = |commit: Option<CommitId>| commit.map(|id| id.as_bytes().to_vec());
        let request = v1::OpenTransactionRequest {
            repo: Some(wire::repo(&branch.repo)),
            branch: branch.name.to_string(),
            lease_seconds: LEASE,
            owner: self.owner_of(staging),
            id: id.as_bytes().to_vec(),
            staging: staging.display().to_string(),
            base: match upon {
                Upon::Newest => None,
                Upon::Base(commit) => Some(base(commit).unwrap_or_default()),
            },
        };
        let info = self.client.native().open_transaction(request).await;
        let info = info.map_err(|status| failed(&status))?.into_inner();
        match info.state() {
            state @ (v1::TransactionState::Committed | v1::TransactionState::Aborted) => {
                let what = format!("transaction {id} is over already: {}", state.as_str_name());
                Err(VfsError::Conflict(what))
            }
            v1::TransactionState::Unknown
            | v1::TransactionState::Open
            | v1::TransactionState::Sealing
            | v1::TransactionState::Sealed
            | v1::TransactionState::Conflict
            | v1::TransactionState::Orphaned => wire::base(&info),
        }
    }

    /// Makes the server, whose word `info` is, start from what the changes of
    /// `transaction` are relative to. It differs when a move to another commit
    /// was not finished.
    pub(super) async fn put_upon(
        &self,
        info: &v1::TransactionInfo,
        transaction: &Started,
    ) -> Result<(), VfsError> {
        if wire::base(info)?.map(|base| base.commit) == transaction.base {
            return Ok(());
        }
        let elsewhere = |why: &str| {
            let id = transaction.id;
            VfsError::Damaged(format!(
                "the server has transaction {id} relative to another commit{why}"
            ))
        };
        let base = transaction.base.ok_or_else(|| elsewhere(""))?;
        match self.renew(transaction.id, Some(base)).await {
            Ok(_) => Ok(()),
            Err(status) if status.code() == Code::FailedPrecondition => {
                Err(elsewhere(&format!(": {}", status.message())))
            }
            Err(status) => Err(failed(&status)),
        }
    }

    /// Keeps a transaction alive, from another base if one is given.
    pub(super) async fn renew(
        &self,
        id: TransactionId,
        base: Option<CommitId>,
    ) -> Result<v1::TransactionInfo, Status> {
        let request = v1::RenewTransactionRequest {
            id: id.as_bytes().to_vec(),
            lease_seconds: LEASE,
            base: base.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            sealing: self.is_sealing(id),
        };
        Ok(self.client.native().renew_transaction(request).await?.into_inner())
    }

    fn is_sealing(&self, id: TransactionId) -> bool {
        self.behind().get(&id).is_some_and(|behind| behind.last)
    }

    /// Nobody writes to `id` any more: what was written is to be committed, and
    /// no transaction is to follow. The server hears of it now if it can be
    /// told, otherwise with the next renewal.
    pub async fn seal(&self, id: TransactionId) {
        self.change_behind(id, |behind| behind.last = true);
        match tokio::time::timeout(TELLING, self.renew(id, None)).await {
            Ok(Ok(_)) => {}
            Ok(Err(status)) => tracing::debug!(%status, "the server is told of an end later"),
            Err(_) => tracing::debug!("the server is told of an end later: it does not answer"),
        }
    }

    /// The transactions on `branch` whose holders are there and have not
    /// committed.
    pub async fn unfinished(&self, branch: &Branch) -> Result<Vec<Unfinished>, Status> {
        use v1::TransactionState::{Open, Sealed, Sealing};
        let request = v1::ListTransactionsRequest {
            states: [Open, Sealing, Sealed].map(i32::from).to_vec(),
            repo: Some(wire::repo(&branch.repo)),
            branch: branch.name.to_string(),
            held: true,
        };
        let mut listed = self.client.native().list_transactions(request).await?.into_inner();
        let mut found = Vec::new();
        while let Some(info) = listed.message().await? {
            found.extend(wire::unfinished(info, branch));
        }
        Ok(found)
    }

    /// Renews the leases of open transactions while the source lives.
    pub(super) fn keep_alive(self: &Arc<Self>) {
        let source = Arc::downgrade(self);
        tokio::spawn(async move {
            let mut timer = tokio::time::interval(Duration::from_secs(u64::from(LEASE) / 3));
            loop {
                timer.tick().await;
                let Some(source) = source.upgrade() else { return };
                for id in source.renewed() {
                    if let Err(status) = source.renew(id, None).await {
                        tracing::debug!(%status, "a transaction was not renewed");
                    }
                }
            }
        });
    }

    /// The transactions whose leases are to be renewed.
    fn renewed(&self) -> Vec<TransactionId> {
        let behind = self.behind();
        let open = behind.iter().filter(|(_, behind)| behind.published.is_none());
        open.map(|(id, _)| *id).collect()
    }

    pub(super) fn change_behind(&self, id: TransactionId, change: impl FnOnce(&mut Behind)) {
        if let Some(behind) = self.behind().get_mut(&id) {
            change(behind);
        }
    }

    pub(super) fn behind(&self) -> MutexGuard<'_, HashMap<TransactionId, Behind>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a transaction up.
    pub(super) async fn abandon(&self, id: TransactionId, reason: &str) -> Result<(), VfsError> {
        let (bytes, reason) = (id.as_bytes().to_vec(), reason.to_owned());
        let request = v1::AbortTransactionRequest { id: bytes, reason };
        match self.client.native().abort_transaction(request).await {
            Ok(_) => {}
            Err(status) if status.code() == Code::NotFound => {} // its repo is gone
            Err(status) if status.code() == Code::FailedPrecondition => {
                self.require_uncommitted(id).await?;
            }
            Err(status) => return Err(failed(&status)),
        }
        self.behind().retain(|key, behind| {
            *key != id && behind.published.as_ref().is_none_or(|next| next.transaction != id)
        });
        Ok(())
    }

    async fn require_uncommitted(&self, id: TransactionId) -> Result<(), VfsError> {
        let info = self.inspect(id).await.map_err(|status| failed(&status))?;
        if info.state() != v1::TransactionState::Committed {
            return Ok(());
        }
        let commit = hex::encode(&info.commit);
        Err(VfsError::Conflict(format!("transaction {id} was committed as {commit}")))
    }

    pub(super) async fn inspect(&self, id: TransactionId) -> Result<v1::TransactionInfo, Status> {
        let request = v1::InspectTransactionRequest { id: id.as_bytes().to_vec() };
        Ok(self.client.native().inspect_transaction(request).await?.into_inner())
    }

    /// Stages the edits of a transaction, in place of what an earlier attempt
    /// has left when it is `staged`.
    pub(super) async fn stage_all(
        &self,
        transaction: &Started,
        staged: bool,
        edits: Edits<'_>,
        writer: &PackWriter,
    ) -> Result<(), VfsError> {
        let id = transaction.id;
        // A server that is being started again is worth waiting for.
        let inspect = || async { self.inspect(id).await.map_err(|status| gone(&status)) };
        let info = patiently(inspect).await;
        let inherited = self.behind().get(&id).is_some_and(|behind| behind.inherited);
        let info = match (info, inherited) {
            (Ok(info), _) => info,
            (Err(VfsError::Unavailable(why)), true) => return Err(VfsError::Unsettled(why)),
            (Err(error), _) => return Err(error),
        };
        match (is_committed(&info), inherited) {
            // By the process before this one.
            (true, true) => return Ok(()),
            (true, false) => {
                let commit = hex::encode(&info.commit);
                let why = format!("transaction {id} was committed as {commit} by somebody else");
                return Err(VfsError::Conflict(why));
            }
            (false, _) => {}
        }
        let done = self.stage_upon(&info, (transaction, staged), edits, writer).await;
        match (done, inherited) {
            (Ok(()), _) => {
                self.change_behind(id, |behind| behind.inherited = false);
                Ok(())
            }
            // What was sent before may have arrived after it was asked about.
            (Err(error), true) => match self.inspect(id).await {
                Ok(info) if is_committed(&info) => Ok(()),
                Ok(_) => Err(error),
                Err(status) => Err(VfsError::Unsettled(status.message().to_owned())),
            },
            (Err(error), false) => Err(error),
        }
    }

    /// Stages `edits` in a transaction that takes them; `info` is what the
    /// server has told of it.
    async fn stage_upon(
        &self,
        info: &v1::TransactionInfo,
        (transaction, staged): (&Started, bool),
        edits: Edits<'_>,
        writer: &PackWriter,
    ) -> Result<(), VfsError> {
        let id = transaction.id;
        if staged {
            self.unstage(id, transaction.is_empty_base()).await?;
            // Which has opened it again.
            if self.is_sealing(id) {
                self.seal(id).await;
            }
        }
        self.put_upon(info, transaction).await?;
        self.change_behind(id, |behind| behind.staged = true);
        self.stage(id, edits, writer).await
    }

    /// Sends `edits` to be staged, each batch after its content is durable, and
    /// says that they are all.
    pub(super) async fn stage(
        &self,
        id: TransactionId,
        mut edits: Edits<'_>,
        writer: &PackWriter,
    ) -> Result<(), VfsError> {
        let (send, receive) = mpsc::channel(2);
        let mut native = self.client.native();
        let call = native.stage_transaction(ReceiverStream::new(receive));
        let feed = async move {
            let mut batch = wire::Batch::new(id);
            while let Some(edit) = edits.next().await {
                let (path, edit) = edit?;
                batch.push(&path, edit);
                if batch.weight() >= BATCH {
                    writer.flush().await?;
                    // A closed channel shows in the answer of the call.
                    drop(send.send(batch.take()).await);
                }
            }
            writer.flush().await?;
            drop(send.send(batch.complete()).await);
            Ok::<_, VfsError>(())
        };
        let (answer, fed) = tokio::join!(call, feed);
        fed?;
        answer.map(drop).map_err(|status| gone(&status))
    }

    /// Takes back what an earlier attempt has staged.
    pub(super) async fn unstage(&self, id: TransactionId, empty: bool) -> Result<(), VfsError> {
        let mut batch = wire::Batch::new(id);
        batch.reset(empty);
        let edits = futures::stream::iter([batch.take()]);
        let answer = self.client.native().stage_transaction(edits).await;
        answer.map(drop).map_err(|status| gone(&status))
    }

    /// Has the server commit `id` and answers the commit. What was sent and not
    /// answered is asked again: a transaction is committed once at most.
    pub(super) async fn settle(
        &self,
        id: TransactionId,
        (message, replaces): (&str, Option<CommitId>),
    ) -> Result<CommitId, VfsError> {
        let mut attempt = 0;
        let answer = loop {
            let mut batch = wire::Batch::new(id);
            batch.message(message, replaces);
            let edits = futures::stream::iter([batch.take()]);
            match self.client.native().commit_transaction(edits).await {
                Err(status) if is_silence(&status) && attempt < ATTEMPTS => attempt += 1,
                answer => break answer,
            }
            tokio::time::sleep(AGAIN).await;
        };
        let unsettled = |status: Status| VfsError::Unsettled(status.message().to_owned());
        let info = match answer {
            Ok(info) => info.into_inner(),
            Err(status) if is_silence(&status) => return Err(unsettled(status)),
            // The answer may be about what came after the commit.
            Err(status) => match self.inspect(id).await {
                Ok(info) if info.state() == v1::TransactionState::Committed => info,
                Ok(_) => return self.not_committed(id, gone(&status)),
                Err(inspected) if is_silence(&inspected) => return Err(unsettled(inspected)),
                Err(_) => return self.not_committed(id, gone(&status)),
            },
        };
        match info.state() {
            v1::TransactionState::Committed => wire::commit(&info.commit),
            v1::TransactionState::Conflict => {
                self.not_committed(id, VfsError::Conflict(info.reason))
            }
            state @ (v1::TransactionState::Unknown
            | v1::TransactionState::Open
            | v1::TransactionState::Sealing
            | v1::TransactionState::Sealed
            | v1::TransactionState::Aborted
            | v1::TransactionState::Orphaned) => {
                let what = format!("not committed: {}", state.as_str_name());
                self.not_committed(id, VfsError::Unavailable(what))
            }
        }
    }

    /// The server has said that nothing was published: `id` takes edits again.
    fn not_committed<T>(&self, id: TransactionId, error: VfsError) -> Result<T, VfsError> {
        self.change_behind(id, |behind| behind.told = None);
        Err(error)
    }
}

fn is_committed(info: &v1::TransactionInfo) -> bool {
    info.state() == v1::TransactionState::Committed
}

/// Whether a request may have been carried out without an answer.
fn is_silence(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::Unavailable
            | Code::Unknown
            | Code::Cancelled
            | Code::DeadlineExceeded
            | Code::Internal
    )
}

/// Why a commit failed: all that it needs was there before.
fn gone(status: &Status) -> VfsError {
    match status.code() {
        Code::NotFound => VfsError::Gone(status.message().to_owned()),
        _ => failed(status),
    }
}
