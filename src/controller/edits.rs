//! Applying edits that are at hand.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::error::{ControllerError, Result};
use crate::chunk::PackWriter;
use crate::model::TreePath;
use crate::tree::{ApplyOptions, Edit, Nodes, Root, apply};

/// The tree that edits in path order make of `base`.
pub(super) fn apply_all<E>(
    nodes: &Nodes,
    writer: &PackWriter,
    base: Root,
    edits: E,
    options: ApplyOptions,
) -> BoxFuture<'static, Result<Root>>
where
    E: IntoIterator<Item = (TreePath, Edit), IntoIter: Send + 'static>,
{
    let (nodes, writer, edits) = (nodes.clone(), writer.clone(), edits.into_iter());
    async move {
        let edits = futures::stream::iter(edits.map(Ok::<_, ControllerError>));
        apply(&nodes, &writer, &base, edits, options).await
    }
    .boxed()
}
