//! From what users write to the commit they mean.

use super::{RepoError, Repos, Result};
use crate::catalog::{Back, CommitRow, Job, Pipeline};
use crate::model::{
    Branch, BranchName, Commit, CommitId, InvalidRef, Move, Ref, RefBase, Repo, RepoKind, Timestamp,
};

/// The fewest digits that stand for a commit id.
const PREFIX_MIN: usize = 8;

/// How many of those an ambiguous prefix stands for are named.
const SHOWN: usize = 3;

impl Repos {
    /// The commit a ref names, open or finished. A branch without a head is
    /// [`RepoError::NoHead`].
    pub async fn resolve(&self, repo: &Repo, reference: &Ref) -> Result<CommitRow> {
        let start = match &reference.base {
            RefBase::Branch(name) => self.branch_or_prefix(repo, name).await?,
            RefBase::Commit(id) => self.inspect_commit(&repo.commit(*id)).await?,
            RefBase::Time(text) => self.at_time(repo, text).await?,
        };
        self.step_back(start, reference).await
    }

    /// One commit by its full id.
    pub async fn inspect_commit(&self, commit: &Commit) -> Result<CommitRow> {
        match self.catalog.commit(commit).await? {
            Some(row) => Ok(row),
            None => Err(self.no_commit(&commit.repo, commit.to_string()).await?),
        }
    }

    async fn no_commit(&self, repo: &Repo, name: String) -> Result<RepoError> {
        self.repo_row(repo).await?;
        Ok(RepoError::NotFound { kind: "commit", name, nearest: None })
    }

    /// The newest commit at or before the head of `branch` that finished
    /// without error: what mounts and readers see. `None` for a branch that
    /// has none yet.
    pub async fn newest_finished(&self, branch: &Branch) -> Result<Option<CommitRow>> {
        match self.inspect_branch(branch).await?.head {
            Some(head) => Ok(self.catalog.ancestor(&branch.repo.commit(head), Back::Good).await?),
            None => Ok(None),
        }
    }

    /// The commit whose tree a reader of `reference` sees: of a branch the
    /// newest good one at or before what is named, else the commit named,
    /// which must be finished. Steps count from the head, as everywhere.
    pub async fn resolve_finished(&self, repo: &Repo, reference: &Ref) -> Result<CommitRow> {
        let row = self.resolve(repo, reference).await?;
        if let RefBase::Branch(name) = &reference.base {
            let branch = repo.branch(name.clone());
            // What is no branch was the first digits of an id.
            if self.catalog.branch(&branch).await?.is_some() {
                let found = self.catalog.ancestor(&row.commit, Back::Good).await?;
                return found.ok_or(RepoError::NoHead { branch });
            }
        }
        match row.is_open() {
            true => Err(RepoError::NotFinished { commit: row.commit }),
            false => Ok(row),
        }
    }

    async fn branch_or_prefix(&self, repo: &Repo, name: &BranchName) -> Result<CommitRow> {
        let branch = repo.branch(name.clone());
        let Some(row) = self.catalog.branch(&branch).await? else {
            return self.by_prefix(&branch).await;
        };
        let found = match row.head {
            Some(head) => self.catalog.commit(&repo.commit(head)).await?,
            None => None,
        };
        found.ok_or(RepoError::NoHead { branch })
    }

    /// The commit whose id begins with what is no branch.
    async fn by_prefix(&self, branch: &Branch) -> Result<CommitRow> {
        let (repo, digits) = (&branch.repo, branch.name.as_str());
        if !is_hex(digits) {
            return Err(self.no_branch(branch).await?);
        }
        let found = self.catalog.commits_by_prefix(repo, digits, SHOWN).await?;
        match found[..] {
            [] => Err(self.no_branch(branch).await?),
            // A few letters are more likely a branch that is not there.
            _ if digits.len() < PREFIX_MIN / 2 => Err(self.no_branch(branch).await?),
            _ if digits.len() < PREFIX_MIN => Err(RepoError::TooShort { branch: branch.clone() }),
            [id] => self.inspect_commit(&repo.commit(id)).await,
            _ => Err(RepoError::Ambiguous {
                kind: "commit",
                prefix: digits.to_owned(),
                repo: Some(repo.to_string()),
                candidates: found,
            }),
        }
    }

    /// The id of the commit set that `text` names: all digits, or enough of
    /// the first ones.
    pub async fn resolve_set(&self, text: &str) -> Result<CommitId> {
        if let Ok(id) = text.parse() {
            return Ok(id);
        }
        if !is_hex(text) || text.len() < PREFIX_MIN {
            let rule = "expected 32 lower-case hex digits of an id, or 8 or more of the first";
            return Err(InvalidRef::Syntax { text: text.to_owned(), rule }.into());
        }
        let found = self.catalog.sets_by_prefix(text, SHOWN).await?;
        let (kind, prefix) = ("commit set", text.to_owned());
        match found[..] {
            [] => Err(RepoError::NotFound { kind, name: prefix, nearest: None }),
            [id] => Ok(id),
            _ => Err(RepoError::Ambiguous { kind, prefix, repo: None, candidates: found }),
        }
    }

    /// The job of a pipeline that `text` names: an id, its first digits, or
    /// any other ref to the job's output commit.
    pub async fn resolve_job(&self, pipeline: &Pipeline, text: &str) -> Result<Job> {
        let pipeline = pipeline.clone();
        if let Ok(id) = text.parse() {
            return Ok(Job { pipeline, id });
        }
        self.inspect_pipeline(&pipeline).await?;
        let output = Repo::of_pipeline(&pipeline.project, &pipeline.name, RepoKind::User);
        let id = self.resolve(&output, &text.parse()?).await?.commit.id;
        Ok(Job { pipeline, id })
    }

    /// The newest commit of `master` finished at a time or before.
    async fn at_time(&self, repo: &Repo, text: &str) -> Result<CommitRow> {
        let time = parse_time(text).ok_or_else(|| InvalidRef::Syntax {
            text: text.to_owned(),
            rule: "expected a time like 2026-11-20T10:00:00Z or a date like 2026-11-20",
        })?;
        let branch = repo.branch(BranchName::master());
        let head = self.inspect_branch(&branch).await?.head;
        let head = head.ok_or(RepoError::NoHead { branch })?;
        match self.catalog.ancestor(&repo.commit(head), Back::GoodAt(time)).await? {
            Some(row) => Ok(row),
            None => Err(self.no_commit(repo, format!("{repo}@{text}")).await?),
        }
    }

    async fn step_back(&self, start: CommitRow, reference: &Ref) -> Result<CommitRow> {
        let mut row = start;
        for step in &reference.moves {
            let back = match *step {
                Move::Ancestor(steps) | Move::Parent(steps) => Back::Steps(steps.into()),
                Move::FromStart(number) => Back::Number(number.into()),
            };
            row = match self.catalog.ancestor(&row.commit, back).await? {
                Some(row) => row,
                None => {
                    let repo = &row.commit.repo;
                    return Err(self.no_commit(repo, format!("{repo}@{reference}")).await?);
                }
            };
        }
        Ok(row)
    }
}

/// Whether `text` may be (part of) an id.
fn is_hex(text: &str) -> bool {
    text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// A time with its zone, one without (then UTC), or a date: all of that day,
/// UTC.
fn parse_time(text: &str) -> Option<Timestamp> {
    let instant =
        |time: jiff::Timestamp| i64::try_from(time.as_nanosecond()).ok().map(Timestamp::from_nanos);
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return instant(time);
    }
    let civil = match text.parse::<jiff::civil::Date>() {
        Ok(day) if text.len() == 10 => day.at(23, 59, 59, 999_999_999),
        _ => text.parse::<jiff::civil::DateTime>().ok()?,
    };
    instant(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp())
}

#[cfg(test)]
#[path = "resolve/tests.rs"]
mod tests;
