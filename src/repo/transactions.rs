//! Write transactions: changes gathered out of sight, published as one commit.

mod listing;
mod merged;

use std::time::Duration;

use futures::Stream;

use super::files::{root_of, stored};
use super::{Attempts, OneShot, RepoError, Repos, Result};
use crate::catalog::{
    Back, CatalogError, CommitRow, Op, StoredRoot, TransactionChange, TransactionRow,
    TransactionState,
};
use crate::model::{Branch, CommitId, Timestamp, TransactionId, TreePath};
use crate::tree::{ApplyOptions, Edit, Merge, Root, TreeError, apply};

pub use listing::TransactionFilter;

/// The transaction to open.
#[derive(Debug, Clone)]
pub struct OpenTransaction {
    /// The branch it will commit to; its repo must exist.
    pub branch: Branch,
    /// How long it lives without being renewed.
    pub lease: Duration,
    /// Who writes: a host, a volume.
    pub owner: String,
    /// Its id, so that asking again finds it; `None` draws one.
    pub id: Option<TransactionId>,
    /// Where the owner keeps what is not staged yet.
    pub staging: String,
    /// What it starts from.
    pub base: Base,
}

/// The tree that a transaction's changes are relative to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Base {
    /// That of the newest finished commit.
    #[default]
    Newest,
    /// That of this commit, which must be finished.
    Commit(CommitId),
    /// The empty one.
    Nothing,
}

/// Why staged changes were not taken.
#[derive(Debug, thiserror::Error)]
pub enum StageError<E> {
    /// The transaction forbids it, or the changes do not fit the tree.
    #[error(transparent)]
    Refused(#[from] RepoError),
    /// The stream of changes broke off.
    #[error("the changes broke off")]
    Source(E),
}

impl<E> From<TreeError> for StageError<E> {
    fn from(error: TreeError) -> Self {
        Self::Refused(error.into())
    }
}

/// States in which a transaction takes changes and may be committed.
const LIVE: [TransactionState; 5] = [
    TransactionState::Open,
    TransactionState::Sealing,
    TransactionState::Sealed,
    TransactionState::Conflict,
    TransactionState::Orphaned,
];

/// States that somebody has to keep up; without, a transaction is orphaned.
const HELD: [TransactionState; 2] = [TransactionState::Open, TransactionState::Sealing];

/// How long a transaction that committed answers that it did, counted from
/// the end of its lease.
pub const COMMITTED_KEPT: Duration = Duration::from_secs(7 * 24 * 3600);

/// How long one that did not commit can be looked at and gone on with.
pub const UNCOMMITTED_KEPT: Duration = Duration::from_secs(30 * 24 * 3600);

/// How many transactions of each state one sweep looks at.
const SWEEP: usize = 100;

/// What a sweep did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Transactions whose holder is gone.
    pub orphaned: usize,
    /// Transactions forgotten.
    pub dropped: usize,
    /// Whether there is more than one sweep may do.
    pub more: bool,
}

impl Repos {
    /// Records of open transactions whose lease has lapsed that they are
    /// orphaned, and forgets those that ended, or lapsed, long ago. It may be
    /// repeated at any time and looks at a few only.
    pub async fn sweep_transactions(&self) -> Result<Swept> {
        let now = self.clock.now();
        let mut swept = Swept::default();
        for state in TransactionState::ALL {
            let (before, op): (_, fn(TransactionId) -> Op) = match state {
                TransactionState::Open | TransactionState::Sealing => (now, orphan),
                TransactionState::Committed => (ago(now, COMMITTED_KEPT), Op::DeleteTransaction),
                TransactionState::Sealed
                | TransactionState::Conflict
                | TransactionState::Orphaned
                | TransactionState::Aborted => (ago(now, UNCOMMITTED_KEPT), Op::DeleteTransaction),
            };
            let lapsed = self.catalog.lapsed_transactions(*state, before, SWEEP).await?;
            swept.more |= lapsed.len() == SWEEP;
            for row in lapsed {
                let batch = vec![Op::ExpectLapsed { id: row.id, before }, op(row.id)];
                match self.catalog.apply(batch).await {
                    Ok(()) if HELD.contains(state) => swept.orphaned += 1,
                    Ok(()) => swept.dropped += 1,
                    // Its holder came back, or ended it.
                    Err(CatalogError::Conflict { .. }) => {}
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(swept)
    }

    /// Opens a transaction on a branch.
    pub async fn open_transaction(&self, spec: &OpenTransaction) -> Result<TransactionRow> {
        if let Some(id) = spec.id
            && let Some(row) = self.catalog.transaction(id).await?
        {
            return Ok(row);
        }
        self.inspect_repo(&spec.branch.repo).await?;
        let at = self.catalog.branch(&spec.branch).await?;
        if self.is_output(&spec.branch, at.as_ref()).await? {
            return Err(RepoError::OutputBranch { branch: spec.branch.clone() });
        }
        let base = match spec.base {
            Base::Newest => self.newest_or_none(&spec.branch).await?,
            Base::Commit(id) => Some(self.finished_commit(&spec.branch, id).await?),
            Base::Nothing => None,
        };
        let now = self.clock.now();
        let row = TransactionRow {
            id: spec.id.unwrap_or_else(|| self.clock.transaction_id()),
            branch: spec.branch.clone(),
            base: base.as_ref().map(|row| row.commit.id),
            base_root: Some(base.as_ref().map(|row| row.root.encoded.clone()).unwrap_or_default()),
            state: TransactionState::Open,
            host: spec.owner.clone(),
            staging: spec.staging.clone(),
            root: base.map(|row| row.root).unwrap_or_default(),
            message: String::new(),
            reason: String::new(),
            commit: None,
            created: now,
            lease_until: after(now, spec.lease),
        };
        self.catalog.apply(vec![Op::CreateTransaction(row.clone())]).await?;
        Ok(row)
    }

    /// One transaction. One whose lease has lapsed is orphaned.
    pub async fn transaction(&self, id: TransactionId) -> Result<TransactionRow> {
        let row = self.catalog.transaction(id).await?.ok_or_else(|| RepoError::NotFound {
            kind: "transaction",
            name: id.to_string(),
            nearest: None,
        })?;
        Ok(self.seen_now(row))
    }

    fn seen_now(&self, mut row: TransactionRow) -> TransactionRow {
        let lapsed = row.lease_until < self.clock.now();
        if HELD.contains(&row.state) && lapsed {
            row.state = TransactionState::Orphaned;
        }
        row
    }

    /// Keeps a transaction alive for `lease` from now on. It is `sealing` when
    /// nobody writes any more and a commit will follow.
    pub async fn renew_transaction(
        &self,
        id: TransactionId,
        lease: Duration,
        sealing: bool,
    ) -> Result<TransactionRow> {
        self.live_transaction(id).await?;
        let until = after(self.clock.now(), lease);
        self.catalog.apply(vec![Op::RenewTransaction { id, until }]).await?;
        let (from, to) = match sealing {
            true => (TransactionState::Open, TransactionState::Sealing),
            false => (TransactionState::Sealing, TransactionState::Open),
        };
        let row = self.transaction(id).await?;
        if row.state != from {
            return Ok(row);
        }
        let change = TransactionChange { state: Some(to), ..Default::default() };
        let op = Op::UpdateTransaction { id, expected: vec![from], change };
        match self.catalog.apply(vec![op]).await {
            // Or it is in another state by now, which says more.
            Ok(()) | Err(CatalogError::Conflict { .. }) => self.transaction(id).await,
            Err(error) => Err(error.into()),
        }
    }

    async fn finished_commit(&self, branch: &Branch, id: CommitId) -> Result<CommitRow> {
        let row = self.inspect_commit(&branch.repo.commit(id)).await?;
        match row.is_open() {
            true => Err(RepoError::NotFinished { commit: row.commit }),
            false => Ok(row),
        }
    }

    /// Makes a transaction start from another commit. Nothing may be staged.
    pub async fn rebase_transaction(
        &self,
        id: TransactionId,
        base: CommitId,
    ) -> Result<TransactionRow> {
        let row = self.live_transaction(id).await?;
        if row.root != self.transaction_base(&row).await? {
            let what = format!("transaction {id} has changes relative to its base");
            return Err(RepoError::refused(what, "commit them first"));
        }
        let base = self.finished_commit(&row.branch, base).await?;
        let change = TransactionChange {
            base: Some(base.commit.id),
            base_root: Some(base.root.encoded.clone()),
            root: Some(base.root),
            ..Default::default()
        };
        self.catalog.apply(vec![expect_staged(&row), update(id, change)]).await?;
        self.transaction(id).await
    }

    /// Gives a transaction up; it stays to be looked at.
    pub async fn abort_transaction(
        &self,
        id: TransactionId,
        reason: &str,
    ) -> Result<TransactionRow> {
        self.live_transaction(id).await?;
        let change = TransactionChange {
            state: Some(TransactionState::Aborted),
            reason: Some(reason.to_owned()),
            ..Default::default()
        };
        self.change_transaction(id, change).await
    }

    /// Applies changes, sorted by path, to what is staged, and makes the result
    /// durable; nobody else sees it. A graft takes from the transaction's base.
    /// Of two calls at once one is refused with [`RepoError::Busy`]. What is
    /// staged counts as incomplete until it is sealed.
    pub async fn stage_transaction<E>(
        &self,
        id: TransactionId,
        changes: impl Stream<Item = Result<(TreePath, Edit), E>>,
    ) -> Result<TransactionRow, StageError<E>> {
        let row = self.live_transaction(id).await?;
        let writer = self.blobs.writer();
        let staged = root_of(&row.root)?;
        let mut any = false;
        let changes = futures::StreamExt::map(changes, |change| {
            any = true;
            change.map_err(StageError::Source)
        });
        let options = ApplyOptions { prune_parents: false };
        let root = apply(&self.nodes, &writer, &staged, changes, options).await?;
        if !any || root == staged && !is_complete(row.state) {
            return Ok(row);
        }
        writer.flush().await.map_err(RepoError::from)?;
        let state = match row.state {
            TransactionState::Sealing => TransactionState::Sealing,
            TransactionState::Open
            | TransactionState::Sealed
            | TransactionState::Committed
            | TransactionState::Conflict
            | TransactionState::Aborted
            | TransactionState::Orphaned => TransactionState::Open,
        };
        let change = TransactionChange {
            state: Some(state),
            reason: Some(String::new()),
            root: Some(stored(&root)),
            ..Default::default()
        };
        let ops = vec![expect_staged(&row), update(id, change)];
        match self.catalog.apply(ops).await {
            Ok(()) => Ok(self.transaction(id).await?),
            Err(CatalogError::Conflict { what }) => {
                self.live_transaction(id).await?;
                Err(RepoError::Busy { attempts: 1, what }.into())
            }
            Err(error) => Err(RepoError::from(error).into()),
        }
    }

    /// Notes that everything is staged: from now on anyone may commit it.
    pub async fn seal_transaction(&self, id: TransactionId) -> Result<TransactionRow> {
        let row = self.live_transaction(id).await?;
        let state = Some(TransactionState::Sealed);
        let change = TransactionChange { state, ..Default::default() };
        self.catalog.apply(vec![expect_staged(&row), update(id, change)]).await?;
        self.transaction(id).await
    }

    /// The tree that a transaction's changes are relative to. It stays when the
    /// commit it is of is squashed away.
    pub async fn transaction_base(&self, row: &TransactionRow) -> Result<StoredRoot> {
        if let Some(encoded) = &row.base_root {
            let root = StoredRoot { encoded: encoded.clone(), ..StoredRoot::default() };
            return Ok(stored(&root_of(&root)?));
        }
        match row.base {
            Some(id) => Ok(self.inspect_commit(&row.branch.repo.commit(id)).await?.root),
            None => Ok(StoredRoot::default()),
        }
    }

    /// Publishes what is staged as one commit. When the head has moved, both
    /// changes are merged by path; where they exclude each other the
    /// transaction is kept in state `Conflict` and its reason names the paths,
    /// one per line. While the newest finished commit is `replaces`, what is
    /// staged takes the place of what it excludes instead. Committing again
    /// answers with the same commit. Refused unless everything is staged.
    pub async fn commit_transaction(
        &self,
        id: TransactionId,
        message: &str,
        replaces: Option<CommitId>,
    ) -> Result<TransactionRow> {
        let mut attempts = Attempts::new();
        loop {
            let row = self.transaction(id).await?;
            if row.state == TransactionState::Committed {
                return Ok(row);
            }
            self.live_transaction(id).await?;
            if !is_complete(row.state) {
                let TransactionRow { branch, host: owner, staging, .. } = row;
                return Err(RepoError::NotStaged { transaction: id, branch, owner, staging });
            }
            match self.try_commit(&row, message, replaces).await {
                Err(RepoError::HeadMoved { branch, .. }) => {
                    let what = format!("others kept changing {branch}");
                    attempts.again(CatalogError::Conflict { what })?;
                }
                done => return done,
            }
        }
    }

    /// [`RepoError::HeadMoved`] when the branch or the transaction changed
    /// meanwhile.
    pub(super) async fn try_commit(
        &self,
        row: &TransactionRow,
        message: &str,
        replaces: Option<CommitId>,
    ) -> Result<TransactionRow> {
        let branch = &row.branch;
        let head = self.catalog.branch(branch).await?.and_then(|row| row.head);
        // A head that failed is built upon, but what readers see is before it.
        let good = match head {
            Some(id) => self.catalog.ancestor(&branch.repo.commit(id), Back::Good).await?,
            None => None,
        };
        let good_id = good.as_ref().map(|good| good.commit.id);
        let theirs = match &good {
            Some(good) => root_of(&good.root)?,
            None => Root::empty(),
        };
        let replace = replaces.is_some() && replaces == good_id;
        let root = match self.merged(row, good_id, &theirs, replace).await? {
            Merge::Merged(root) => root,
            Merge::Conflicts(conflicts) => {
                let paths = conflicts.iter().map(|conflict| conflict.path.absolute());
                return self.conflicting(row.id, paths.collect::<Vec<_>>().join("\n")).await;
            }
        };
        let id = self.clock.commit_id();
        // Nothing new: the head has it all.
        if root.hash() == theirs.hash() {
            let ops = vec![expect_staged(row), committed(row.id, good_id, message)];
            match self.catalog.apply(ops).await {
                Err(CatalogError::Conflict { .. }) => {
                    return Err(RepoError::HeadMoved { branch: branch.clone(), current: head });
                }
                done => done?,
            }
        } else {
            // Published and ended in one step: neither is ever without the other.
            let also = [expect_staged(row), committed(row.id, Some(id), message)];
            self.commit_once_and(branch, &one_shot(head, &root, message), id, &also).await?;
        }
        self.transaction(row.id).await
    }

    async fn conflicting(&self, id: TransactionId, reason: String) -> Result<TransactionRow> {
        let change = TransactionChange {
            state: Some(TransactionState::Conflict),
            reason: Some(reason),
            ..Default::default()
        };
        self.change_transaction(id, change).await
    }

    async fn change_transaction(
        &self,
        id: TransactionId,
        change: TransactionChange,
    ) -> Result<TransactionRow> {
        self.catalog.apply(vec![update(id, change)]).await?;
        self.transaction(id).await
    }

    /// A transaction that has not ended.
    async fn live_transaction(&self, id: TransactionId) -> Result<TransactionRow> {
        let row = self.transaction(id).await?;
        match LIVE.contains(&row.state) {
            true => Ok(row),
            false => Err(RepoError::Refused {
                what: format!("transaction {id} is {}", row.state),
                remedy: Some("open a new one".into()),
            }),
        }
    }

    /// The newest finished commit of a branch, which need not exist yet.
    async fn newest_or_none(&self, branch: &Branch) -> Result<Option<CommitRow>> {
        match self.newest_finished(branch).await {
            Err(RepoError::NotFound { kind: "branch", .. } | RepoError::NoHead { .. }) => Ok(None),
            newest => newest,
        }
    }
}

/// Whether everything such a transaction is about has been staged.
fn is_complete(state: TransactionState) -> bool {
    match state {
        TransactionState::Sealed | TransactionState::Conflict => true,
        TransactionState::Open
        | TransactionState::Sealing
        | TransactionState::Committed
        | TransactionState::Aborted
        | TransactionState::Orphaned => false,
    }
}

fn update(id: TransactionId, change: TransactionChange) -> Op {
    Op::UpdateTransaction { id, expected: LIVE.to_vec(), change }
}

fn expect_staged(row: &TransactionRow) -> Op {
    Op::ExpectStaged { id: row.id, root: row.root.encoded.clone() }
}

/// How a transaction ends well.
fn committed(id: TransactionId, commit: Option<CommitId>, message: &str) -> Op {
    let change = TransactionChange {
        state: Some(TransactionState::Committed),
        message: Some(message.to_owned()),
        reason: Some(String::new()),
        commit,
        ..Default::default()
    };
    update(id, change)
}

fn one_shot(parent: Option<CommitId>, root: &Root, message: &str) -> OneShot {
    OneShot { parent, root: stored(root), description: message.to_owned(), author: String::new() }
}

fn orphan(id: TransactionId) -> Op {
    let state = Some(TransactionState::Orphaned);
    let change = TransactionChange { state, ..TransactionChange::default() };
    Op::UpdateTransaction { id, expected: HELD.to_vec(), change }
}

fn ago(now: Timestamp, kept: Duration) -> Timestamp {
    let nanos = i64::try_from(kept.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(now.as_nanos().saturating_sub(nanos))
}

fn after(now: Timestamp, lease: Duration) -> Timestamp {
    let nanos = i64::try_from(lease.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(now.as_nanos().saturating_add(nanos))
}
