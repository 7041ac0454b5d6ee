//! Reading: lookups, listings, sums, walks, hashes.

use super::*;

async fn sample(bench: &Bench) -> Root {
    bench
        .files(&[("a", "1"), ("a.b/x", "22"), ("d/e/f", "333"), ("d/g", "4444"), ("d.x", "5")])
        .await
}

#[tokio::test]
async fn entries_are_found_where_they_are() {
    let bench = Bench::new();
    let tree = bench.tree(sample(&bench).await);
    assert_eq!(tree.get(&path("d/g")).await.unwrap(), Some(file("4444")));
    assert!(tree.get(&path("d/e")).await.unwrap().unwrap().is_dir());
    assert_eq!(tree.get(&path("d/h")).await.unwrap(), None);
    assert_eq!(tree.get(&TreePath::root()).await.unwrap(), None);
}

#[tokio::test]
async fn an_empty_tree_answers() {
    let tree = Bench::new().tree(Root::empty());
    let root = TreePath::root();
    assert_eq!(tree.list(&root, None, 9).await.unwrap(), []);
    assert_eq!(tree.totals(&root).await.unwrap(), Some(Totals::default()));
    assert_eq!(tree.get(&path("x")).await.unwrap(), None);
    assert!(matches!(tree.list(&path("x"), None, 9).await, Err(TreeError::NotFound { .. })));
}

#[tokio::test]
async fn listings_are_in_name_order_and_in_pages() {
    let bench = Bench::new();
    let tree = bench.tree(sample(&bench).await);
    let names = async |dir: &str, after: Option<&str>, limit: usize| {
        let found = tree.list(&path(dir), after, limit).await.unwrap();
        found.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names("", None, 9).await, ["a", "a.b", "d", "d.x"]);
    assert_eq!(names("", Some("a.b"), 1).await, ["d"]);
    assert_eq!(names("", Some("b"), 9).await, ["d", "d.x"]);
    assert_eq!(names("d", None, 9).await, ["e", "g"]);
    assert_eq!(names("d", None, 0).await, [""; 0]);
    assert!(matches!(tree.list(&path("a"), None, 9).await, Err(TreeError::NotADirectory { .. })));
}

#[tokio::test]
async fn a_wide_directory_is_listed_in_pages() {
    let bench = Bench::new();
    let name = |n: u32| format!("{n:05}{}", "-".repeat(n as usize % 90));
    let edits = (0..20_000).map(|n| put(&format!("d/{}", name(n)), "x")).collect();
    let root = bench.apply(&Root::empty(), edits).await;
    let edits = (0..20_000)
        .step_by(7)
        .map(|n| (path(&format!("d/{}", name(n))), Edit::Replace(Entry::dir(TIME))))
        .collect();
    let root = bench.apply(&root, edits).await;
    let edits = (0..20_000)
        .step_by(7)
        .flat_map(|n| (0..3).map(move |k| put(&format!("d/{}/{k}", name(n)), "y")))
        .collect();
    let tree = Tree::new(&bench.cold(), bench.apply(&root, edits).await);
    let (mut after, mut seen) = (None, 0);
    loop {
        let page = tree.list(&path("d"), after.as_deref(), 333).await.unwrap();
        let Some((last, _)) = page.last() else { break };
        after = Some(last.clone());
        for (found, entry) in page {
            assert_eq!((found, entry.is_dir()), (name(seen), seen % 7 == 0));
            seen += 1;
        }
    }
    assert_eq!(seen, 20_000);
}

#[tokio::test]
async fn totals_are_those_below_a_path() {
    let bench = Bench::new();
    let tree = bench.tree(sample(&bench).await);
    let of = async |at: &str| tree.totals(&path(at)).await.unwrap();
    let sums = |files, dirs, bytes| Some(Totals { files, dirs, bytes });
    assert_eq!(of("").await, sums(5, 3, 11));
    assert_eq!(of("d").await, sums(2, 1, 7));
    assert_eq!(of("d/e").await, sums(1, 0, 3));
    assert_eq!(of("d.x").await, sums(1, 0, 1));
    assert_eq!(of("x").await, None);
}

#[tokio::test]
async fn walks_start_anywhere() {
    let bench = Bench::new();
    let tree = bench.tree(sample(&bench).await);
    let walk = async |dir: &str, after: Option<&str>| {
        let found =
            tree.walk(&path(dir), after.map(path).as_ref()).map(|e| e.unwrap().0.to_string());
        found.collect::<Vec<_>>().await
    };
    assert_eq!(walk("d", None).await, ["/d/e", "/d/e/f", "/d/g"]);
    assert_eq!(walk("d", Some("d/e")).await, ["/d/e/f", "/d/g"]);
    assert_eq!(walk("", Some("d/e/f")).await, ["/d/g", "/d.x"]);
    assert_eq!(walk("d", Some("a")).await.len(), 3);
    assert_eq!(walk("a", None).await, [""; 0]);
}

#[tokio::test]
async fn a_subtree_hash_follows_its_content_alone() {
    let bench = Bench::new();
    let one = bench.files(&[("a/x", "1"), ("a/y", "2"), ("b", "3")]).await;
    let two = bench.files(&[("0", "siblings"), ("c/x", "1"), ("c/y", "2")]).await;
    let hash = async |root: Root, at: &str| bench.tree(root).subtree_hash(&path(at)).await.unwrap();
    assert_eq!(hash(one, "a").await, hash(two, "c").await);
    assert_ne!(hash(one, "a").await, hash(one, "a/x").await);
    let later = Entry { mtime: Timestamp::from_nanos(1), ..file("1") };
    let touched = bench.apply(&one, vec![(path("a/x"), Edit::Put(later))]).await;
    assert_ne!(touched, one);
    assert_eq!(hash(one, "a").await, hash(touched, "a").await);
    assert_eq!(one.hash(), touched.hash());
    let run = Entry { mode: 0o755, ..file("1") };
    let executable = bench.apply(&one, vec![(path("a/x"), Edit::Put(run))]).await;
    assert_ne!(hash(one, "a").await, hash(executable, "a").await);
    assert_eq!(hash(one, "nothing").await, None);
    assert_eq!(hash(one, "").await, Some(one.hash()));
}

#[tokio::test]
async fn a_long_chunk_list_is_kept_beside_the_leaf() {
    let bench = Bench::new();
    for count in [1, 16, 17, 4096, 70_000] {
        let entry = Entry::file(chunks(count), TIME);
        let root = bench.apply(&Root::empty(), vec![(path("f"), Edit::Put(entry.clone()))]).await;
        assert_eq!(root.totals().bytes, 1000 * count);
        let tree = Tree::new(&bench.cold(), root);
        assert_eq!(tree.get(&path("f")).await.unwrap(), Some(entry));
    }
}

#[tokio::test]
async fn references_name_every_blob_once() {
    let bench = Bench::new();
    let file =
        |n: u64, count| (path(&format!("d/{n:05}")), Edit::Put(Entry::file(chunks(count), TIME)));
    let mut edits: Vec<_> = (0..3000).map(|n| file(n, 2)).collect();
    edits.push(file(3000, 70_000));
    let root = bench.apply(&Root::empty(), edits).await;
    let count = async |root: Root, enter: fn(&ChunkRef) -> bool| {
        let found: Vec<_> = references(&bench.nodes, &root, enter).try_collect().await.unwrap();
        let of = |kind: fn(&Reference) -> bool| found.iter().filter(|r| kind(r)).count();
        [
            of(|r| matches!(r, Reference::Node(_))),
            of(|r| matches!(r, Reference::List(_))),
            of(|r| matches!(r, Reference::Chunk { .. })),
        ]
    };
    let [nodes, lists, chunks] = count(root, |_| true).await;
    assert!(nodes > 10);
    assert_eq!((lists, chunks), (19, 6000 + 70_000));
    assert_eq!(count(root, |_| false).await, [1, 0, 0]);
    assert_eq!(count(Root::empty(), |_| true).await, [0, 0, 0]);
}

#[tokio::test]
async fn stats_say_what_entries_say_without_reading_lists() {
    let bench = Bench::new();
    let long = Entry::file(chunks(100), TIME);
    let link = Entry::symlink("long".to_owned(), TIME);
    let edits = vec![
        (path("d/link"), Edit::Put(link)),
        (path("d/long"), Edit::Put(long.clone())),
        put("d/short", "1"),
    ];
    let root = bench.apply(&Root::empty(), edits).await;
    let tree = bench.tree(root);
    let hash = chunks(100).hash();
    let expected = Stat { kind: StatKind::File { size: 100_000, hash }, mode: 0o644, mtime: TIME };
    assert_eq!(tree.stat(&path("d/long")).await.unwrap(), Some(expected.clone()));
    let walked: Vec<_> = tree.walk_stats(&path("d"), None).try_collect().await.unwrap();
    let listed = tree.list_stats(&path("d"), None, 9).await.unwrap();
    assert_eq!(walked.len(), 3);
    assert_eq!(listed[1], ("long".to_owned(), expected.clone()));
    for ((at, stat), (name, other)) in walked.into_iter().zip(listed) {
        assert_eq!((at.file_name(), &stat), (&*name, &other));
        let entry = tree.get(&at).await.unwrap().unwrap();
        assert_eq!((entry.size(), entry.is_dir()), (stat.size(), stat.is_dir()));
    }
    let changes = diff_stats(&bench.nodes, &Root::empty(), &root, &path("d/long"));
    let changes: Vec<_> = changes.try_collect().await.unwrap();
    assert_eq!(changes, [StatChange { path: path("d/long"), old: None, new: Some(expected) }]);
}
