//! What inodes belong to: places, views, groups and transactions. Each has a
//! block while an inode or another object names it.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::heap::{BlockKind, Heap, object};
use crate::model::{CommitId, Timestamp, TransactionId};
use crate::tree::{Root, Tree};
use crate::vfs::place::Group;
use crate::vfs::transaction::TransactionView;
use crate::vfs::view::{PlacedView, View};

/// What an inode belongs to.
#[derive(Debug, Clone)]
pub(super) enum Object {
    Group(Arc<Group>),
    Place(Arc<PlacedView>),
    View(Arc<View>),
    Transaction(Arc<TransactionView>),
}

/// What another process needs to have the same object.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(in crate::vfs) enum Kept {
    /// A place by its name; the objects it names are the view it shows, and
    /// the one the kernel was told of.
    Place {
        name: String,
        #[serde(default)]
        generation: u64,
    },
    View {
        commit: Option<CommitId>,
        root: String,
        mtime: Timestamp,
    },
    Transaction {
        id: TransactionId,
    },
    /// Nothing that another process can have.
    Private,
}

impl Object {
    fn address(&self) -> usize {
        match self {
            Self::Group(group) => Arc::as_ptr(group).addr(),
            Self::Place(placed) => Arc::as_ptr(placed).addr(),
            Self::View(view) => Arc::as_ptr(view).addr(),
            Self::Transaction(transaction) => Arc::as_ptr(transaction).addr(),
        }
    }

    fn kept(&self) -> Kept {
        match self {
            Self::Group(_) => Kept::Private,
            Self::Place(placed) => {
                Kept::Place { name: placed.place.clone(), generation: placed.generation }
            }
            // Datums end with the process that runs them.
            Self::View(view) if !view.filter.is_all() || view.owner.is_some() => Kept::Private,
            Self::View(view) => Kept::View {
                commit: view.commit,
                root: hex::encode(view.tree.root().encode()),
                mtime: view.mtime,
            },
            Self::Transaction(transaction) => Kept::Transaction { id: transaction.key() },
        }
    }
}

/// The view that `commit`, `root` and `mtime` of a [`Kept::View`] stand for.
pub(in crate::vfs) fn revive(
    nodes: &crate::tree::Nodes,
    commit: Option<CommitId>,
    root: &str,
    mtime: Timestamp,
) -> io::Result<Arc<View>> {
    let bytes = hex::decode(root).map_err(io::Error::other)?;
    let tree = Tree::new(nodes, Root::decode(&bytes).map_err(io::Error::other)?);
    Ok(Arc::new(View::whole(tree, commit, mtime)))
}

/// The objects of one table, by block.
#[derive(Debug, Default)]
pub(super) struct Objects {
    blocks: HashMap<u32, Object>,
    addresses: HashMap<usize, u32>,
}

impl Objects {
    pub(super) fn get(&self, at: u32) -> Option<&Object> {
        self.blocks.get(&at)
    }

    /// The block of `object`, if it has one.
    pub(super) fn find(&self, object: &Object) -> Option<u32> {
        self.addresses.get(&object.address()).copied()
    }

    /// Says what stands behind a block that another process has made.
    pub(super) fn adopt(&mut self, at: u32, object: Object) {
        self.addresses.insert(object.address(), at);
        self.blocks.insert(at, object);
    }

    /// The block of `object`, made unless there is one; `None` when the memory
    /// is used up.
    pub(super) fn enter(&mut self, heap: &Heap, object: &Object) -> Option<u32> {
        if let Some(at) = self.find(object) {
            return Some(at);
        }
        let named = match object {
            Object::Place(placed) => {
                let shown = self.enter(heap, &Object::View(placed.now()))?;
                let told = self.enter(heap, &Object::View(placed.told()))?;
                [shown, told]
            }
            Object::Group(_) | Object::View(_) | Object::Transaction(_) => [0; 2],
        };
        let at = write(heap, object, named)?;
        named.into_iter().filter(|at| *at != 0).for_each(|at| {
            heap.add(at + object::USES, 1);
        });
        heap.link_object(at);
        self.adopt(at, object.clone());
        Some(at)
    }

    /// Makes `object` the `which`-th that the block `at` names.
    pub(super) fn rename(&mut self, heap: &Heap, at: u32, which: usize, object: &Object) {
        let Some(new) = self.enter(heap, object) else { return };
        let word = at + object::NAMED[which];
        let old = heap.memory.load(word);
        heap.add(new + object::USES, 1);
        heap.memory.store(word, new);
        self.release(heap, old);
    }

    /// One block less names the object `at`; with the last it goes.
    pub(super) fn release(&mut self, heap: &Heap, at: u32) {
        if at == 0 || heap.add(at + object::USES, -1) > 0 {
            return;
        }
        let named = object::NAMED.map(|word| heap.memory.load(at + word));
        if let Some(object) = self.blocks.remove(&at) {
            self.addresses.remove(&object.address());
        }
        heap.unlink_object(at);
        heap.free(at);
        named.into_iter().for_each(|at| self.release(heap, at));
    }
}

/// Writes the block of a new object, which nobody names yet.
fn write(heap: &Heap, object: &Object, named: [u32; 2]) -> Option<u32> {
    // A value of these types always has a text.
    let bytes = serde_json::to_vec(&object.kept()).unwrap_or_default();
    let length = u32::try_from(bytes.len()).ok()?;
    let at = heap.allocate(object::BYTES + length.div_ceil(4))?;
    heap.memory.store(at + object::USES, 0);
    for (word, named) in object::NAMED.into_iter().zip(named) {
        heap.memory.store(at + word, named);
    }
    heap.memory.store(at + object::LENGTH, length);
    heap.memory.store_bytes(at + object::BYTES, &bytes);
    heap.publish(at, BlockKind::Object, 0);
    Some(at)
}

/// What the block of an object says.
pub(super) fn read(heap: &Heap, at: u32) -> io::Result<(Kept, [u32; 2])> {
    let length = heap.memory.load(at + object::LENGTH) as usize;
    let bytes = heap.memory.load_bytes(at + object::BYTES, length);
    let named = object::NAMED.map(|word| heap.memory.load(at + word));
    Ok((serde_json::from_slice(&bytes)?, named))
}
