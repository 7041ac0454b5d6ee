//! The transactions of a mount that begins: new ones, and those that are gone
//! on with.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;

use super::left::{remedy, say};
use super::plan::MountPlan;
use super::source::Following;
use super::staging;
use crate::cli::failure::{Failure, Outcome};
use crate::model::{Branch, Clock};
use crate::vfs::transaction::{Area, Left, Resumed, begin, resume};
use crate::vfs::{Begin, Source as _, Started, TransactionView, Upon, VfsError};

/// What is known before the first transaction of a mount.
pub struct Beginning<'a> {
    pub source: &'a Following,
    area: Area,
    /// Where the mount will be.
    dir: String,
    clock: &'a Arc<dyn Clock>,
    /// Those that were asked for and are not yet in the mount.
    asked: RefCell<Vec<Left>>,
}

impl<'a> Beginning<'a> {
    /// Finds what was asked for, and removes what has been kept long enough.
    pub async fn new(
        source: &'a Following,
        plan: &MountPlan,
        dir: &Path,
        clock: &'a Arc<dyn Clock>,
    ) -> Outcome<Self> {
        let area = staging::area(plan.cache.as_deref());
        let mut asked = Vec::new();
        for id in &plan.resume {
            let Some(left) = area.find(*id)? else {
                let what = format!("transaction {id} has no changes on this machine");
                return Err(Failure::new(what).hint("its owner is in: pfs list transaction"));
            };
            if let Some(problem) = problem(source, &left).await? {
                let (at, dir) = (&left.started.mounted, left.dir.display());
                return Err(Failure::new(format!("transaction {id} {problem}"))
                    .hint(format!("it was mounted at {at}, and is kept in {dir}")));
            }
            asked.push(left);
        }
        if plan.repos.iter().any(|repo| repo.writable)
            && let Err(error) = area.sweep(source, clock.now()).await
        {
            tracing::debug!(%error, "old staging directories stay");
        }
        let (dir, asked) = (dir.to_string_lossy().into_owned(), RefCell::new(asked));
        Ok(Self { source, area, dir, clock, asked })
    }

    /// Fails when something that was asked for found no place.
    pub fn finish(&self) -> Outcome {
        let Some(left) = self.asked.borrow().first().cloned() else { return Ok(()) };
        let (id, branch) = (left.started.id, left.started.branch);
        Err(Failure::new(format!("transaction {id} is of {branch}, which is not to be written"))
            .hint(format!("name it: -r {branch}+w --resume {id}")))
    }

    /// A transaction on `branch`: the one asked for, the one that a dead mount
    /// of the same directory has left, or a new one.
    pub async fn transaction(&self, branch: &Branch) -> Outcome<TransactionView> {
        let refused =
            |error: VfsError| Failure::new(format!("{branch} cannot be written: {error}"));
        let place = self.source.place(&branch.repo).await.map_err(refused)?;
        if let Some(left) = self.take_asked(branch)
            && let Some(view) = self.go_on(&left, true).await?
        {
            return Ok(view);
        }
        let mut found = None;
        for left in self.area.left_behind(self.source.identity(), branch)? {
            if left.started.place != place {
                let Started { id, branch, .. } = &left.started;
                let kept = left.dir.display();
                say(&format!("transaction {id} of {branch} {OF_ANOTHER}; it is kept in {kept}"));
                continue;
            }
            if found.is_none() && left.started.mounted == self.dir {
                found = self.go_on(&left, false).await?;
                continue;
            }
            tell(&left, &left.failure().unwrap_or_default());
        }
        match found {
            Some(view) => Ok(view),
            None => self.fresh(branch, place).await,
        }
    }

    fn take_asked(&self, branch: &Branch) -> Option<Left> {
        let mut asked = self.asked.borrow_mut();
        let at = asked.iter().position(|left| left.started.branch == *branch)?;
        Some(asked.remove(at))
    }

    async fn go_on(&self, left: &Left, asked: bool) -> Outcome<Option<TransactionView>> {
        let Started { id, branch, .. } = &left.started;
        let refused = |error: VfsError| {
            let kept = left.dir.display();
            Failure::new(format!(
                "transaction {id} of {branch}, kept in {kept}, cannot be gone on with: {error}"
            ))
            .hint(format!("'pfs delete transaction {id}' gives it up"))
        };
        let clock = Arc::clone(self.clock);
        let resumed = resume(self.source, left, &self.dir, asked, clock).await;
        let view = match resumed.map_err(refused)? {
            Resumed::Left(why) => {
                tell(left, &why);
                return Ok(None);
            }
            Resumed::Open(view) => view,
            Resumed::Replacing(view, paths) => {
                let repo = &branch.repo;
                say(&format!(
                    "{paths}; the next commit puts what is here in its place; \
                     {repo}@{} in the mount shows the other",
                    branch.name
                ));
                view
            }
        };
        let count = view.changes().map_err(refused)?.len();
        say(&format!("going on with transaction {id} of {branch}, changes: {count}"));
        Ok(Some(view))
    }

    async fn fresh(&self, branch: &Branch, place: String) -> Outcome<TransactionView> {
        let refused =
            |error: VfsError| Failure::new(format!("{branch} cannot be written: {error}"));
        let id = self.clock.transaction_id();
        let staging = self.area.place(id)?;
        let wanted = Begin { id, branch, upon: Upon::Newest, staging: &staging };
        let clock = Arc::clone(self.clock);
        begin(self.source, wanted, (place, &self.dir), clock).await.map_err(refused)
    }
}

/// What a transaction is whose repo was deleted; one of its name is another.
const OF_ANOTHER: &str = "is of a repo that was deleted since";

/// Why nobody can go on with a transaction that was asked for.
async fn problem(source: &Following, left: &Left) -> Outcome<Option<&'static str>> {
    if left.started.server != source.identity() {
        return Ok(Some("is one of another server"));
    }
    if left.is_held() {
        return Ok(Some("is mounted"));
    }
    match source.place(&left.started.branch.repo).await {
        Ok(place) if place == left.started.place => Ok(None),
        Ok(_) | Err(VfsError::NotFound) => Ok(Some(OF_ANOTHER)),
        Err(error) => Err(Failure::new(format!("{}: {error}", left.started.branch))),
    }
}

/// Says what somebody else has left.
fn tell(left: &Left, why: &str) {
    let Started { id, branch, mounted, .. } = &left.started;
    let why = if why.is_empty() { String::new() } else { format!(": {why}") };
    say(&format!("transaction {id} of {branch} was left at {mounted}{why}"));
    say(&format!("hint: {}", remedy(left)));
}
