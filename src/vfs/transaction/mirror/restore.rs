//! From the frames that a dead process has left to a transaction.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nix::fcntl::{Flock, FlockArg};

use super::Mirror;
use super::record::{Body, Entry, Frame, Head, Shown};
use crate::chunk::Content;
use crate::model::{Clock, TreePath};
use crate::tree::{EntryKind, Nodes, Root, Tree};
use crate::vfs::VfsError;
use crate::vfs::patience::patiently;
use crate::vfs::transaction::directory::{self, hold};
use crate::vfs::transaction::journal::Journal;
use crate::vfs::transaction::node::{self, Data, Dir, Node, NodeId, Origin, Override};
use crate::vfs::transaction::noted::Noted;
use crate::vfs::transaction::recover::staging;
use crate::vfs::transaction::staged::{BLOCK, Staged, Staging, Under};
use crate::vfs::transaction::state::State;
use crate::vfs::transaction::{Refreshed, Seal, Standing, TransactionView};

/// What a process needs that goes on with the transaction of a dead one.
pub struct Attach<'a> {
    /// What [`TransactionView::mirror`] has answered.
    pub mirror: OwnedFd,
    /// What the process before held the staging directory by.
    pub lock: Option<OwnedFd>,
    /// Where trees and contents are.
    pub nodes: &'a Nodes,
    /// The time.
    pub clock: Arc<dyn Clock>,
}

/// How many bytes show through a staged file, and the blocks that it holds.
type Below = (u64, Vec<(u64, u64)>);

/// Everything that frames tell.
#[derive(Default)]
struct Everything {
    head: Option<Head>,
    nodes: HashMap<u64, Shown>,
    hidden: HashMap<u64, BTreeSet<String>>,
    under: HashMap<u64, Below>,
    last: Frame,
}

impl Everything {
    fn of(frames: Vec<Frame>) -> Self {
        let mut all = Self::default();
        for mut frame in frames {
            for entry in std::mem::take(&mut frame.entries) {
                all.take(entry);
            }
            all.last = frame;
        }
        all
    }

    fn take(&mut self, entry: Entry) {
        match entry {
            Entry::Head(head) => self.head = Some(*head),
            Entry::Node(node) => drop(self.nodes.insert(node.id, *node)),
            Entry::Gone(id) => {
                self.nodes.remove(&id);
                self.hidden.remove(&id);
            }
            Entry::Hidden { dir, name } => drop(self.hidden.entry(dir).or_default().insert(name)),
            Entry::Unhidden { dir, name } => {
                self.hidden.entry(dir).or_default().remove(&name);
            }
            Entry::Cleared(dir) => drop(self.hidden.remove(&dir)),
            Entry::Staged { file, len } => drop(self.under.insert(file, (len, Vec::new()))),
            Entry::Blocks { file, first, count } => {
                if let Some((len, blocks)) = self.under.get_mut(&file) {
                    // What shows may become more later.
                    let end = first.saturating_add(count).min(len.div_ceil(BLOCK));
                    blocks.push((first, end.saturating_sub(first)));
                }
            }
            Entry::Clip { file, len } => {
                if let Some((known, _)) = self.under.get_mut(&file) {
                    *known = len.min(*known);
                }
            }
            Entry::Show { file, len } => {
                if let Some((known, _)) = self.under.get_mut(&file) {
                    *known = len;
                }
            }
        }
    }
}

fn lost(what: &str) -> VfsError {
    VfsError::Damaged(format!("the memory of a transaction: {what}"))
}

fn tree(nodes: &Nodes, root: &str) -> Result<Tree, VfsError> {
    let bytes = hex::decode(root).map_err(|_| lost("a root is not in hex"))?;
    Ok(Tree::new(nodes, Root::decode(&bytes)?))
}

impl TransactionView {
    /// Goes on with the transaction that a process has mirrored which is dead.
    ///
    /// Nobody knows of changes that were not mirrored: whoever asked for them
    /// asks again, so they are taken from the journal. Call
    /// [`TransactionView::looked_up`] for every node that a kernel knows, then
    /// [`TransactionView::settle_down`].
    pub async fn attach(attach: Attach<'_>) -> Result<Self, VfsError> {
        let Attach { mirror, lock, nodes, clock } = attach;
        let (mut mirror, frames) = Mirror::open(mirror)?;
        let all = Everything::of(frames);
        let head = all.head.clone().ok_or_else(|| lost("it says nothing"))?;
        let lock = held(lock, &head.dir)?;
        let noted = Noted::read(&head.dir)?;
        let state = restore(nodes, &head, all).await?;
        let mut view = Self::assemble(clock, lock, state);
        view.key = head.key;
        *view.seal.get_mut() = match &head.standing {
            // What became of a commit that was under way nobody knows.
            Standing::Open if head.committing.is_some() => Seal::Unsettled,
            Standing::Open => Seal::Open,
            Standing::Unsettled(_) => Seal::Unsettled,
            Standing::Conflict(_) | Standing::Aborted(_) => Seal::Closed,
        };
        let journal = noted.journal(&head.dir);
        let switched = noted.journal != head.journal;
        match switched {
            false => {
                let journal = Journal::cut(&journal, mirror.journal)?;
                view.lock().journal = Some(journal);
            }
            true => view.finish_switch(nodes, &noted, &journal).await?,
        }
        let mut state = view.lock();
        state.key = Some(head.key);
        if let (Standing::Open, Some(_)) = (&state.standing, &state.committing) {
            let why = "the process that was committing it has died".to_owned();
            state.stand(Standing::Unsettled(why));
        }
        if switched {
            // What it changed is nowhere else.
            state.mirror_all(&mut mirror)?;
        }
        state.mirror = Some(mirror);
        state.durable_files = state.next_file();
        drop(state);
        Ok(view)
    }

    /// Brings a transaction up to the base that its directory is about
    /// already, and memory was not.
    async fn finish_switch(
        &self,
        nodes: &Nodes,
        noted: &Noted,
        journal: &Path,
    ) -> Result<(), VfsError> {
        let base = tree(nodes, &noted.started.root)?;
        let committed = noted.committed.as_deref().map(|root| tree(nodes, root)).transpose()?;
        let staged = self.lock().staged_paths()?;
        let mut contents = Vec::with_capacity(staged.len());
        for (id, path) in staged {
            let held = committed.as_ref().unwrap_or(&base);
            let Some(EntryKind::File(content)) = found(held, &path).await? else {
                return Err(VfsError::Damaged(format!("{path} is not in the commit")));
            };
            contents.push((id, content));
        }
        let mut state = self.lock();
        state.journal = Some(Journal::cut(journal, u64::MAX)?);
        // It was made: what comes next is for another one.
        state.commits(None);
        state.go_on_from(&noted.started, contents, base, committed)
    }

    /// Counts `count` lookups of `id` that a kernel has made.
    pub fn looked_up(&self, id: NodeId, count: u64) {
        if id != NodeId::ROOT {
            self.lock().look_up(id, count);
        }
    }

    /// Lets go of what no kernel knows, and reads what others have committed as
    /// far as the process before had not.
    pub async fn settle_down(&self) {
        let unrefreshed = {
            let mut state = self.lock();
            let all: Vec<NodeId> = state.nodes.keys().copied().collect();
            let all = all.into_iter().filter(|id| *id != NodeId::ROOT);
            all.for_each(|id| state.forget(id, 1));
            !state.unrefreshed.is_empty()
        };
        if unrefreshed {
            let mut seal = self.seal.write().await;
            let refreshed = self.refresh().await;
            *seal = self.settled(refreshed.as_ref().err());
        }
    }

    /// The description of the commit that the process before was about to make
    /// or had made without noting it.
    #[must_use]
    pub fn committing(&self) -> Option<String> {
        self.lock().committing.clone()
    }
}

/// The lock of the directory `dir`, by what the process before held it by if
/// that is the same one.
fn held(lock: Option<OwnedFd>, dir: &Path) -> io::Result<Flock<File>> {
    if let Some(file) = lock.map(File::from) {
        let same =
            |a: &std::fs::Metadata, b: &std::fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
        if let (Ok(ours), Ok(there)) = (file.metadata(), directory::lock_file(dir).metadata())
            && same(&ours, &there)
        {
            let held = Flock::lock(file, FlockArg::LockExclusiveNonblock);
            return held.map_err(|(_, error)| error.into());
        }
    }
    hold(dir)
}

async fn restore(nodes: &Nodes, head: &Head, mut all: Everything) -> Result<State, VfsError> {
    let base = tree(nodes, &head.started.root)?;
    let here = staging(&head.dir);
    let mut state = State::new(base.clone(), head.started.clone(), here, head.started.at);
    for root in &head.unrefreshed {
        state.unrefreshed.push(tree(nodes, root)?);
    }
    let mut elsewhere = HashMap::new();
    let shown = std::mem::take(&mut all.nodes);
    for node in shown.values() {
        let under = &mut all.under;
        let restored = restored(&state, (nodes, node), under, &mut elsewhere).await?;
        if let node::Body::File(Data::Staged(staged)) = &restored.body {
            state.unsynced.push(Arc::clone(staged));
        }
        state.nodes.insert(NodeId(node.id), restored);
    }
    for (dir, names) in all.hidden {
        let dir = state.node_mut(NodeId(dir))?.dir_mut()?;
        let gone = Override { hides: true, node: None };
        dir.overrides.extend(names.into_iter().map(|name| (name.into(), gone)));
    }
    for node in shown.values() {
        for (dir, name, over) in &node.places {
            let id = NodeId(node.id);
            let dir = state.node_mut(NodeId(*dir))?.dir_mut()?;
            match over {
                Some(hides) => {
                    let over = Override { hides: *hides, node: Some(id) };
                    dir.overrides.insert(name.as_str().into(), over);
                }
                None => drop(dir.clean.insert(name.as_str().into(), id)),
            }
        }
    }
    state.next_node = all.last.next_node;
    state.used_file(all.last.next_file.saturating_sub(1));
    state.standing = head.standing.clone();
    state.committing = head.committing.clone();
    state.unkept = head.unkept.clone();
    if head.untold {
        state.refreshed = everything_known(&state);
    }
    Ok(state)
}

/// Every name that a kernel may know.
fn everything_known(state: &State) -> Vec<Refreshed> {
    let named = state.nodes.iter().flat_map(|(id, node)| {
        let file = (!node.is_dir()).then_some(*id);
        node.places.iter().map(move |(parent, name)| (*parent, name, file))
    });
    named.map(|(parent, name, node)| Refreshed { parent, name: Arc::clone(name), node }).collect()
}

async fn restored(
    state: &State,
    (nodes, shown): (&Nodes, &Shown),
    under: &mut HashMap<u64, Below>,
    elsewhere: &mut HashMap<PathBuf, Arc<Staging>>,
) -> Result<Node, VfsError> {
    let body = match &shown.body {
        Body::Dir(base) => node::Body::Dir(Dir { base: base.clone(), ..Dir::default() }),
        Body::Symlink(target) => node::Body::Symlink(target.as_str().into()),
        Body::Inline(_) | Body::Chunks(_) => {
            let content = shown.body.content().ok_or_else(|| lost("a content"))?;
            node::Body::File(Data::Base(content))
        }
        Body::InTree => node::Body::File(Data::Base(in_tree(state, nodes, shown).await?)),
        Body::Small(start, size, dir) => {
            let staging = staging_in(dir.as_deref(), state, elsewhere);
            node::Body::File(Data::Small(staging.small_at(*start, *size)?))
        }
        Body::Staged(file, size, dir) => {
            let staging = staging_in(dir.as_deref(), state, elsewhere);
            let mut below = Under::default();
            if let Some((len, blocks)) = under.remove(file) {
                below = Under::of(in_tree(state, nodes, shown).await?, len);
                blocks.into_iter().for_each(|(first, count)| below.mark(first, count));
            }
            node::Body::File(Data::Staged(Staged::new(staging, *file, *size, below)))
        }
    };
    let [mtime, ctime, atime] = shown.times;
    let copied = shown.copied.as_ref().map(|(root, path)| -> Result<_, VfsError> {
        let root = *tree(nodes, root)?.root();
        Ok(Arc::new(Origin { root, path: path.clone() }))
    });
    let value = |(name, value): (&String, &String)| -> Result<_, VfsError> {
        let value = hex::decode(value).map_err(|_| lost("an attribute"))?;
        Ok((Arc::from(name.as_str()), Arc::from(value)))
    };
    Ok(Node {
        mode: shown.mode,
        uid: shown.uid,
        gid: shown.gid,
        mtime,
        ctime,
        atime,
        origin: shown.origin.clone(),
        copied: copied.transpose()?,
        attributes: shown.attributes.iter().map(value).collect::<Result<BTreeMap<_, _>, _>>()?,
        places: shown
            .places
            .iter()
            .map(|(d, name, _)| (NodeId(*d), name.as_str().into()))
            .collect(),
        changed: shown.changed,
        timed: shown.timed,
        // Until it is known which of them a kernel knows.
        lookups: 1,
        body,
    })
}

/// The staged files in `dir`, or in the directory of `state`.
fn staging_in(
    dir: Option<&Path>,
    state: &State,
    elsewhere: &mut HashMap<PathBuf, Arc<Staging>>,
) -> Arc<Staging> {
    let Some(dir) = dir else { return Arc::clone(&state.staging) };
    let other = elsewhere.entry(dir.to_owned()).or_insert_with(|| {
        let other = Staging::new(dir.to_owned());
        other.keep();
        Arc::new(other)
    });
    Arc::clone(other)
}

/// What the tree has that `shown` comes from.
async fn in_tree(state: &State, nodes: &Nodes, shown: &Shown) -> Result<Content, VfsError> {
    let (trees, path) = match (&shown.copied, &shown.origin) {
        (Some((root, path)), _) => (vec![tree(nodes, root)?], path),
        // What others have removed is in a tree of before, until that is told.
        (None, Some(path)) => {
            let before = state.unrefreshed.iter().rev().cloned();
            (std::iter::once(state.base.clone()).chain(before).collect(), path)
        }
        (None, None) => return Err(lost("a file comes from nowhere")),
    };
    for tree in trees {
        if let Some(EntryKind::File(content)) = found(&tree, path).await? {
            return Ok(content);
        }
    }
    Err(VfsError::Damaged(format!("{path} is not in its tree")))
}

/// What `tree` has at `path`. A store that is away is waited for: those who use
/// the mount wait as well, and the next process would find the same.
async fn found(tree: &Tree, path: &TreePath) -> Result<Option<EntryKind>, VfsError> {
    loop {
        match patiently(|| async { Ok(tree.get(path).await?.map(|entry| entry.kind)) }).await {
            Err(VfsError::Unavailable(why)) => {
                tracing::warn!(why, "a transaction cannot be gone on with yet");
            }
            answer => return answer,
        }
    }
}
