//! Processes that go on with the transaction of one that was killed: what a
//! kernel was told stays true.

use std::fs::File;

use super::*;
use crate::vfs::request::carry_out;

/// A transaction, what a kernel knows of it, and its memory.
struct Served {
    view: TransactionView,
    memory: File,
    known: HashMap<NodeId, u64>,
    tree: Tree,
}

/// What a kernel can see of a node.
type Seen = (Attr, Option<TreePath>, Vec<u8>);

impl Served {
    fn new(dir: &Path, tree: &Tree) -> Self {
        let clock = Arc::new(SystemClock);
        let started = Started { root: hex::encode(tree.root().encode()), ..started() };
        let view = TransactionView::start(dir, started, tree.clone(), clock).unwrap();
        let memory = File::from(view.mirror().unwrap());
        Self { view, memory, known: HashMap::new(), tree: tree.clone() }
    }

    /// Looks `path` up for good.
    async fn look_up(&mut self, path: &str) {
        if let Ok(node) = self.view.at(&path.parse().unwrap()).await {
            let id = node.keep();
            if id != NodeId::ROOT {
                *self.known.entry(id).or_default() += 1;
            }
        }
    }

    async fn seen(&self) -> BTreeMap<NodeId, Seen> {
        let mut seen = BTreeMap::new();
        for id in self.known.keys() {
            let attr = self.view.attr(*id).unwrap();
            let bytes = match attr.kind {
                Kind::File => self.view.read(*id, 0, 1 << 30).await.unwrap().into(),
                Kind::Symlink => self.view.readlink(*id).unwrap().as_bytes().to_vec(),
                Kind::Directory => Vec::new(),
            };
            seen.insert(*id, (attr, self.view.path_of(*id), bytes));
        }
        seen
    }

    /// The process is killed, and another one goes on.
    async fn taken_over(self) -> Self {
        let Self { view, memory, known, tree } = self;
        let key = view.key();
        drop(view);
        let view = attached(&memory, &tree).await;
        assert_eq!(view.key(), key);
        known.iter().for_each(|(id, count)| view.looked_up(*id, *count));
        view.settle_down().await;
        Self { view, memory, known, tree }
    }
}

/// What goes on from `memory`, and has not asked for anything yet.
async fn attached(memory: &File, tree: &Tree) -> TransactionView {
    let (mirror, clock) = (memory.try_clone().unwrap().into(), Arc::new(SystemClock));
    let attach = Attach { mirror, lock: None, nodes: tree.nodes(), clock };
    TransactionView::attach(attach).await.unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Do(Op),
    LookUp(String),
    /// Writes to the `n`-th of the nodes that are known, whatever became of it.
    Write(usize, u64, Vec<u8>),
    TakeOver,
    /// Killed while it told of what it has done last: so much of it is lost.
    Torn(Op, u64),
}

async fn check_steps(steps: Vec<Step>, dir: &Path) {
    let (tree, mut model) = base().await;
    let mut served = Served::new(dir, &tree);
    for (number, step) in (1..).zip(steps) {
        match step {
            Step::Do(op) => {
                assert_eq!(model.run(&op), served.view.run(&op).await.is_ok(), "{op:?}");
            }
            Step::LookUp(path) => served.look_up(&path).await,
            Step::Write(which, at, data) => {
                let mut known: Vec<NodeId> = served.known.keys().copied().collect();
                known.sort_unstable();
                let Some(id) = known.get(which % known.len().max(1)).copied() else { continue };
                if served.view.attr(id).unwrap().kind == Kind::File {
                    served.view.write(id, at, &data).await.unwrap();
                    if let Some(path) = served.view.path_of(id) {
                        assert!(model.run(&Op::Write(path.to_string(), at, data)));
                    }
                }
            }
            Step::TakeOver => {
                let before = served.seen().await;
                served = served.taken_over().await;
                assert_eq!(served.seen().await, before);
            }
            Step::Torn(op, lost) => {
                let before = served.memory.metadata().unwrap().len();
                let done = carry_out(number, served.view.run(&op)).await.is_ok();
                let after = served.memory.metadata().unwrap().len();
                served.memory.set_len(after - lost.min(after - before)).unwrap();
                served = served.taken_over().await;
                // Nobody was answered, and so it is asked again.
                let again = served.view.was_done(number) || served.view.run(&op).await.is_ok();
                assert_eq!((model.run(&op), again), (done, done), "{op:?}");
            }
        }
    }
    assert_eq!(served.view.seen().await, model.seen());
    assert_eq!(served.view.applied(&tree).await, model.seen());
    let view = recovered(served.view, &tree).await;
    assert_eq!(view.seen().await, model.seen());
}

fn step() -> impl Strategy<Value = Step> {
    let data = prop::collection::vec(any::<u8>(), 1..20);
    prop_oneof![
        12 => super::op().prop_filter_map("stays", |op| match op {
            Op::Crash | Op::Abort => None,
            op => Some(Step::Do(op)),
        }),
        6 => path().prop_map(Step::LookUp),
        3 => (any::<usize>(), 0..40u64, data).prop_map(|(n, at, data)| Step::Write(n, at, data)),
        3 => Just(Step::TakeOver),
        2 => (super::op(), 1..2000u64).prop_filter_map("is asked for", |(op, lost)| match op {
            Op::Crash | Op::Abort => None,
            op => Some(Step::Torn(op, lost)),
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
    #[test]
    fn another_process_goes_on_where_one_was_killed(steps in prop::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(check_steps(steps, &dir.path().join("txn")));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]
    #[test]
    fn blocks_of_a_large_file_are_there_for_another_process(
        changes in prop::collection::vec(large_change(), 1..6),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (tree, _) = large_base().await;
            let mut served = Served::new(&dir.path().join("txn"), &tree);
            served.look_up("large").await;
            let id = *served.known.keys().next().unwrap();
            for (number, (at, data)) in changes.into_iter().enumerate() {
                match data {
                    Some(data) => served.view.write(id, at, &data).await.unwrap(),
                    None => {
                        let set = SetAttr { size: Some(at), ..SetAttr::default() };
                        served.view.set_attr(id, set).await.unwrap();
                    }
                }
                if number == 2 {
                    served.view.unlink(NodeId::ROOT, "large").await.unwrap();
                }
                let before = served.seen().await;
                served = served.taken_over().await;
                assert!(served.seen().await == before);
            }
        });
    }
}

#[tokio::test]
async fn what_is_mirrored_does_not_grow_with_what_was_done() {
    let (tree, _) = base().await;
    let dir = tempfile::tempdir().unwrap();
    let mut served = Served::new(&dir.path().join("txn"), &tree);
    served.look_up("c").await;
    let id = *served.known.keys().next().unwrap();
    for number in 0..40_000_u64 {
        served.view.write(id, number % 64, b"x").await.unwrap();
    }
    let blocks = std::os::unix::fs::MetadataExt::blocks(&served.memory.metadata().unwrap());
    assert!(blocks * 512 < 512 << 10, "{blocks} blocks");
    let before = served.seen().await;
    let served = served.taken_over().await;
    assert_eq!(served.seen().await, before);
}

#[tokio::test]
async fn a_commit_that_nobody_has_noted_is_gone_on_from() {
    let (tree, _) = base().await;
    let (dir, source) = (tempfile::tempdir().unwrap(), endings::OneBranch::new(&tree));
    let mut served = Served::new(&dir.path().join("txn"), &tree);
    served.look_up("a/c").await;
    served.look_up("c").await;
    served.view.run(&Op::Write("a/c".into(), 0, b"new".to_vec())).await.unwrap();
    served.view.run(&Op::Remove("c".into())).await.unwrap();
    let before = served.seen().await;
    served.view.lock().commits(Some("first"));
    let told = served.memory.metadata().unwrap().len();
    served.view.commit(&source, "first", Then::GoOn).await.unwrap().unwrap();
    // All that the commit has told is lost, but for what is on disk.
    served.memory.set_len(told).unwrap();
    served = served.taken_over().await;
    let after = served.seen().await;
    for (id, (_, path, bytes)) in &before {
        assert_eq!((&after[id].1, &after[id].2), (path, bytes));
    }
    assert!(!served.view.is_changed().unwrap());
    assert_eq!(served.view.committing(), None, "what is written next is not to be committed");
    served = served.taken_over().await;
    assert_eq!(served.view.committing(), None);
    served.view.run(&Op::Write("b/b".into(), 0, b"more".to_vec())).await.unwrap();
    assert!(served.view.commit(&source, "second", Then::GoOn).await.unwrap().is_some());
}

#[tokio::test]
async fn what_became_of_a_commit_is_asked_until_it_is_known() {
    let (tree, _) = base().await;
    let (dir, source) = (tempfile::tempdir().unwrap(), endings::OneBranch::new(&tree));
    let mut served = Served::new(&dir.path().join("txn"), &tree);
    served.look_up("c").await;
    let write = |text: &str| Op::Write("c".into(), 0, text.into());
    served.view.run(&write("first")).await.unwrap();
    source.lose_answers(3);
    assert!(served.view.commit(&source, "described", Then::GoOn).await.is_err());
    for _ in 0..2 {
        served = served.taken_over().await;
        assert_eq!(served.view.committing().as_deref(), Some("described"));
        assert!(served.view.is_unsettled());
        let refused = served.view.run(&write("lost")).await;
        assert!(matches!(refused, Err(VfsError::Unavailable(_))), "{refused:?}");
        assert!(served.view.commit(&source, "", Then::GoOn).await.is_err());
    }
    assert!(served.view.commit(&source, "", Then::GoOn).await.unwrap().is_some());
    assert_eq!(source.messages(), ["described"; 4]);
    assert_eq!((served.view.committing(), served.view.is_unsettled()), (None, false));
    served.view.run(&write("second")).await.unwrap();
    served = served.taken_over().await;
    served.view.commit(&source, "", Then::GoOn).await.unwrap().unwrap();
    assert_eq!(served.view.seen().await, endings::held(&source.head()).await);
}

#[tokio::test]
async fn a_commit_that_nobody_has_noted_outlives_two_processes() {
    let (tree, _) = base().await;
    let (dir, source) = (tempfile::tempdir().unwrap(), endings::OneBranch::new(&tree));
    let mut served = Served::new(&dir.path().join("txn"), &tree);
    served.look_up("c").await;
    served.look_up("a/c").await;
    for path in ["c", "a/c"] {
        served.view.run(&Op::Write(path.into(), 1, b"new".to_vec())).await.unwrap();
    }
    // Somebody else takes away right away what was committed.
    source.others_do(vec![("a/c".parse().unwrap(), Edit::Remove)]);
    let told = served.memory.metadata().unwrap().len();
    served.view.commit(&source, "first", Then::GoOn).await.unwrap().unwrap();
    served.memory.set_len(told).unwrap();
    let Served { view, memory, known, tree } = served;
    drop(view);
    // The first does not get to where it reads what others did.
    drop(attached(&memory, &tree).await);
    let view = attached(&memory, &tree).await;
    let served = Served { view, memory, known, tree }.taken_over().await;
    assert!(!served.view.is_changed().unwrap());
    let seen = served.seen().await;
    assert!(seen.values().any(|(_, path, _)| path.is_none()), "what others removed has no name");
    served.view.run(&Op::Write("c".into(), 0, b"more".to_vec())).await.unwrap();
    served.view.commit(&source, "second", Then::GoOn).await.unwrap().unwrap();
}
