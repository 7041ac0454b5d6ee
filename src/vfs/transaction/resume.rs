//! Going on with a transaction that was left behind.

use std::sync::Arc;

use super::TransactionView;
use super::directory::Left;
use super::noted::Started;
use crate::model::{Clock, Ref};
use crate::tree::Tree;
use crate::vfs::VfsError;
use crate::vfs::source::{Begin, Fate, Source, Upon};

/// What became of an attempt to go on with a transaction.
#[derive(Debug)]
pub enum Resumed {
    /// It goes on.
    Open(TransactionView),
    /// It goes on in place of what others have changed: the paths, for people.
    Replacing(TransactionView, String),
    /// Only an explicit request goes on with it, for this reason.
    Left(String),
}

/// Goes on with `left`, mounted at `mounted` now. Unless `asked`, only as long
/// as nothing else has become of it. With a conflict its changes take the
/// place of what others have changed by now; once it is over, they become
/// those of another transaction upon the same base.
pub async fn resume(
    source: &dyn Source,
    left: &Left,
    mounted: &str,
    asked: bool,
    clock: Arc<dyn Clock>,
) -> Result<Resumed, VfsError> {
    let mut started = Started { mounted: mounted.to_owned(), ..left.started.clone() };
    let fate = match &left.started.ended {
        Some(reason) => Fate::Over(reason.clone()),
        None => source.fate(started.id).await?,
    };
    let mut replacing = None;
    match fate {
        Fate::Open => source.adopt(&started, &left.dir).await?,
        Fate::Conflict(paths) if asked => {
            let branch = Ref::branch(started.branch.name.clone());
            let head = source.resolve(&started.branch.repo, Some(&branch)).await?;
            started.replaces = head.map(|head| head.commit);
            source.adopt(&started, &left.dir).await?;
            replacing = Some(paths);
        }
        Fate::Over(_) | Fate::Unknown if asked => {
            started.id = clock.transaction_id();
            (started.ended, started.ended_at) = (None, None);
            let Started { id, branch, base, .. } = &started;
            let upon = Upon::Base(*base);
            source.begin(Begin { id: *id, branch, upon, staging: &left.dir }).await?;
        }
        Fate::Conflict(paths) => return Ok(Resumed::Left(paths)),
        Fate::Over(reason) => return Ok(Resumed::Left(reason)),
        Fate::Unknown => return Ok(Resumed::Left("the server does not know it".to_owned())),
    }
    let base = Tree::new(source.nodes(), started.root()?);
    let view = TransactionView::recover(&left.dir, started, base, clock).await?;
    Ok(match replacing {
        Some(paths) => Resumed::Replacing(view, paths),
        None => Resumed::Open(view),
    })
}
