//! Applying edits that are at hand.

use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::error::{ControllerError, Result};
use crate::chunk::PackWriter;
use crate::model::TreePath;
use crate::tree::{ApplyOptions, Edit, Nodes, Root, apply};

/// The tree that edits in path order make of `base`.
pub(super) fn apply_all(
    nodes: &Nodes,
    writer: &PackWriter,
    base: Root,
    edits: Vec<(TreePath, Edit)>,
    options: ApplyOptions,
) -> BoxFuture<'static, Result<Root>> {
    let (nodes, writer) = (nodes.clone(), writer.clone());
    async move {
        let edits = futures::stream::iter(edits.into_iter().map(Ok::<_, ControllerError>));
        apply(&nodes, &writer, &base, edits, options).await
    }
    .boxed()
}
