//! Commits: start, write, finish, list.

use bytes::Bytes;

use super::graph::Changes;
use super::{Attempts, RepoError, Repos, Result, object};
use crate::catalog::{
    Back, BranchRow, CatalogError, CommitQuery, CommitRow, Op, Origin, StoredRoot,
};
use crate::model::{Branch, BranchName, Commit, CommitId, Ref, Repo, RepoKind};

/// The commit to open.
#[derive(Debug, Clone)]
pub struct StartCommit {
    /// Its repo.
    pub repo: Repo,
    /// The branch whose head it becomes, created where there is none. `None`
    /// leaves it on no branch.
    pub branch: Option<BranchName>,
    /// Its parent; `None` is the head of the branch.
    pub parent: Option<Ref>,
    /// What it is about.
    pub description: String,
    /// Who opens it.
    pub author: String,
    /// Its id, to put it into a commit set that exists; `None` draws one.
    pub id: Option<CommitId>,
}

/// How to finish a commit.
#[derive(Debug, Clone, Default)]
pub struct FinishCommit {
    /// Its final tree; `None` keeps what was written while it was open.
    pub root: Option<StoredRoot>,
    /// Replaces the description.
    pub description: Option<String>,
    /// Why it failed, if it did: it then finishes empty of use, and readers
    /// stay on the commit before it.
    pub error: Option<String>,
}

/// A commit that opens and finishes at once.
#[derive(Debug, Clone)]
pub struct OneShot {
    /// The head its tree builds upon; must still be the branch's head.
    pub parent: Option<CommitId>,
    /// Its tree, already durable.
    pub root: StoredRoot,
    /// What it is about.
    pub description: String,
    /// Who made it.
    pub author: String,
}

/// Which commits of a repo to list.
#[derive(Debug, Clone, Default)]
pub struct ListCommits {
    /// Only this commit and its ancestors.
    pub to: Option<Ref>,
    /// Stop before this commit.
    pub from: Option<Ref>,
    /// At most so many; `None`: all.
    pub number: Option<usize>,
    /// Only those of this origin; `None`: all.
    pub origin: Option<Origin>,
    /// Oldest first rather than newest first.
    pub oldest_first: bool,
}

impl Repos {
    /// Opens a commit whose tree begins as its parent's, and makes it the head
    /// of its branch. Nothing is derived until it finishes.
    pub async fn start_commit(&self, spec: &StartCommit) -> Result<CommitRow> {
        self.repo_row(&spec.repo).await?;
        let id = spec.id.unwrap_or_else(|| self.fresh_set());
        let commit = spec.repo.commit(id);
        if self.catalog.commit(&commit).await?.is_some() {
            return Err(RepoError::Exists { kind: "commit", name: commit.to_string() });
        }
        let mut attempts = Attempts::new();
        loop {
            let ops = self.start_ops(spec, commit.clone()).await?;
            match self.catalog.apply(ops).await {
                Ok(()) => return self.inspect_commit(&commit).await,
                Err(e) => attempts.again(e)?,
            }
        }
    }

    async fn start_ops(&self, spec: &StartCommit, commit: Commit) -> Result<Vec<Op>> {
        let wiring = self.same_wiring().await?;
        let branch = spec.branch.as_ref().map(|name| spec.repo.branch(name.clone()));
        let before = match &branch {
            Some(branch) => self.writable_branch(branch).await?,
            None => None,
        };
        let head = before.as_ref().and_then(|row| row.head);
        let parent = match (&spec.parent, head) {
            (Some(parent), _) => Some(self.resolve(&spec.repo, parent).await?),
            (None, Some(head)) => Some(self.inspect_commit(&spec.repo.commit(head)).await?),
            (None, None) => None,
        };
        if let Some(open) = parent.as_ref().filter(|row| row.is_open()) {
            return Err(RepoError::NotFinished { commit: open.commit.clone() });
        }
        let root = match &parent {
            Some(parent) => self.tree_at(parent).await?,
            None => StoredRoot::default(),
        };
        let row = CommitRow {
            seq: 0,
            number: 0,
            branch: spec.branch.clone(),
            parent: parent.as_ref().map(|row| row.commit.id),
            origin: Origin::User,
            description: spec.description.clone(),
            author: spec.author.clone(),
            started: self.clock.now(),
            finished: None,
            error: None,
            root,
            provenance: Vec::new(),
            commit,
        };
        let mut ops = vec![wiring];
        ops.extend(self.on_branch(row, branch.as_ref(), before.as_ref()));
        Ok(ops)
    }

    /// The tree that what is built upon a finished commit begins with: its
    /// own, or of one that failed that of the newest before it that did not.
    pub(super) async fn tree_at(&self, row: &CommitRow) -> Result<StoredRoot> {
        if row.error.is_none() {
            return Ok(row.root.clone());
        }
        let good = self.catalog.ancestor(&row.commit, Back::Good).await?;
        Ok(good.map(|row| row.root).unwrap_or_default())
    }

    /// A guard that provenance stays as it is from now on: what is read after
    /// it holds when a batch with it is applied.
    pub(super) async fn same_wiring(&self) -> Result<Op> {
        Ok(Op::ExpectWiring(self.catalog.wiring().await?))
    }

    /// Creates a commit as the head of its branch.
    fn on_branch(
        &self,
        row: CommitRow,
        branch: Option<&Branch>,
        before: Option<&BranchRow>,
    ) -> Vec<Op> {
        let head = Some(row.commit.id);
        let mut ops = vec![Op::CreateCommit(row)];
        if let Some(branch) = branch {
            let provenance = before.map_or(&[][..], |row| &row.provenance);
            ops.extend(self.put_branch(branch, before, head, provenance, None));
        }
        ops
    }

    /// The row of a branch that users may commit to and that has no open
    /// commit; `None` when the branch is still to be created.
    async fn writable_branch(&self, branch: &Branch) -> Result<Option<BranchRow>> {
        let row = self.catalog.branch(branch).await?;
        if self.is_output(branch, row.as_ref()).await? {
            return Err(RepoError::OutputBranch { branch: branch.clone() });
        }
        if let Some(head) = row.as_ref().and_then(|row| row.head) {
            let commit = branch.repo.commit(head);
            if self.catalog.commit(&commit).await?.is_some_and(|row| row.is_open()) {
                return Err(RepoError::NotFinished { commit });
            }
        }
        Ok(row)
    }

    /// Replaces the tree of an open commit, provided it still is `expected`
    /// (encoded); else [`RepoError::RootMoved`]. Repeating a call that
    /// succeeded succeeds.
    pub async fn set_root(
        &self,
        commit: &Commit,
        expected: &Bytes,
        new: &StoredRoot,
    ) -> Result<()> {
        self.refuse_output(&self.open_commit(commit).await?).await?;
        let (expected, new) = (expected.clone(), new.clone());
        let op = Op::SetRoot { commit: commit.clone(), expected, new };
        match self.catalog.apply(vec![op]).await {
            Ok(()) => Ok(()),
            Err(CatalogError::Conflict { .. }) => {
                self.open_commit(commit).await?;
                Err(RepoError::RootMoved { commit: commit.clone() })
            }
            Err(e) => Err(e.into()),
        }
    }

    /// The row of a commit that must be open.
    pub(super) async fn open_commit(&self, commit: &Commit) -> Result<CommitRow> {
        let row = self.inspect_commit(commit).await?;
        match row.is_open() {
            true => Ok(row),
            false => Err(RepoError::Finished { commit: commit.clone() }),
        }
    }

    /// Finishes an open commit and, in the same step, opens the output commits
    /// of everything downstream under the same id, with their jobs.
    pub async fn finish_commit(&self, commit: &Commit, spec: &FinishCommit) -> Result<CommitRow> {
        let mut attempts = Attempts::new();
        loop {
            let row = self.open_commit(commit).await?;
            self.refuse_output(&row).await?;
            let finished = self.finished(row.clone(), spec);
            self.write_object(&finished).await?;
            let ops = self.finish_ops(&row, &finished).await?;
            match self.catalog.apply(ops).await {
                Ok(()) => return self.inspect_commit(commit).await,
                Err(e) => {
                    self.restore_object(commit).await?;
                    attempts.again(e)?;
                }
            }
        }
    }

    /// A commit on a pipeline's output branch is the pipeline's alone.
    async fn refuse_output(&self, row: &CommitRow) -> Result<()> {
        let Some(name) = &row.branch else { return Ok(()) };
        let branch = row.commit.repo.branch(name.clone());
        let system = branch.repo.kind != RepoKind::User;
        match system || self.pipeline_of(&branch).await?.is_some() {
            true => Err(RepoError::OutputBranch { branch }),
            false => Ok(()),
        }
    }

    /// Where somebody else finished a commit first, its object is theirs again.
    pub(super) async fn restore_object(&self, commit: &Commit) -> Result<()> {
        if self.together.is_some() {
            return Ok(());
        }
        match self.catalog.commit(commit).await? {
            Some(row) if !row.is_open() => self.write_object(&row).await,
            _ => Ok(()),
        }
    }

    /// The row as it will be.
    pub(super) fn finished(&self, mut row: CommitRow, spec: &FinishCommit) -> CommitRow {
        if let Some(root) = &spec.root {
            row.root = root.clone();
        }
        if let Some(description) = &spec.description {
            row.description.clone_from(description);
        }
        row.error.clone_from(&spec.error);
        row.finished = Some(self.clock.now());
        row
    }

    /// Writes the object of a finished commit; the catalog row comes after.
    pub(super) async fn write_object(&self, row: &CommitRow) -> Result<()> {
        if let Some(gathering) = &self.together {
            gathering.keep(row);
            return Ok(());
        }
        let key = object::key(&row.commit);
        Ok(self.store().put(&key, object::encode(row)).await?)
    }

    /// Finishes `open` as `finished`, with all that follows.
    pub(super) async fn finish_ops(
        &self,
        open: &CommitRow,
        finished: &CommitRow,
    ) -> Result<Vec<Op>> {
        let commit = &finished.commit;
        let mut changes = Changes::default();
        let mut guards = Vec::new();
        for row in self.catalog.branches_at(commit).await? {
            let expected = Some(commit.id);
            guards.push(Op::ExpectHead { branch: row.branch.clone(), expected });
            changes.heads.insert(row.branch, commit.id);
        }
        // Nothing derives from a commit that failed.
        if finished.error.is_some() {
            changes.heads.clear();
        }
        let triggered = self.triggered(finished, &mut changes).await?;
        let derived = self.derive(&changes, commit.id).await?;
        guards.extend(derived.guards);
        guards.push(Op::FinishCommit {
            commit: commit.clone(),
            expected: Some(open.root.encoded.clone()),
            root: finished.root.clone(),
            description: Some(finished.description.clone()),
            error: finished.error.clone(),
            finished: finished.finished.unwrap_or(finished.started),
        });
        guards.extend(triggered);
        guards.extend(derived.plan.into_ops());
        Ok(guards)
    }

    /// Adds a finished commit to a branch in one step, deriving as
    /// [`Self::finish_commit`] does. The branch is created where there is
    /// none. [`RepoError::HeadMoved`] says that the tree must be built again
    /// upon the new head.
    pub async fn commit_once(&self, branch: &Branch, spec: &OneShot) -> Result<CommitRow> {
        self.commit_once_and(branch, spec, self.clock.commit_id(), &[]).await
    }

    /// [`Self::commit_once`] under a given id, and with more to write in the
    /// same step. Where a guard among that fails, the head counts as moved.
    pub(super) async fn commit_once_and(
        &self,
        branch: &Branch,
        spec: &OneShot,
        id: CommitId,
        also: &[Op],
    ) -> Result<CommitRow> {
        self.repo_row(&branch.repo).await?;
        let row = self.one_shot_row(branch, spec, id);
        // Before an object is written for nothing.
        self.once_head(branch, spec).await?;
        self.write_object(&row).await?;
        let done = self.apply_once(branch, spec, &row, also).await;
        // When the catalog itself failed, the commit may be there.
        if done.as_ref().is_err_and(|e| !matches!(e, RepoError::Catalog(_))) {
            // What is left behind here fsck finds.
            drop(self.store().delete(&object::key(&row.commit)).await);
        }
        done
    }

    async fn apply_once(
        &self,
        branch: &Branch,
        spec: &OneShot,
        row: &CommitRow,
        also: &[Op],
    ) -> Result<CommitRow> {
        let mut attempts = Attempts::new();
        loop {
            let mut ops = self.once_ops(branch, spec, row).await?;
            ops.extend(also.iter().cloned());
            match self.catalog.apply(ops).await {
                Ok(()) => return self.inspect_commit(&row.commit).await,
                Err(CatalogError::Conflict { .. }) if !also.is_empty() => {
                    return Err(RepoError::HeadMoved { branch: branch.clone(), current: None });
                }
                Err(e) => attempts.again(e)?,
            }
        }
    }

    fn one_shot_row(&self, branch: &Branch, spec: &OneShot, id: CommitId) -> CommitRow {
        let now = self.clock.now();
        CommitRow {
            commit: branch.repo.commit(id),
            seq: 0,
            number: 0,
            branch: Some(branch.name.clone()),
            parent: spec.parent,
            origin: Origin::User,
            description: spec.description.clone(),
            author: spec.author.clone(),
            started: now,
            finished: Some(now),
            error: None,
            root: spec.root.clone(),
            provenance: Vec::new(),
        }
    }

    /// The branch, which must be writable and where the caller saw it.
    async fn once_head(&self, branch: &Branch, spec: &OneShot) -> Result<Option<BranchRow>> {
        let before = self.writable_branch(branch).await?;
        let current = before.as_ref().and_then(|row| row.head);
        match current == spec.parent {
            true => Ok(before),
            false => Err(RepoError::HeadMoved { branch: branch.clone(), current }),
        }
    }

    async fn once_ops(&self, branch: &Branch, spec: &OneShot, row: &CommitRow) -> Result<Vec<Op>> {
        let wiring = self.same_wiring().await?;
        let before = self.once_head(branch, spec).await?;
        let mut changes = Changes::default();
        changes.heads.insert(branch.clone(), row.commit.id);
        let triggered = self.triggered(row, &mut changes).await?;
        let derived = self.derive(&changes, row.commit.id).await?;
        let mut ops = vec![wiring];
        ops.extend(derived.guards);
        ops.extend(self.on_branch(row.clone(), Some(branch), before.as_ref()));
        ops.extend(triggered);
        ops.extend(derived.plan.into_ops());
        Ok(ops)
    }

    /// Changes what a commit says about itself.
    pub async fn describe_commit(&self, commit: &Commit, description: &str) -> Result<()> {
        // Whoever finishes it meanwhile, or removes its parent, has it else.
        let _rewriting = self.rewriting.lock().await;
        let mut attempts = Attempts::new();
        loop {
            let mut row = self.inspect_commit(commit).await?;
            description.clone_into(&mut row.description);
            if !row.is_open() {
                self.write_object(&row).await?;
            }
            let guard = Op::ExpectOpen { commit: commit.clone(), open: row.is_open() };
            let description = description.to_owned();
            let op = Op::DescribeCommit { commit: commit.clone(), description };
            match self.catalog.apply(vec![guard, op]).await {
                Ok(()) => return Ok(()),
                Err(e) => attempts.again(e)?,
            }
        }
    }

    /// Commits of a repo.
    pub async fn list_commits(&self, repo: &Repo, list: &ListCommits) -> Result<Vec<CommitRow>> {
        self.repo_row(repo).await?;
        let from = match &list.from {
            Some(from) => Some(self.resolve(repo, from).await?),
            None => None,
        };
        let number = list.number.unwrap_or(usize::MAX);
        let mut rows = match &list.to {
            Some(to) => self.list_line(repo, to, from.as_ref(), list.origin, number).await?,
            None => {
                let mut query = CommitQuery::newest(repo.clone());
                query.origin = list.origin;
                query.after = from.map(|row| row.seq);
                query.limit = number;
                self.catalog.commits(&query).await?
            }
        };
        if list.oldest_first {
            rows.reverse();
        }
        Ok(rows)
    }

    /// A commit and its ancestors that have the origin, page by page.
    async fn list_line(
        &self,
        repo: &Repo,
        to: &Ref,
        from: Option<&CommitRow>,
        origin: Option<Origin>,
        number: usize,
    ) -> Result<Vec<CommitRow>> {
        const PAGE: usize = 1000;
        let until = from.map(|row| row.commit.id);
        let mut next = match self.resolve(repo, to).await {
            Ok(row) => Some(row.commit.id),
            Err(RepoError::NoHead { .. }) => None,
            Err(e) => return Err(e),
        };
        let mut rows = Vec::new();
        while let Some(at) = next {
            let limit = if origin.is_some() { PAGE } else { PAGE.min(number - rows.len()) };
            let page = self.catalog.ancestors(&repo.commit(at), until, limit).await?;
            let last = page.last().filter(|_| page.len() == limit).and_then(|row| row.parent);
            next = last.filter(|parent| Some(*parent) != until);
            rows.extend(page.into_iter().filter(|row| origin.is_none_or(|o| o == row.origin)));
            if rows.len() >= number {
                rows.truncate(number);
                break;
            }
        }
        Ok(rows)
    }
}
