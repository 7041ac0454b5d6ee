use std::os::fd::AsFd as _;
use std::path::Path;
use std::sync::atomic::Ordering;

use futures::stream::{BoxStream, StreamExt as _};
use proptest::prelude::*;

use super::*;
use crate::chunk::{BlobConfig, Blobs, PackWriter};
use crate::model::{CommitId, Ref, Repo, SystemClock, TransactionId};
use crate::store::{Store, StoreOptions, open};
use crate::tree::{NodeCache, Nodes, Root, Tree};
use crate::vfs::{Begin, Edits, Fate, Filter, Moved, Published, Resolved, Source, Started};

fn identity(text: &str) -> Identity {
    Identity::of("test", &[text.as_bytes()])
}

fn nodes() -> Nodes {
    let store: Store = open("memory://", &StoreOptions::default()).unwrap();
    let blobs = Blobs::new(store, Arc::new(SystemClock), BlobConfig::default());
    Nodes::new(blobs, NodeCache::new(1 << 20))
}

fn view() -> Arc<View> {
    Arc::new(View::whole(Tree::new(&nodes(), Root::empty()), None, Timestamp::default()))
}

/// A table with the root of one place in it.
fn place() -> (InodeTable, Arc<PlacedView>, InodeNo) {
    let view = View::whole(Tree::new(&nodes(), Root::empty()), None, Timestamp::default());
    let placed = Arc::new(PlacedView::following("data".into(), view));
    let table = InodeTable::new(Memory::new());
    let root = Entry::Directory(&placed, "");
    let root = table.remember(identity("root"), InodeNo::ROOT, root).unwrap();
    (table, placed, root)
}

fn leaf_path(table: &InodeTable, ino: InodeNo) -> Option<String> {
    match table.get(ino) {
        Ok(Node::Leaf(_, path, 7) | Node::Dir(_, path)) => Some(path.as_str().to_owned()),
        Ok(node) => panic!("{node:?}"),
        Err(_) => None,
    }
}

#[test]
fn a_collision_is_detected_and_never_served() {
    // Every identity gets the same number first, then its own.
    let table = InodeTable::with_numbering(|_, attempt| InodeNo(100 + attempt));
    let view = view();
    let remember =
        |text| table.remember(identity(text), InodeNo::ROOT, Entry::Leaf(&view, text, 7)).unwrap();
    let (first, second) = (remember("a"), remember("b"));
    assert_eq!((first, second), (InodeNo(100), InodeNo(101)));
    assert_eq!(remember("b"), second);
    assert_eq!(leaf_path(&table, first).as_deref(), Some("a"));
    assert_eq!(leaf_path(&table, second).as_deref(), Some("b"));
    assert_eq!(table.find(&identity("b")), Some(second));
    table.forget(second, 2);
    assert_eq!(leaf_path(&table, second), None);
    assert_eq!(leaf_path(&table, first).as_deref(), Some("a"));
}

#[test]
fn numbers_follow_identity_and_lookups_keep_them() {
    let (table, view) = (InodeTable::new(Memory::new()), view());
    let remember = |table: &InodeTable| {
        table.remember(identity("a"), InodeNo::ROOT, Entry::Leaf(&view, "a", 7)).unwrap()
    };
    let ino = remember(&table);
    assert_eq!(remember(&table), ino);
    assert_eq!(remember(&InodeTable::new(Memory::new())), ino, "in every process");
    table.forget(ino, 1);
    assert!(table.get(ino).is_ok(), "one lookup is left");
    table.forget(ino, 1);
    assert!(table.get(ino).is_err());
    table.forget(InodeNo::ROOT, 1000);
    assert!(matches!(table.get(InodeNo::ROOT), Ok(Node::Top)));
    assert_eq!(Arc::strong_count(&view), 1, "nothing else holds it");
}

#[test]
fn identities_do_not_run_into_each_other() {
    let parts = |parts: &[&str]| {
        Identity::of("test", &parts.iter().map(|part| part.as_bytes()).collect::<Vec<_>>())
    };
    assert_ne!(parts(&["ab", "c"]), parts(&["a", "bc"]));
    assert_ne!(Identity::of("one", &[b"x"]), Identity::of("two", &[b"x"]));
}

#[test]
fn a_directory_stays_while_something_below_it_is_known() {
    let (table, placed, root) = place();
    let dir = table.remember(identity("d"), root, Entry::Directory(&placed, "dir")).unwrap();
    let view = placed.now();
    let leaf = table.remember(identity("l"), dir, Entry::Leaf(&view, "leaf", 7)).unwrap();
    table.forget(dir, 1);
    table.forget(root, 1);
    assert_eq!(leaf_path(&table, leaf).as_deref(), Some("dir/leaf"));
    assert_eq!(leaf_path(&table, dir).as_deref(), Some("dir"));
    table.forget(leaf, 1);
    assert_eq!(table.len(), 1, "only the top is left");
    assert_eq!(Arc::strong_count(&placed), 1);
}

#[test]
fn a_million_inodes_take_less_than_a_hundred_bytes_each() {
    let (table, placed, root) = place();
    let view = placed.now();
    const COUNT: u32 = 50_000;
    for number in 0..COUNT {
        let name = format!("sample-{number:08}.bin");
        table.remember(identity(&name), root, Entry::Leaf(&view, &name, 7)).unwrap();
    }
    let heap = table.heap().unwrap();
    let used = heap.used() * size_of::<u32>() as u64;
    assert!(used / u64::from(COUNT) < 100, "{} bytes", used / u64::from(COUNT));
    // What was forgotten is used again.
    for number in 0..COUNT {
        table.forget(table.find(&identity(&format!("sample-{number:08}.bin"))).unwrap(), 1);
    }
    for number in 0..COUNT {
        let name = format!("another-{number:07}.bin");
        table.remember(identity(&name), root, Entry::Leaf(&view, &name, 7)).unwrap();
    }
    assert_eq!(heap.used() * size_of::<u32>() as u64, used);
}

/// The table as another process finds it.
fn inherited(table: &InodeTable) -> InodeTable {
    let file = table.memory().unwrap().as_fd().try_clone_to_owned().unwrap();
    let table = InodeTable::attach(Memory::of(file).unwrap()).unwrap();
    table.adopt(&Repos::new(Arc::new(NoSource(nodes())), None)).unwrap();
    table
}

/// A source of nothing but nodes.
struct NoSource(Nodes);

#[async_trait::async_trait]
impl Source for NoSource {
    fn identity(&self) -> &str {
        "none"
    }

    async fn place(&self, _: &Repo) -> Result<String, VfsError> {
        Err(VfsError::NotFound)
    }

    async fn heads(&self) -> Result<Vec<(Repo, Option<Resolved>)>, VfsError> {
        Err(VfsError::NotFound)
    }

    async fn resolve(&self, _: &Repo, _: Option<&Ref>) -> Result<Option<Resolved>, VfsError> {
        Err(VfsError::NotFound)
    }

    fn watch(&self) -> BoxStream<'static, Moved> {
        futures::stream::empty().boxed()
    }

    fn nodes(&self) -> &Nodes {
        &self.0
    }

    async fn publish(
        &self,
        _: &Started,
        _: Edits<'_>,
        _: &PackWriter,
        _: &str,
    ) -> Result<Published, VfsError> {
        Err(VfsError::ReadOnly)
    }

    async fn begin(&self, _: Begin<'_>) -> Result<Option<Resolved>, VfsError> {
        Err(VfsError::ReadOnly)
    }

    async fn adopt(&self, _: &Started, _: &Path) -> Result<(), VfsError> {
        Err(VfsError::ReadOnly)
    }

    async fn fate(&self, _: TransactionId) -> Result<Fate, VfsError> {
        Err(VfsError::NotFound)
    }

    async fn rebase(&self, _: &Started, _: CommitId) -> Result<(), VfsError> {
        Err(VfsError::ReadOnly)
    }

    async fn abandon(&self, _: &Started, _: &str) -> Result<(), VfsError> {
        Err(VfsError::ReadOnly)
    }
}

#[test]
fn another_process_finds_the_table() {
    let (table, placed, root) = place();
    table.set_time(Timestamp::from_nanos(-7));
    let dir = table.remember(identity("d"), root, Entry::Directory(&placed, "dir")).unwrap();
    let view = placed.now();
    let leaf = table.remember(identity("l"), dir, Entry::Leaf(&view, "leaf", 7)).unwrap();
    let filtered = View { filter: Filter::new(Vec::new()), ..(*view).clone() };
    let next = Arc::new(View { mtime: Timestamp::from_nanos(5), ..(*view).clone() });
    assert!(!filtered.filter.is_all());
    table.show(&placed, &next);
    drop((placed, view));
    let found = inherited(&table);
    assert_eq!(leaf_path(&found, leaf).as_deref(), Some("dir/leaf"));
    assert_eq!(found.time(), Timestamp::from_nanos(-7));
    let Ok(Node::Dir(placed, _)) = found.get(dir) else { panic!("no directory") };
    assert_eq!(placed.now().mtime, Timestamp::from_nanos(5), "what was shown");
    assert_eq!(placed.told().mtime, Timestamp::default(), "what was told");
    let Ok(Node::Leaf(view, ..)) = found.get(leaf) else { panic!("no leaf") };
    assert_eq!(view.mtime, Timestamp::default(), "what it was found in");
    found.forget(leaf, 1);
    found.forget(dir, 1);
    found.forget(root, 1);
    assert_eq!(found.len(), 1);
    assert!(found.left().unwrap().is_empty());
}

#[test]
fn a_table_of_another_version_is_refused() {
    let memory = Memory::new().unwrap();
    assert!(InodeTable::check(&memory).is_err());
    let table = InodeTable::new(Ok(memory));
    let memory = table.memory().unwrap();
    assert!(InodeTable::check(memory).is_ok());
    memory.store(1, 99);
    let said = InodeTable::check(memory).unwrap_err().to_string();
    assert!(said.contains("another version"), "{said}");
}

#[derive(Debug, Clone)]
enum Step {
    Remember { parent: usize, name: u8, leaf: bool },
    Forget { which: usize },
    Show { time: i64 },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (any::<usize>(), any::<u8>(), any::<bool>())
            .prop_map(|(parent, name, leaf)| Step::Remember { parent, name, leaf }),
        3 => any::<usize>().prop_map(|which| Step::Forget { which }),
        1 => (0..5_i64).prop_map(|time| Step::Show { time }),
    ]
}

/// What a table should hold: each inode's path and lookups.
type Model = HashMap<InodeNo, (String, u64)>;

fn carry_out(table: &InodeTable, placed: &Arc<PlacedView>, model: &mut Model, step: &Step) {
    let mut known: Vec<_> = model.keys().copied().collect();
    known.sort_unstable();
    match step {
        Step::Remember { parent, name, leaf } => {
            let parent = known[parent % known.len()];
            let Some(path) = leaf_path(table, parent) else { return };
            if matches!(table.get(parent), Ok(Node::Leaf(..))) || path.len() > 40 {
                return;
            }
            let name = format!("{name:x}").repeat(usize::from(*name) % 3 + 1);
            let path = if path.is_empty() { name.clone() } else { format!("{path}/{name}") };
            let view = placed.now();
            let (key, entry) = match leaf {
                true => (format!("leaf {path}"), Entry::Leaf(&view, &name, 7)),
                false => (path.clone(), Entry::Directory(placed, &name)),
            };
            let Ok(ino) = table.remember(identity(&key), parent, entry) else { return };
            model.entry(ino).or_insert((path, 0)).1 += 1;
        }
        Step::Forget { which } => {
            let ino = known[which % known.len()];
            let lookups = &mut model.get_mut(&ino).unwrap().1;
            if *lookups > 1 {
                *lookups -= 1;
            } else if known.len() > 1 {
                model.remove(&ino);
            } else {
                return; // something has to be there to go on with
            }
            table.forget(ino, 1);
        }
        Step::Show { time } => {
            let view = View { mtime: Timestamp::from_nanos(*time), ..(*placed.now()).clone() };
            table.show(placed, &Arc::new(view));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Killed at any store, the table still holds what it held before the
    /// operation that was under way, or after it, and goes on.
    #[test]
    fn a_table_survives_the_death_of_its_process(
        steps in prop::collection::vec(step(), 1..60),
        killed in 0..4000_u64,
    ) {
        let (table, placed, root) = place();
        let mut model = Model::from([(root, (String::new(), 1))]);
        table.memory().unwrap().stores.store(killed, Ordering::Release);
        let mut before = model.clone();
        for step in &steps {
            before = model.clone();
            carry_out(&table, &placed, &mut model, step);
            if table.memory().unwrap().stores.load(Ordering::Acquire) == 0 {
                break;
            }
        }
        let found = inherited(&table);
        for (ino, (path, _)) in &before {
            if model.contains_key(ino) {
                prop_assert_eq!(leaf_path(&found, *ino), Some(path.clone()));
            }
        }
        // Everything can be given back, and then nothing is left.
        for ino in before.keys().chain(model.keys()) {
            found.forget(*ino, u64::from(u32::MAX));
        }
        prop_assert_eq!(found.len(), 1);
    }
}

/// A table with a large file in it, and the file.
fn large() -> (InodeTable, Arc<View>, InodeNo) {
    let (table, view) = (InodeTable::new(Memory::new()), view());
    let remember = |name, size| {
        table.remember(identity(name), InodeNo::ROOT, Entry::Leaf(&view, name, size)).unwrap()
    };
    let (large, small) = (remember("large", LARGE_FILE), remember("small", LARGE_FILE - 1));
    assert_eq!((table.handles(large), table.handles(small)), (Some(Handles::default()), None));
    (table, view, large)
}

#[test]
fn handles_are_counted_once_though_processes_are_killed() {
    // Opens and releases, with the handles that the kernel then has. Those that
    // one process leaves the next is asked again, after others, and killed too.
    let requests = [(1, 1), (2, 2), (3, 3), (4, 2), (5, 1), (6, 0)];
    let carry_out = |table: &InodeTable, ino, request| match request {
        1 => {
            table.set_backing(ino, 7);
            table.opened(ino, request);
        }
        2 | 3 => table.opened(ino, request),
        _ => table.released(ino, request),
    };
    let mut kills = 0;
    for stores in 0.. {
        let (table, _view, ino) = large();
        let memory = table.memory().unwrap();
        table.begin_counting();
        memory.stores.store(stores, Ordering::Release);
        let killed = requests.iter().position(|(request, _)| {
            carry_out(&table, ino, *request);
            let is_killed = memory.stores.load(Ordering::Acquire) == 0;
            table.answered(*request);
            is_killed
        });
        let Some(killed) = killed else { break };
        kills += 1;
        memory.stores.store(u64::MAX, Ordering::Release);
        let between = inherited(&table);
        between.begin_counting();
        between.opened(ino, 100);
        let found = inherited(&between);
        found.begin_counting();
        assert!(found.was_counted(100));
        found.answered(100);
        found.released(ino, 101);
        found.answered(101);
        let mut again = true;
        for (request, has) in &requests[killed..] {
            if !(again && found.was_counted(*request)) {
                carry_out(&found, ino, *request);
            }
            found.answered(*request);
            again = false;
            let Handles { count, backing } = found.handles(ino).unwrap();
            assert_eq!((count, backing), (*has, 7), "killed after {stores} stores");
        }
        assert_eq!(found.backed().len(), 1);
    }
    assert!(kills > 10);
}
