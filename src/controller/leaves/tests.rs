use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::chunk::{BlobConfig, Blobs, Content};
use crate::controller::edits::apply_all;
use crate::model::{ProjectName, Repo, SystemClock, Timestamp};
use crate::pipeline::spec::PfsInput;
use crate::store::Store;
use crate::tree::{ApplyOptions, Edit, NodeCache, Nodes};

fn nodes() -> Nodes {
    let blobs = Blobs::new(Store::memory(), Arc::new(SystemClock), BlobConfig::default());
    Nodes::new(blobs, NodeCache::new(1 << 20))
}

async fn tree(nodes: &Nodes, files: &BTreeMap<String, String>) -> Tree {
    let writer = nodes.blobs().writer();
    let put = |(path, text): (&String, &String)| {
        let content = Content::Inline(text.clone().into());
        (path.parse().unwrap(), Edit::Replace(Entry::file(content, Timestamp::default())))
    };
    let mut edits: BTreeMap<TreePath, Edit> = BTreeMap::new();
    for (path, edit) in files.iter().map(put) {
        // A name may be a file here and a directory there; the first stands.
        let clashes = |other: &TreePath| other.starts_with(&path) || path.starts_with(other);
        if !edits.keys().any(clashes) {
            edits.insert(path, edit);
        }
    }
    let edits: Vec<_> = edits.into_iter().collect();
    let root = apply_all(nodes, &writer, Root::empty(), edits, ApplyOptions::default());
    let root = root.await.unwrap();
    writer.flush().await.unwrap();
    Tree::new(nodes, root)
}

fn input(glob: &str) -> PfsInput {
    let repo = Repo::user(ProjectName::default_project(), "r".parse().unwrap());
    PfsInput::new(repo, glob.parse().unwrap())
}

fn on_runtime<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap()
        .block_on(work)
}

fn sorted(mut found: Vec<Arc<Match>>) -> Vec<(TreePath, bool, [u8; 32], u64)> {
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found.iter().map(|m| (m.path.clone(), m.is_dir, m.hash, m.size)).collect()
}

fn files(names: &[(&str, &str)]) -> BTreeMap<String, String> {
    names.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect()
}

#[test]
fn a_scan_finds_files_and_directories() {
    on_runtime(async {
        let nodes = nodes();
        let tree =
            tree(&nodes, &files(&[("a", "1"), ("d/x", "22"), ("d/y", "3"), ("e/f/g", "4")])).await;
        for (glob, expected) in [
            ("/*", vec![("a", 1), ("d", 3), ("e", 1)]),
            ("/*/*", vec![("d/x", 2), ("d/y", 1), ("e/f", 1)]),
            ("/**", vec![("a", 1), ("d/x", 2), ("d/y", 1), ("e/f/g", 1)]),
            ("/", vec![("", 5)]),
            ("/d/x", vec![("d/x", 2)]),
            ("/none", vec![]),
            ("/none/*", vec![]),
            ("/a/*", vec![]),
        ] {
            let input = input(glob);
            let found = sorted(scan(&tree, Leaf::Pfs(&input)).await.unwrap());
            let found: Vec<_> = found.iter().map(|(p, _, _, size)| (p.as_str(), *size)).collect();
            assert_eq!(found, expected, "{glob}");
        }
        let empty = Tree::new(&nodes, Root::empty());
        assert!(scan(&empty, Leaf::Pfs(&input("/"))).await.unwrap().is_empty());
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn changes_are_the_difference_of_scans(
        before in prop::collection::btree_map("[ab]{1,2}(/[ab]){0,2}", "[xy]", 0..8),
        after in prop::collection::btree_map("[ab]{1,2}(/[ab]){0,2}", "[xy]", 0..8),
    ) {
        on_runtime(async {
            let nodes = nodes();
            let (old, new) = (tree(&nodes, &before).await, tree(&nodes, &after).await);
            for glob in ["/", "/*", "/a*", "/*/*", "/**", "/a/**", "/a", "/{a,b}/a", "/!(a)"] {
                let input = input(glob);
                let leaf = Leaf::Pfs(&input);
                let scans = (scan(&old, leaf).await.unwrap(), scan(&new, leaf).await.unwrap());
                let expected = Delta::between(&scans.0, &scans.1);
                let found = changes(&old, &new, leaf).await.unwrap();
                assert_eq!(sorted(found.removed), sorted(expected.removed), "{glob}");
                assert_eq!(sorted(found.added), sorted(expected.added), "{glob}");
            }
        });
    }
}
