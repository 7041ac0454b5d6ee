//! Waiting for commits.

use futures::stream::BoxStream;
use tokio::sync::watch;

use super::{RepoError, Repos, Result};
use crate::catalog::{CatalogError, CommitQuery, CommitRow, Origin};
use crate::model::{BranchName, Commit, CommitId, Ref, Repo};

/// Which commits to be told of.
#[derive(Debug, Clone)]
pub struct Subscription {
    /// The repo.
    pub repo: Repo,
    /// Only those made on this branch.
    pub branch: Option<BranchName>,
    /// Only those made after this one; `None`: from the first.
    pub from: Option<Ref>,
    /// Only those of this origin.
    pub origin: Option<Origin>,
    /// Tell of a commit when it has finished rather than when it opens.
    pub finished: bool,
}

impl Repos {
    /// The commit, once it has finished.
    pub async fn wait_commit(&self, commit: &Commit) -> Result<CommitRow> {
        let mut news = self.catalog.watch();
        loop {
            news.borrow_and_update();
            let row = self.inspect_commit(commit).await?;
            if !row.is_open() {
                return Ok(row);
            }
            changed(&mut news).await?;
        }
    }

    /// All commits of a set, upstream first, once all have finished.
    pub async fn wait_commit_set(&self, id: CommitId) -> Result<Vec<CommitRow>> {
        let mut news = self.catalog.watch();
        loop {
            news.borrow_and_update();
            let rows = self.inspect_commit_set(id).await?;
            if !rows.iter().any(CommitRow::is_open) {
                return Ok(rows);
            }
            changed(&mut news).await?;
        }
    }

    /// Commits in creation order: those there are, then new ones as they come.
    /// Ends only with an error, e.g. when the repo is deleted.
    #[must_use]
    pub fn subscribe(&self, to: Subscription) -> BoxStream<'static, Result<CommitRow>> {
        let repos = self.clone();
        Box::pin(async_stream::try_stream! {
            let mut query = repos.subscription(&to).await?;
            let mut news = repos.catalog.watch();
            loop {
                news.borrow_and_update();
                repos.repo_row(&to.repo).await?;
                let page = repos.catalog.commits(&query).await?;
                if page.is_empty() {
                    changed(&mut news).await?;
                }
                for row in page {
                    query.after = Some(row.seq);
                    if let Some(row) = repos.told(&to, row).await? {
                        yield row;
                    }
                }
            }
        })
    }

    async fn subscription(&self, to: &Subscription) -> Result<CommitQuery> {
        const PAGE: usize = 100;
        let after = match &to.from {
            Some(from) => Some(self.resolve(&to.repo, from).await?.seq),
            None => None,
        };
        let mut query = CommitQuery::newest(to.repo.clone());
        query.branch.clone_from(&to.branch);
        query.origin = to.origin;
        query.after = after;
        query.oldest_first = true;
        query.limit = PAGE;
        Ok(query)
    }

    /// The commit as the subscriber wants it; `None` when it was removed
    /// before it finished.
    async fn told(&self, to: &Subscription, row: CommitRow) -> Result<Option<CommitRow>> {
        if !to.finished || !row.is_open() {
            return Ok(Some(row));
        }
        match self.wait_commit(&row.commit).await {
            Ok(row) => Ok(Some(row)),
            Err(RepoError::NotFound { kind: "commit", .. }) => Ok(None),
            Err(e) => Err(e),
        }
    }
}

/// The next event; an error when the catalog is closed.
async fn changed(news: &mut watch::Receiver<u64>) -> Result<()> {
    let closed = |_| CatalogError::Failed { message: "the catalog was closed".into() };
    Ok(news.changed().await.map_err(closed)?)
}
