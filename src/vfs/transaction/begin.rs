//! Beginning a transaction.

use std::sync::Arc;

use super::TransactionView;
use super::noted::Started;
use crate::model::Clock;
use crate::tree::{Root, Tree};
use crate::vfs::VfsError;
use crate::vfs::source::{Begin, Source};

/// Begins the transaction that `wanted` names, on the repo that is `place`, to be
/// mounted at `mounted`. Where its changes cannot be staged there is none.
pub async fn begin(
    source: &dyn Source,
    wanted: Begin<'_>,
    (place, mounted): (String, &str),
    clock: Arc<dyn Clock>,
) -> Result<TransactionView, VfsError> {
    let Begin { id, branch, staging, .. } = wanted;
    let base = source.begin(wanted).await?;
    let started = Started {
        version: 1,
        id,
        branch: branch.clone(),
        base: None,
        root: String::new(),
        at: clock.now(),
        server: source.identity().to_owned(),
        place,
        mounted: mounted.to_owned(),
        replaces: None,
        ended: None,
        ended_at: None,
    }
    .upon(id, base.as_ref());
    let tree = Tree::new(source.nodes(), base.map_or(Root::empty(), |base| base.root));
    match TransactionView::start(staging, started.clone(), tree, clock) {
        Ok(view) => Ok(view),
        Err(error) => {
            // Its lease ends by itself where the source does not hear of it.
            drop(source.abandon(&started, "not begun").await);
            Err(error.into())
        }
    }
}
