//! Refs and heads: which tree a mount shows, now and as it moves.

use std::collections::{BTreeMap, BTreeSet};

use async_stream::try_stream;
use tonic::codegen::BoxStream;

use super::{Native, id_bytes, repo, repo_message};
use crate::api::convert::{parse, time};
use crate::api::proto::pfs_v1::{self as pb, head_event::Event as Sent};
use crate::api::status::{Result, catalog, refused};
use crate::catalog::{CommitRow, Event};
use crate::model::{BranchName, CommitId, Ref, RefBase, Repo, RepoKind};
use crate::repo::RepoError;

/// Events read from the catalog at once.
const PAGE: usize = 1000;

/// Which heads a client follows.
struct Followed {
    /// Only these, or every user repo.
    repos: Vec<Repo>,
    branch: BranchName,
}

impl Followed {
    fn includes(&self, repo: &Repo) -> bool {
        match self.repos.is_empty() {
            true => repo.kind == RepoKind::User,
            false => self.repos.contains(repo),
        }
    }

    /// The repo an event is about, if it can move a head that is followed.
    fn touched(&self, event: Event) -> Option<Repo> {
        let repo = match event {
            Event::Repo(repo) => repo,
            Event::Branch(branch) => branch.repo,
            Event::Commit(commit) => commit.repo,
            Event::Project(_)
            | Event::Pipeline(_)
            | Event::Job(_)
            | Event::Transaction(_)
            | Event::Secret(_) => return None,
        };
        self.includes(&repo).then_some(repo)
    }
}

/// What a client was last told of each repo: the commit, if there is one.
type Told = BTreeMap<Repo, Option<CommitId>>;

impl Native {
    pub(super) async fn resolve_ref(
        &self,
        request: pb::ResolveRefRequest,
    ) -> Result<pb::ResolvedCommit> {
        let repo = repo(request.repo.as_ref())?;
        let reference: Ref = match request.r#ref.as_str() {
            "" => Ref::branch(BranchName::master()),
            text => parse(text)?,
        };
        let repos = &self.services.repos;
        let row = match request.exact {
            false => repos.resolve_finished(&repo, &reference).await.map_err(refused)?,
            true => {
                let row = repos.resolve(&repo, &reference).await.map_err(refused)?;
                if row.is_open() {
                    return Err(refused(RepoError::NotFinished { commit: row.commit }));
                }
                match row.error.is_some() && matches!(reference.base, RefBase::Branch(_)) {
                    // Who reads a branch passes over commits that failed.
                    true => repos.resolve_finished(&repo, &reference).await.map_err(refused)?,
                    false => row,
                }
            }
        };
        Ok(resolved(&row, reference.as_branch()))
    }

    pub(super) async fn watch_heads(
        &self,
        request: pb::WatchHeadsRequest,
    ) -> Result<BoxStream<pb::HeadEvent>> {
        let followed = Followed {
            repos: request.repos.iter().map(|name| repo(Some(name))).collect::<Result<_>>()?,
            branch: match request.branch.as_str() {
                "" => BranchName::master(),
                name => parse(name)?,
            },
        };
        let native = self.clone();
        let events = try_stream! {
            let mut news = native.services.repos.catalog().watch();
            // Read before the heads: what happens meanwhile is looked at again.
            let mut seq = *news.borrow_and_update();
            let mut told = Told::new();
            for repo in native.followed_repos(&followed).await? {
                if let Some(event) = native.news(&repo, &followed, &mut told).await {
                    yield event;
                }
            }
            yield sent(Sent::Synced(pb::Synced {}));
            while news.changed().await.is_ok() {
                let (touched, until) = native.touched(&followed, &told, seq).await?;
                seq = until;
                for repo in touched {
                    if let Some(event) = native.news(&repo, &followed, &mut told).await {
                        yield event;
                    }
                }
            }
        };
        Ok(self.services.while_running(events))
    }

    async fn followed_repos(&self, followed: &Followed) -> Result<Vec<Repo>> {
        let rows = self.services.repos.catalog().repos(None).await.map_err(|e| catalog(&e))?;
        Ok(rows.into_iter().map(|row| row.repo).filter(|repo| followed.includes(repo)).collect())
    }

    /// The repos that events after `seq` are about, and the last event's place.
    async fn touched(
        &self,
        followed: &Followed,
        told: &Told,
        mut seq: u64,
    ) -> Result<(BTreeSet<Repo>, u64)> {
        let mut touched = BTreeSet::new();
        loop {
            let page = self.services.repos.events_after(seq, PAGE).await.map_err(refused)?;
            let Some(last) = page.rows.last() else { return Ok((touched, seq)) };
            seq = last.seq;
            if page.missed {
                touched.extend(told.keys().cloned());
                touched.extend(self.followed_repos(followed).await?);
            }
            touched.extend(page.rows.into_iter().filter_map(|row| followed.touched(row.event)));
        }
    }

    /// The same as [`Native::news_of`]; one repo that fails keeps nobody from
    /// hearing about the others.
    async fn news(
        &self,
        repo: &Repo,
        followed: &Followed,
        told: &mut Told,
    ) -> Option<pb::HeadEvent> {
        let news = self.news_of(repo, followed, told).await;
        news.inspect_err(|error| tracing::warn!(%error, %repo, "a head is not told")).ok().flatten()
    }

    /// What to tell about a repo, if it differs from what was told last.
    async fn news_of(
        &self,
        repo: &Repo,
        followed: &Followed,
        told: &mut Told,
    ) -> Result<Option<pb::HeadEvent>> {
        let exists = self.services.repos.catalog().repo(repo).await.map_err(|e| catalog(&e))?;
        if exists.is_none() {
            let known = told.remove(repo).is_some();
            return Ok(known.then(|| sent(Sent::RepoRemoved(repo_message(repo)))));
        }
        let branch = repo.branch(followed.branch.clone());
        let newest = match self.services.repos.newest_finished(&branch).await {
            Err(RepoError::NotFound { .. } | RepoError::NoHead { .. }) => None,
            newest => newest.map_err(refused)?,
        };
        let id = newest.as_ref().map(|row| row.commit.id);
        if told.insert(repo.clone(), id) == Some(id) {
            return Ok(None);
        }
        Ok(Some(sent(match newest {
            Some(row) => Sent::Moved(pb::HeadMoved {
                repo: Some(repo_message(repo)),
                branch: followed.branch.as_str().to_owned(),
                commit: id_bytes(row.commit.id),
                root: row.root.encoded.to_vec(),
                finished: row.finished.map(time),
            }),
            None => Sent::Removed(pb::HeadRemoved {
                repo: Some(repo_message(repo)),
                branch: followed.branch.as_str().to_owned(),
            }),
        })))
    }
}

fn sent(event: Sent) -> pb::HeadEvent {
    pb::HeadEvent { event: Some(event) }
}

fn resolved(row: &CommitRow, branch: Option<&BranchName>) -> pb::ResolvedCommit {
    pb::ResolvedCommit {
        repo: Some(repo_message(&row.commit.repo)),
        commit: id_bytes(row.commit.id),
        root: row.root.encoded.to_vec(),
        started: Some(time(row.started)),
        finished: row.finished.map(time),
        branch: branch.map(|name| name.as_str().to_owned()).unwrap_or_default(),
    }
}
