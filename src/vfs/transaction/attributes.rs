//! Extended attributes that programs set: kept with the changes of a
//! transaction, and in no commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::TransactionView;
use super::journal::Record;
use super::node::NodeId;
use super::state::State;
use crate::model::TreePath;
use crate::vfs::VfsError;
use crate::vfs::types::XattrMode;

/// The attributes of one node, by name.
pub(super) type Attributes = BTreeMap<Arc<str>, Arc<[u8]>>;

/// Bytes in all names and values of a node, at most.
const ROOM: usize = 256 << 10;

impl TransactionView {
    /// The value of the attribute `name`.
    pub fn attribute(&self, id: NodeId, name: &str) -> Result<Vec<u8>, VfsError> {
        let state = self.lock();
        let value = state.node(id)?.attributes.get(name).ok_or(VfsError::NoAttribute)?;
        Ok(value.to_vec())
    }

    /// The names of all attributes, in order.
    pub fn attribute_names(&self, id: NodeId) -> Result<Vec<Arc<str>>, VfsError> {
        Ok(self.lock().node(id)?.attributes.keys().cloned().collect())
    }

    /// Sets the attribute `name`.
    pub async fn set_attribute(
        &self,
        id: NodeId,
        name: &str,
        value: &[u8],
        mode: XattrMode,
    ) -> Result<(), VfsError> {
        let _open = self.writable().await?;
        let mut state = self.lock();
        let attributes = &state.node(id)?.attributes;
        match (mode, attributes.contains_key(name)) {
            (XattrMode::Create, true) => return Err(VfsError::Exists),
            (XattrMode::Replace, false) => return Err(VfsError::NoAttribute),
            (XattrMode::Set, _) | (XattrMode::Create, false) | (XattrMode::Replace, true) => {}
        }
        let others = attributes.iter().filter(|(known, _)| &***known != name);
        let taken: usize = others.map(|(name, value)| name.len() + value.len()).sum();
        if taken + name.len() + value.len() > ROOM {
            return Err(VfsError::NoSpace("too many extended attributes".into()));
        }
        self.change_attribute(&mut state, id, name, Some(value))
    }

    /// Removes the attribute `name`.
    pub async fn remove_attribute(&self, id: NodeId, name: &str) -> Result<(), VfsError> {
        let _open = self.writable().await?;
        let mut state = self.lock();
        match state.node(id)?.attributes.contains_key(name) {
            true => self.change_attribute(&mut state, id, name, None),
            false => Err(VfsError::NoAttribute),
        }
    }

    /// Sets or removes an attribute of the node at `path` as a journal tells.
    pub(super) async fn reattribute(
        &self,
        path: &TreePath,
        name: &str,
        value: Option<String>,
    ) -> Result<(), VfsError> {
        let node = self.at(path).await?;
        let value = value.map(hex::decode).transpose();
        let value = value.map_err(|_| VfsError::Damaged("an attribute is not in hex".into()))?;
        put(&mut self.lock(), node.id, name, value.as_deref())
    }

    fn change_attribute(
        &self,
        state: &mut State,
        id: NodeId,
        name: &str,
        value: Option<&[u8]>,
    ) -> Result<(), VfsError> {
        if let Some(path) = state.path(id)? {
            let (name, value) = (name.to_owned(), value.map(hex::encode));
            state.log(&Record::Xattr { path, name, value })?;
        }
        put(state, id, name, value)?;
        state.node_mut(id)?.ctime = self.clock.now();
        Ok(())
    }
}

/// Gives `id` the attribute, or takes it away without `value`.
fn put(state: &mut State, id: NodeId, name: &str, value: Option<&[u8]>) -> Result<(), VfsError> {
    let attributes = &mut state.node_mut(id)?.attributes;
    match value {
        Some(value) => drop(attributes.insert(name.into(), value.into())),
        None => drop(attributes.remove(name)),
    }
    // Or memory might let go of it.
    state.touch(id)
}
