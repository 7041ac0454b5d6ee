//! Commits of one repo, and what they derive from.

use std::collections::HashSet;

use futures::TryStreamExt;
use tonic::codegen::BoxStream;

use super::Pfs;
use crate::api::convert::{self, CommitRef, commit_message};
use crate::api::info::{self, Relatives};
use crate::api::proto::pfs_v2 as pb;
use crate::api::service::{Services, all};
use crate::api::status::{Result, catalog, invalid, missing, refused};
use crate::catalog::{CommitRow, Reach};
use crate::model::Commit;
use crate::repo::{FinishCommit, ListCommits, StartCommit, Subscription};

/// Which way to follow provenance between commits.
#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

impl Pfs {
    pub(in crate::api) async fn start_commit(
        &self,
        request: pb::StartCommitRequest,
    ) -> Result<pb::Commit> {
        let branch = convert::branch(request.branch.as_ref())?;
        let parent = convert::optional_commit(request.parent.as_ref())?;
        if parent.as_ref().is_some_and(|parent| parent.repo != branch.repo) {
            return Err(invalid("branch and parent commit must belong to the same repo"));
        }
        let spec = StartCommit {
            repo: branch.repo,
            branch: Some(branch.name),
            parent: parent.map(|parent| parent.reference),
            description: request.description,
            author: String::new(),
            id: None,
        };
        let row = self.services.repos.start_commit(&spec).await.map_err(refused)?;
        Ok(commit_message(&row.commit, row.branch.as_ref()))
    }

    pub(in crate::api) async fn finish_commit(
        &self,
        request: pb::FinishCommitRequest,
    ) -> Result<()> {
        let row = self.resolve(request.commit.as_ref()).await?;
        let said = |text: String| (!text.is_empty()).then_some(text);
        let spec = FinishCommit {
            root: None,
            description: said(request.description),
            error: said(request.error),
        };
        self.services.repos.finish_commit(&row.commit, &spec).await.map_err(refused)?;
        Ok(())
    }

    /// Takes an open commit's tree back to its parent's.
    pub(super) async fn clear_commit(&self, request: pb::ClearCommitRequest) -> Result<()> {
        let row = self.resolve(request.commit.as_ref()).await?;
        let repos = &self.services.repos;
        let root = match row.parent {
            Some(id) => {
                let parent = row.commit.repo.commit(id);
                repos.inspect_commit(&parent).await.map_err(refused)?.root
            }
            None => Default::default(),
        };
        repos.set_root(&row.commit, &row.root.encoded, &root).await.map_err(refused)
    }

    pub(super) async fn inspect_commit(
        &self,
        request: pb::InspectCommitRequest,
    ) -> Result<pb::CommitInfo> {
        let row = self.resolve(request.commit.as_ref()).await?;
        let row = match request.wait() {
            pb::CommitState::Unknown | pb::CommitState::Started => row,
            pb::CommitState::Ready => {
                let sources = row.provenance.iter().map(|source| self.finished(source));
                futures::future::try_join_all(sources).await?;
                self.services.repos.inspect_commit(&row.commit).await.map_err(refused)?
            }
            pb::CommitState::Finishing | pb::CommitState::Finished => {
                self.finished(&row.commit).await?
            }
        };
        self.commit_info(&row).await
    }

    pub(super) async fn list_commit(
        &self,
        request: pb::ListCommitRequest,
    ) -> Result<BoxStream<pb::CommitInfo>> {
        let from = convert::optional_commit(request.from.as_ref())?;
        let to = convert::optional_commit(request.to.as_ref())?;
        let named = [&to, &from].into_iter().flatten().next().map(|commit| commit.repo.clone());
        let repo = convert::optional_repo(request.repo.as_ref())?.or(named);
        let repo = repo.ok_or_else(|| missing("repo"))?;
        let within = |commit: &CommitRef| commit.repo == repo;
        if ![&to, &from].into_iter().flatten().all(within) {
            return Err(invalid("`from` and `to` commits must be from the repo that is listed"));
        }
        let list = ListCommits {
            to: to.map(|commit| commit.reference),
            from: from.map(|commit| commit.reference),
            number: convert::limit(request.number)?,
            origin: convert::origin(request.origin_kind)?,
            oldest_first: request.reverse,
        };
        let rows = self.services.repos.list_commits(&repo, &list).await.map_err(refused)?;
        let mark = request.started_time.as_ref().map(convert::timestamp);
        let reverse = request.reverse;
        let wanted = move |row: &CommitRow| {
            mark.is_none_or(|mark| if reverse { row.started >= mark } else { row.started <= mark })
        };
        let rows = futures::stream::iter(rows.into_iter().filter(wanted).map(Ok));
        Ok(self.commit_infos(rows))
    }

    pub(super) async fn subscribe_commit(
        &self,
        request: pb::SubscribeCommitRequest,
    ) -> Result<BoxStream<pb::CommitInfo>> {
        let repo = convert::repo(request.repo.as_ref())?;
        let from = convert::optional_commit(request.from.as_ref())?;
        let branch = match request.branch.as_str() {
            "" => None,
            name => Some(convert::parse(name)?),
        };
        // Fails here rather than in the stream when there is no such repo.
        self.services.repos.inspect_repo(&repo).await.map_err(refused)?;
        let finished =
            matches!(request.state(), pb::CommitState::Finishing | pb::CommitState::Finished);
        let rows = self.services.repos.subscribe(Subscription {
            repo,
            branch,
            from: from.map(|commit| commit.reference),
            origin: convert::origin(request.origin_kind)?,
            finished,
        });
        let infos = self.commit_infos(rows.map_err(refused));
        Ok(self.services.while_running(infos))
    }

    pub(super) async fn walk_commit_provenance(
        &self,
        request: pb::WalkCommitProvenanceRequest,
    ) -> Result<BoxStream<pb::CommitInfo>> {
        let bounds = (request.max_commits, request.max_depth);
        self.walk_commits(&request.start, bounds, Way::Up).await
    }

    pub(super) async fn walk_commit_subvenance(
        &self,
        request: pb::WalkCommitSubvenanceRequest,
    ) -> Result<BoxStream<pb::CommitInfo>> {
        let bounds = (request.max_commits, request.max_depth);
        self.walk_commits(&request.start, bounds, Way::Down).await
    }

    /// The start commits and what is reached from them, breadth first; bounds
    /// of 0 are none.
    async fn walk_commits(
        &self,
        start: &[pb::CommitPicker],
        (max_commits, max_depth): (u64, u64),
        way: Way,
    ) -> Result<BoxStream<pb::CommitInfo>> {
        let mut level = self.picked(start).await?;
        let mut seen = HashSet::new();
        let mut infos = Vec::new();
        let mut depth = 0;
        while !level.is_empty() && (max_depth == 0 || depth <= max_depth) {
            let mut next = Vec::new();
            for row in level {
                if !seen.insert(row.commit.clone()) {
                    continue;
                }
                for commit in self.next_commits(&row, way).await? {
                    let found = self.services.repos.inspect_commit(&commit).await;
                    next.push(found.map_err(refused)?);
                }
                infos.push(self.commit_info(&row).await?);
                if max_commits != 0 && infos.len() as u64 == max_commits {
                    return Ok(all(infos));
                }
            }
            level = next;
            depth += 1;
        }
        Ok(all(infos))
    }

    async fn next_commits(&self, row: &CommitRow, way: Way) -> Result<Vec<Commit>> {
        let repos = &self.services.repos;
        let next = match way {
            Way::Up => repos.provenance(&row.commit, Reach::Direct).await,
            Way::Down => repos.subvenance(&row.commit, Reach::Direct).await,
        };
        next.map_err(refused)
    }

    /// The commit a message names, open or finished.
    pub(super) async fn resolve(&self, message: Option<&pb::Commit>) -> Result<CommitRow> {
        resolve(&self.services, message).await
    }

    /// The commit once it has finished.
    async fn finished(&self, commit: &Commit) -> Result<CommitRow> {
        let waited = async { self.services.repos.wait_commit(commit).await.map_err(refused) };
        self.services.until_stopped(waited).await
    }

    /// Rows as messages, one at a time.
    pub(super) fn commit_infos(
        &self,
        rows: impl futures::Stream<Item = Result<CommitRow>> + Send + 'static,
    ) -> BoxStream<pb::CommitInfo> {
        let pfs = self.clone();
        Box::pin(rows.and_then(move |row| {
            let pfs = pfs.clone();
            async move { pfs.commit_info(&row).await }
        }))
    }

    /// A commit with its children and what derives from it.
    pub(super) async fn commit_info(&self, row: &CommitRow) -> Result<pb::CommitInfo> {
        let repos = &self.services.repos;
        let children = repos.catalog().children(&row.commit).await.map_err(|e| catalog(&e))?;
        let relatives = Relatives {
            children: children.into_iter().map(|id| row.commit.repo.commit(id)).collect(),
            subvenance: repos.subvenance(&row.commit, Reach::Direct).await.map_err(refused)?,
        };
        Ok(info::commit(row, &relatives))
    }
}

/// The commit a message names, open or finished.
pub(in crate::api) async fn resolve(
    services: &Services,
    message: Option<&pb::Commit>,
) -> Result<CommitRow> {
    let CommitRef { repo, reference } = convert::commit(message)?;
    services.repos.resolve(&repo, &reference).await.map_err(refused)
}
