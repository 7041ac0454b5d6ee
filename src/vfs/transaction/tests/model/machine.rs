//! A view and its model, side by side.

use std::collections::BTreeSet;
use std::sync::Arc;

use tempfile::TempDir;

use super::super::{edited, started};
use super::LARGE;
use super::agreement::{agrees, is_conflict, is_merge};
use super::branch::SharedBranch;
use super::crashes::Durable;
use super::memory::{Memory, Tree as Shown, within};
use super::operations::Op;
use super::viewed::{Handles, Names, Viewed, held, p};
use crate::chunk::{BlobConfig, Blobs, Content, FileWriter};
use crate::model::{Clock as _, SystemClock, Timestamp};
use crate::store::Store;
use crate::tree::{Edit, Entry, EntryKind, NodeCache, Nodes, Root, Tree};
use crate::vfs::VfsError;
use crate::vfs::source::Source as _;
use crate::vfs::transaction::journal::boot;
use crate::vfs::transaction::{Started, Then, TransactionView, inspect};
use crate::vfs::types::Attr;

/// What happens to a view.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Do(Op),
    /// The process dies while the operation is noted.
    Torn(Op, u16),
    /// A directory is listed while something is done.
    List(String, Vec<Op>),
    /// A commit, so many of whose answers are lost.
    Commit(u32),
    /// Another transaction, committed at once.
    Others(Vec<Op>),
    Follow,
    Abort,
    /// The process dies, and another one goes on.
    Crash,
    LosePower(u64),
}

pub(super) struct Machine {
    _scratch: TempDir,
    pub(super) view: Option<TransactionView>,
    pub(super) open: Handles,
    pub(super) keeps: bool,
    /// What a kernel knows of names, where nothing is given back.
    pub(super) names: Names,
    pub(super) source: Arc<SharedBranch>,
    pub(super) ours: Memory,
    /// What the transaction and the branch started from, and the branch is at.
    pub(super) base: Shown,
    pub(super) head: Shown,
    pub(super) durable: Durable,
    /// When all this began, as a coarse clock tells it.
    pub(super) start: i64,
    pub(super) boot: String,
    pub(super) boots: u32,
}

/// Twins in two directories, links, and a file of many blocks if so.
pub(super) async fn first(large: bool) -> Tree {
    let blobs = Blobs::new(Store::memory(), Arc::new(SystemClock), BlobConfig::default());
    let nodes = Nodes::new(blobs, NodeCache::new(1 << 20));
    let time = Timestamp::default();
    let text = |text: &str| Entry::file(Content::Inline(text.to_owned().into()), time);
    let link = Entry { kind: EntryKind::Symlink("x".into()), mode: 0o777, mtime: time };
    let mut entries = vec![
        ("a", Entry::dir(time)),
        ("a/b", Entry::dir(time)),
        ("a/b/c", text("deep in the base")),
        ("a/c", text("a twin of another")),
        ("b", Entry::dir(time)),
        ("b/a", Entry::dir(time)),
        ("b/b", text("a twin of another")),
        ("b/c", link),
        ("c", text("a file at the top")),
    ];
    if large {
        let writer = nodes.blobs().writer();
        let mut file = FileWriter::new(&writer, &[]);
        let bytes: Vec<u8> = (0..LARGE).map(|at| b'0' + (at / 300 % 64) as u8).collect();
        file.write(bytes.into()).await.unwrap();
        entries.push(("large", Entry::file(file.finish().await.unwrap(), time)));
        writer.flush().await.unwrap();
    }
    let edits = entries.into_iter().map(|(path, entry)| (p(path), Edit::Put(entry)));
    edited(&Tree::new(&nodes, Root::empty()), edits.collect()).await
}

fn model_of(tree: &Shown) -> Memory {
    let mut memory = Memory::default();
    memory.show(tree);
    memory
}

impl Machine {
    pub(super) async fn new(large: bool, keeps: bool) -> Self {
        let tree = first(large).await;
        let scratch = tempfile::tempdir().unwrap();
        let source = Arc::new(SharedBranch::new(&tree));
        let view = begin(&scratch, &source);
        let head = held(&tree).await;
        let mut machine = Self {
            durable: Durable::default(),
            start: SystemClock.now().as_nanos() - 100_000_000,
            ours: model_of(&head),
            base: head.clone(),
            head,
            _scratch: scratch,
            view: Some(view),
            open: Handles::new(),
            keeps,
            names: Names::new(),
            source,
            boot: boot(),
            boots: 0,
        };
        machine.secure();
        machine
    }

    pub(super) fn view(&self) -> &TransactionView {
        self.view.as_ref().unwrap()
    }

    pub(super) fn viewed(&mut self) -> Viewed<'_> {
        Viewed { view: self.view.as_ref().unwrap(), open: &mut self.open, keeps: self.keeps }
    }

    pub(super) async fn step(&mut self, step: Step) {
        let told = format!("{step:?}");
        match step {
            Step::Do(op) => self.run(&op).await,
            Step::Torn(op, at) => self.torn(&op, at).await,
            Step::List(dir, ops) => self.list(&dir, &ops).await,
            Step::Commit(silent) => self.commit(silent).await,
            Step::Others(ops) => self.others(&ops).await,
            Step::Follow => self.follow().await,
            Step::Abort => self.abort().await,
            Step::Crash => self.crash().await,
            Step::LosePower(choices) => self.lose_power(choices).await,
        }
        self.check(&told).await;
    }

    /// The view shows what the model does.
    pub(super) async fn check(&mut self, when: &str) {
        let ((found, names), handles) = {
            let viewed = self.viewed();
            (viewed.tree().await, viewed.handles().await)
        };
        self.names = names;
        agrees(when, &found, &self.ours.seen(), self.start);
        assert_eq!(handles, self.ours.handles(), "{when}: open files");
    }

    /// The operation is allowed as the model says.
    pub(super) async fn run(&mut self, op: &Op) {
        let done = self.viewed().run(op).await;
        let wanted = self.ours.run(op);
        assert_eq!(wanted, done.is_ok(), "{op:?}: {done:?}");
        if let Err(error) = done {
            assert!(is_refusal(&error), "{op:?}: {error:?}");
        }
        self.durable.note(&self.ours);
        if wanted && matches!(op, Op::Sync(_)) {
            self.secure();
        }
    }

    async fn list(&mut self, dir: &str, ops: &[Op]) {
        let Some(id) = self.ours.id(dir).filter(|_| self.ours.is_dir(dir)) else { return };
        let pin = self.view().at(&p(dir)).await.unwrap().keep();
        let names = |memory: &Memory| -> BTreeSet<String> {
            let below = memory.seen().into_keys().filter(|path| path != dir && within(path, dir));
            let names = below.map(|path| path[dir.len() + 1..].to_owned());
            names.filter(|name| !name.contains('/')).collect()
        };
        let (mut always, mut ever) = (names(&self.ours), names(&self.ours));
        let (mut listed, mut rest) = (Vec::<String>::new(), ops.iter());
        loop {
            let page = self.view().list(pin, listed.last().map(String::as_str), 1).await.unwrap();
            page.iter().for_each(|(_, id, _)| self.view().forget(*id, 1));
            let Some((name, ..)) = page.first() else { break };
            listed.push(name.to_string());
            if let Some(op) = rest.next() {
                self.run(op).await;
                if self.ours.id(dir) != Some(id) {
                    break;
                }
                let now = names(&self.ours);
                always = always.intersection(&now).cloned().collect();
                ever.extend(now);
            }
        }
        self.view().forget(pin, 1);
        if self.ours.id(dir) == Some(id) {
            let listed: BTreeSet<_> = listed.into_iter().collect();
            assert!(always.is_subset(&listed), "{always:?} were there, {listed:?} listed");
            assert!(listed.is_subset(&ever), "{ever:?} were ever there, {listed:?} listed");
        }
    }

    /// A kernel was told of every name that leads elsewhere now.
    async fn told(&mut self) {
        let refreshed = self.view().take_refreshed();
        for ((dir, name), (id, attr)) in std::mem::take(&mut self.names) {
            // What is below a directory that is gone goes with it.
            if self.view().path_of(dir).is_none() {
                continue;
            }
            let now = self.view().lookup(dir, &name).await.ok().flatten();
            if let Some((id, _)) = now {
                self.view().forget(id, 1);
            }
            let same = now.is_some_and(|(now, new)| now == id && shown(&new) == shown(&attr));
            let known = refreshed.iter().any(|told| told.parent == dir && *told.name == *name);
            assert!(
                !self.keeps || same || known,
                "nobody was told that {name} in {dir:?}, {id:?}, {attr:?} is {now:?}"
            );
        }
    }

    async fn commit(&mut self, silent: u32) {
        let source = Arc::clone(&self.source);
        if silent > 2 {
            self.commit_unheard(&source).await;
        }
        source.lose_answers(silent % 3);
        let mut done = self.view().commit(&*source, "", Then::GoOn).await;
        while let Err(VfsError::Unsettled(_)) = done {
            let refused = self.viewed().run(&Op::Create("unsettled".into(), 0o600)).await;
            assert!(matches!(refused, Err(VfsError::Unavailable(_))), "{refused:?}");
            done = self.view().commit(&*source, "", Then::GoOn).await;
        }
        source.lose_answers(0);
        let (base, head) = (self.base.clone(), self.head.clone());
        match done {
            Ok(Some(_)) => {
                let mut ours = self.ours.clone();
                ours.commit();
                let found = held(&source.tree()).await;
                match base == head {
                    true => {
                        agrees("the commit", &found, &ours.seen(), self.start);
                        ours.learn(&found);
                    }
                    false => is_merge(&found, &base, &ours.seen(), &head),
                }
                ours.show(&found);
                (self.ours, self.base, self.head) = (ours, found.clone(), found);
                self.boot = boot();
                self.told().await;
                self.secure();
            }
            Ok(None) => agrees("nothing to commit", &base, &without_xattrs(&self.ours), self.start),
            Err(VfsError::Conflict(why)) => {
                is_conflict(&why, &base, &self.ours.seen(), &head);
                self.conflict().await;
            }
            Err(error) => panic!("{error:?}"),
        }
    }

    /// The answer is lost, and the process dies before it asks again.
    async fn commit_unheard(&mut self, source: &SharedBranch) {
        source.lose_answers(1);
        let done = self.view().commit(source, "", Then::GoOn).await;
        source.lose_answers(0);
        if let Err(VfsError::Unsettled(_)) = done {
            self.head = held(&source.tree()).await;
            self.crash().await;
            self.check("a commit that was not heard of").await;
        }
    }

    /// Both are kept, and nothing can be written.
    async fn conflict(&mut self) {
        assert_eq!(self.view().standing().0, "CONFLICT");
        let refused = self.viewed().run(&Op::Create("conflict".into(), 0o600)).await;
        assert!(matches!(refused, Err(VfsError::ReadOnly)), "{refused:?}");
        self.check("a conflict").await;
        assert_eq!(held(&self.source.tree()).await, self.head, "a conflict");
        self.abort().await;
    }

    async fn others(&mut self, ops: &[Op]) {
        let dir = tempfile::tempdir().unwrap();
        let view = begin(&dir, &self.source);
        let (mut memory, mut open) = (model_of(&self.head), Handles::new());
        for op in ops {
            let mut viewed = Viewed { view: &view, open: &mut open, keeps: false };
            let done = viewed.run(op).await;
            assert_eq!(memory.run(op), done.is_ok(), "{op:?}: {done:?}");
        }
        view.commit(&*self.source, "", Then::End).await.unwrap();
        memory.commit();
        self.head = held(&self.source.tree()).await;
        agrees("what others committed", &self.head, &memory.seen(), self.start);
    }

    async fn follow(&mut self) {
        let touched = self.view().lock().is_touched().unwrap();
        let (before, head) = (self.view().base_commit(), Some(self.source.head().commit));
        self.view().follow(&*self.source).await.unwrap();
        let follows = !touched && before != head;
        assert_eq!(self.view().base_commit(), if follows { head } else { before });
        if follows {
            self.ours.show(&self.head);
            self.base = self.head.clone();
            self.boot = boot();
            self.told().await;
            self.secure();
        }
    }

    async fn abort(&mut self) {
        let (kept, base) = (self.view().dir(), self.view().base());
        let during = self.boot.clone();
        self.view().abort(&*self.source, "given up").await.unwrap();
        // What was given up can be looked at.
        let clock = Arc::new(SystemClock);
        let about = inspect(&kept).unwrap();
        let again = TransactionView::recover_during(&during, (&kept, about), base, clock).await;
        let mut open = Handles::new();
        let again = Viewed { view: &again.unwrap(), open: &mut open, keeps: false }.tree().await.0;
        agrees("what was given up", &again, &self.ours.seen(), self.start);
        self.ours.abort(&self.head);
        self.base = self.head.clone();
        self.boot = boot();
        self.told().await;
        self.secure();
    }

    /// A last crash, and a commit after it.
    pub(super) async fn conclude(mut self) {
        self.crash().await;
        self.check("the last crash").await;
        self.commit(0).await;
        self.check("the last commit").await;
        assert_eq!(held(&self.view().base()).await, self.base);
    }
}

fn without_xattrs(memory: &Memory) -> Shown {
    let mut seen = memory.seen();
    seen.values_mut().for_each(|seen| seen.xattrs.clear());
    seen
}

/// What a kernel remembers of a file.
fn shown(attr: &Attr) -> (u64, u32, Timestamp, u32) {
    (attr.size, attr.mode, attr.mtime, attr.nlink)
}

/// A transaction upon the head of the branch.
pub(super) fn begin(scratch: &TempDir, source: &SharedBranch) -> TransactionView {
    let (id, head) = (SystemClock.transaction_id(), source.head());
    let about = Started { at: SystemClock.now(), ..started().upon(id, Some(&head)) };
    let (dir, tree) = (scratch.path().join(id.to_string()), Tree::new(source.nodes(), head.root));
    TransactionView::start(&dir, about, tree, Arc::new(SystemClock)).unwrap()
}

/// What a program gets for what cannot be done; anything else is our fault.
fn is_refusal(error: &VfsError) -> bool {
    matches!(
        error,
        VfsError::NotFound
            | VfsError::Exists
            | VfsError::NotDirectory
            | VfsError::IsDirectory
            | VfsError::NotEmpty
            | VfsError::Invalid(_)
            | VfsError::NotPermitted(_)
            | VfsError::NoAttribute
    )
}
