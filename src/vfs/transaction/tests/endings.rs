//! Commits that are not heard of, and what follows a commit.

use std::fs;
use std::sync::Mutex;

use async_trait::async_trait;
use futures::stream::BoxStream;

use super::*;
use crate::chunk::PackWriter;
use crate::model::{Clock as _, CommitId, Ref};
use crate::vfs::source::{Begin, Edits, Fate, Moved, Published, Resolved, Source};

fn p(text: &str) -> TreePath {
    text.parse().unwrap()
}

fn write(path: &str, text: &str) -> Op {
    Op::Write(path.into(), 0, text.into())
}

/// A branch that publishes each transaction once, and may not say so.
pub(super) struct OneBranch {
    nodes: Nodes,
    head: Mutex<Tree>,
    published: Mutex<HashMap<TransactionId, Published>>,
    /// How many answers are lost from now on.
    silent: Mutex<u32>,
    /// What somebody else does right after the next commit.
    others: Mutex<Vec<(TreePath, Edit)>>,
    /// What it was told to describe commits with.
    messages: Mutex<Vec<String>>,
}

impl OneBranch {
    pub(super) fn new(tree: &Tree) -> Self {
        let (head, published) = (Mutex::new(tree.clone()), Mutex::default());
        let (silent, others, messages) = (Mutex::new(0), Mutex::default(), Mutex::default());
        Self { nodes: tree.nodes().clone(), head, published, silent, others, messages }
    }

    pub(super) fn lose_answers(&self, count: u32) {
        *self.silent.lock().unwrap() = count;
    }

    pub(super) fn others_do(&self, edits: Vec<(TreePath, Edit)>) {
        *self.others.lock().unwrap() = edits;
    }

    pub(super) fn messages(&self) -> Vec<String> {
        self.messages.lock().unwrap().clone()
    }

    fn resolved(tree: &Tree) -> Resolved {
        let (commit, finished) = (SystemClock.commit_id(), SystemClock.now());
        Resolved { commit, root: *tree.root(), finished }
    }

    pub(super) fn head(&self) -> Tree {
        self.head.lock().unwrap().clone()
    }

    fn commits(&self) -> usize {
        self.published.lock().unwrap().len()
    }
}

#[async_trait]
impl Source for OneBranch {
    fn identity(&self) -> &'static str {
        "tests"
    }

    async fn place(&self, _: &Repo) -> Result<String, VfsError> {
        Ok(String::new())
    }

    async fn heads(&self) -> Result<Vec<(Repo, Option<Resolved>)>, VfsError> {
        Ok(Vec::new())
    }

    async fn resolve(&self, _: &Repo, _: Option<&Ref>) -> Result<Option<Resolved>, VfsError> {
        Ok(Some(Self::resolved(&self.head())))
    }

    fn watch(&self) -> BoxStream<'static, Moved> {
        Box::pin(futures::stream::pending())
    }

    fn nodes(&self) -> &Nodes {
        &self.nodes
    }

    async fn publish(
        &self,
        transaction: &Started,
        edits: Edits<'_>,
        _: &PackWriter,
        message: &str,
    ) -> Result<Published, VfsError> {
        self.messages.lock().unwrap().push(message.to_owned());
        let known = self.published.lock().unwrap().get(&transaction.id).cloned();
        let published = match known {
            Some(known) => known,
            None => {
                let edits = edits.try_collect().await?;
                let committed = edited(&self.head(), edits).await;
                let others = std::mem::take(&mut *self.others.lock().unwrap());
                let head = edited(&committed, others).await;
                *self.head.lock().unwrap() = head.clone();
                let published = Published {
                    commit: Self::resolved(&committed),
                    head: Self::resolved(&head),
                    transaction: SystemClock.transaction_id(),
                };
                self.published.lock().unwrap().insert(transaction.id, published.clone());
                published
            }
        };
        let mut silent = self.silent.lock().unwrap();
        match *silent {
            0 => Ok(published),
            _ => {
                *silent -= 1;
                Err(VfsError::Unsettled("no answer".into()))
            }
        }
    }

    async fn begin(&self, _: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        Ok(Some(Self::resolved(&self.head())))
    }

    async fn adopt(&self, _: &Started, _: &Path) -> Result<(), VfsError> {
        Ok(())
    }

    async fn fate(&self, _: TransactionId) -> Result<Fate, VfsError> {
        Ok(Fate::Open)
    }

    async fn rebase(&self, _: &Started, _: CommitId) -> Result<(), VfsError> {
        Ok(())
    }

    async fn abandon(&self, transaction: &Started, _: &str) -> Result<(), VfsError> {
        if self.published.lock().unwrap().contains_key(&transaction.id) {
            return Err(VfsError::Conflict("it was committed".into()));
        }
        Ok(())
    }
}

fn start(dir: &Path, tree: &Tree) -> TransactionView {
    TransactionView::start(dir, started(), tree.clone(), Arc::new(SystemClock)).unwrap()
}

async fn commit(view: &TransactionView, source: &OneBranch) -> Result<Option<CommitId>, VfsError> {
    view.commit(source, "", Then::GoOn).await
}

/// Everything below the root of a tree, in the model's terms.
pub(super) async fn held(tree: &Tree) -> BTreeMap<TreePath, (Body, u32)> {
    let dir = tempfile::tempdir().unwrap();
    start(&dir.path().join("txn"), tree).seen().await
}

#[tokio::test]
async fn a_commit_whose_answer_was_lost_is_published_once_and_gone_on_from() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let (source, view) = (OneBranch::new(&tree), start(&dir.path().join("txn"), &tree));
    view.run(&write("c", "first")).await.unwrap();
    source.lose_answers(2);
    let lost = commit(&view, &source).await;
    assert!(matches!(lost, Err(VfsError::Unsettled(_))), "{lost:?}");
    assert!(view.is_unsettled() && view.standing().0 == "SEALED");
    let refused = view.run(&write("c", "more")).await;
    assert!(matches!(refused, Err(VfsError::Unavailable(_))), "{refused:?}");
    assert!(commit(&view, &source).await.is_err());
    assert!(commit(&view, &source).await.unwrap().is_some());
    assert_eq!((view.standing().0, source.commits()), ("OPEN", 1));
    assert!(!view.is_changed().unwrap());
    view.run(&write("c", "other")).await.unwrap();
    commit(&view, &source).await.unwrap().unwrap();
    assert_eq!(source.commits(), 2);
    assert_eq!(held(&source.head()).await, view.seen().await);
}

#[tokio::test]
async fn what_others_change_right_after_a_commit_shows_and_is_not_undone() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let (source, view) = (OneBranch::new(&tree), start(&at, &tree));
    let known = view.at(&p("b/b")).await.unwrap();
    let new = Entry::file(Content::Inline("theirs".into()), Timestamp::default());
    *source.others.lock().unwrap() = vec![
        (p("a/new"), Edit::Remove),
        (p("b/b"), Edit::Put(new.clone())),
        (p("c"), Edit::Put(new)),
    ];
    for op in [Op::Create("a/new".into()), write("a/new", "ours"), write("c", "ours")] {
        view.run(&op).await.unwrap();
    }
    let ours = view.at(&p("a/new")).await.unwrap();
    commit(&view, &source).await.unwrap().unwrap();
    assert_eq!(&view.read(known.id, 0, 99).await.unwrap()[..], b"theirs");
    let told: Vec<_> = view.take_refreshed().into_iter().map(|told| told.name).collect();
    for name in ["new", "b", "c"] {
        assert!(told.iter().any(|told| **told == *name), "{name} in {told:?}");
    }
    drop(ours);
    assert_eq!(view.seen().await, held(&source.head()).await);
    view.write(known.id, 6, b"+").await.unwrap();
    commit(&view, &source).await.unwrap().unwrap();
    drop(known);
    let now = held(&source.head()).await;
    assert_eq!(now[&p("b/b")].0, Body::File(b"theirs+".into()));
    assert_eq!(now[&p("c")].0, Body::File(b"theirs".into()));
    assert!(!now.contains_key(&p("a/new")));
}

#[tokio::test]
async fn base_and_journal_change_together() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let (source, view) = (OneBranch::new(&tree), start(&at, &tree));
    for op in [Op::Rename("a".into(), "z".into()), write("z/c", "changed")] {
        view.run(&op).await.unwrap();
    }
    // What a crash leaves between the new journal and the new base.
    fs::write(at.join("journal.1"), "left over").unwrap();
    let before = view.seen().await;
    drop(view);
    let clock = || Arc::new(SystemClock);
    let view = TransactionView::recover(&at, inspect(&at).unwrap(), tree, clock()).await.unwrap();
    assert_eq!(view.seen().await, before);
    commit(&view, &source).await.unwrap().unwrap();
    assert!(at.join("journal.1").exists() && !at.join("journal").exists());
    view.run(&write("z/b/c", "after")).await.unwrap();
    let (before, current) = (view.seen().await, view.started());
    drop(view);
    assert_eq!((inspect(&at).unwrap().id, inspect(&at).unwrap().base), (current.id, current.base));
    let noted = inspect(&at).unwrap();
    let view = TransactionView::recover(&at, noted, source.head(), clock()).await.unwrap();
    assert_eq!(view.seen().await, before);
    assert_eq!(view.change_count().unwrap(), 1);
}

#[tokio::test]
async fn a_journal_that_does_not_go_with_its_base_is_refused() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let view = start(&at, &tree);
    view.run(&write("a/c", "changed")).await.unwrap();
    drop(view);
    let other = Tree::new(tree.nodes(), Root::empty());
    let clock = Arc::new(SystemClock);
    let refused = TransactionView::recover(&at, started(), other, clock).await.unwrap_err();
    assert!(matches!(&refused, VfsError::Damaged(what) if what.contains("a/c")), "{refused}");
}

#[tokio::test]
async fn what_was_committed_is_not_given_up() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let (source, view) = (OneBranch::new(&tree), start(&dir.path().join("txn"), &tree));
    view.run(&write("c", "first")).await.unwrap();
    source.lose_answers(1);
    assert!(commit(&view, &source).await.is_err());
    let refused = view.abort(&source, "").await;
    assert!(matches!(refused, Err(VfsError::Conflict(_))), "{refused:?}");
    assert!(view.is_unsettled());
    assert!(commit(&view, &source).await.unwrap().is_some());
    assert_eq!((view.standing().0, source.commits()), ("OPEN", 1));
    view.run(&write("c", "other")).await.unwrap();
    view.abort(&source, "").await.unwrap();
    assert_eq!(held(&source.head()).await, view.seen().await);
}

#[tokio::test]
async fn an_unchanged_transaction_moves_on_and_a_changed_one_stays() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let (source, view) = (OneBranch::new(&tree), start(&at, &tree));
    let known = view.at(&p("b/b")).await.unwrap();
    for op in [Op::Create("new".into()), Op::Remove("new".into())] {
        view.run(&op).await.unwrap();
    }
    let new = Entry::file(Content::Inline("theirs".into()), Timestamp::default());
    *source.head.lock().unwrap() = edited(&tree, vec![(p("b/b"), Edit::Put(new))]).await;
    view.follow(&source).await.unwrap();
    assert_eq!(&view.read(known.id, 0, 99).await.unwrap()[..], b"theirs");
    drop(known);
    assert_eq!(view.seen().await, held(&source.head()).await);
    view.run(&write("c", "ours")).await.unwrap();
    let (head, ours) = (source.head(), view.seen().await);
    *source.head.lock().unwrap() = edited(&head, vec![(p("a"), Edit::Remove)]).await;
    view.follow(&source).await.unwrap();
    assert_eq!(view.seen().await, ours);
    let again = recovered(view, &head).await;
    assert_eq!(again.seen().await, ours);
}

#[tokio::test]
async fn a_failed_sync_is_not_forgotten() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let (source, view) = (OneBranch::new(&tree), start(&at, &tree));
    view.run(&write("c", "written")).await.unwrap();
    let staged = fs::read_dir(at.join("files")).unwrap().map(|file| file.unwrap().path());
    let staged = staged.min().unwrap();
    let name = staged.file_name().unwrap().to_str().unwrap();
    view.staging().remove(u64::from_str_radix(name, 16).unwrap());
    // Which nobody can sync.
    nix::unistd::mkfifo(&staged, nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(view.sync(NodeId::ROOT).await.is_err());
    view.staging().remove(u64::from_str_radix(name, 16).unwrap());
    fs::write(&staged, "other").unwrap();
    let again = view.sync(NodeId::ROOT).await;
    assert!(matches!(&again, Err(VfsError::Damaged(why)) if why.contains("abort")), "{again:?}");
    assert!(commit(&view, &source).await.is_err());
    view.abort(&source, "").await.unwrap();
    view.run(&write("c", "written")).await.unwrap();
    view.sync(NodeId::ROOT).await.unwrap();
    assert!(commit(&view, &source).await.unwrap().is_some());
}

#[tokio::test]
async fn a_file_that_others_remove_after_the_commit_is_copied_from_the_commit() {
    let (tree, dir) = (base().await.0, tempfile::tempdir().unwrap());
    let at = dir.path().join("txn");
    let (source, view) = (OneBranch::new(&tree), start(&at, &tree));
    for op in [Op::Create("a/new".into()), write("a/new", "ours"), Op::Create("copy".into())] {
        view.run(&op).await.unwrap();
    }
    let held = view.at(&p("a/new")).await.unwrap();
    source.others_do(vec![(p("a/new"), Edit::Remove)]);
    commit(&view, &source).await.unwrap().unwrap();
    let copy = view.at(&p("copy")).await.unwrap();
    let original = view.original(held.id).await.unwrap().unwrap();
    assert!(view.adopt(copy.id, 0..4, &original).await.unwrap());
    drop((held, copy));
    let view = recovered(view, &source.head()).await;
    let copy = view.at(&p("copy")).await.unwrap();
    assert_eq!(&view.read(copy.id, 0, 99).await.unwrap()[..], b"ours");
}
