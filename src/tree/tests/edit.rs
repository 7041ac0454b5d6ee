//! Editing: what is refused, and what it costs.

use super::*;

#[tokio::test]
async fn parents_are_added() {
    let bench = Bench::new();
    let root = bench.apply(&Root::empty(), vec![put("a/b/c", "1"), put("a/d", "2")]).await;
    assert_eq!(bench.paths(root).await, ["a/", "a/b/", "a/b/c", "a/d"]);
    assert_eq!(bench.walk(root).await[&path("a/b")], Entry::dir(TIME));
}

#[tokio::test]
async fn nothing_lies_below_a_file() {
    let bench = Bench::new();
    let root = bench.files(&[("f", "1")]).await;
    for edits in [vec![put("f/x", "2")], vec![put("g", "1"), put("g/y", "2")]] {
        let error = bench.try_apply(&root, edits).await.unwrap_err();
        assert!(matches!(error, TreeError::NotADirectory { .. }), "{error}");
    }
    let error = bench.try_apply(&root, vec![put("f/a/b", "2")]).await.unwrap_err().to_string();
    assert_eq!(error, "cannot put /f/a/b: /f is not a directory");
}

#[tokio::test]
async fn files_and_directories_do_not_replace_each_other_unasked() {
    let bench = Bench::new();
    let root = bench.files(&[("d/x", "1"), ("f", "2")]).await;
    let error = bench.try_apply(&root, vec![put("d", "3")]).await.unwrap_err();
    assert!(matches!(error, TreeError::IsADirectory { .. }));
    let dir = || (path("f"), Edit::Put(Entry::dir(TIME)));
    let error = bench.try_apply(&root, vec![dir()]).await.unwrap_err();
    assert!(matches!(error, TreeError::IsAFile { .. }));
    let replaced = bench.apply(&root, vec![(path("d"), Edit::Replace(file("3")))]).await;
    assert_eq!(bench.paths(replaced).await, ["d", "f"]);
    let removed = bench.apply(&root, vec![remove("f"), dir(), put("f/y", "4")]).await;
    assert_eq!(bench.paths(removed).await, ["d/", "d/x", "f/", "f/y"]);
}

#[tokio::test]
async fn a_directory_put_again_keeps_its_entries() {
    let bench = Bench::new();
    let root = bench.files(&[("d/x", "1")]).await;
    let dir = Entry { mode: 0o700, ..Entry::dir(TIME) };
    let root = bench.apply(&root, vec![(path("d"), Edit::Put(dir))]).await;
    assert_eq!(bench.paths(root).await, ["d/", "d/x"]);
    assert_eq!(bench.walk(root).await[&path("d")].mode, 0o700);
}

#[tokio::test]
async fn edits_out_of_order_are_refused() {
    let bench = Bench::new();
    for edits in [
        vec![put("b", "1"), put("a", "2")],
        vec![put("a", "1"), put("a", "2")],
        vec![put("a", "1"), remove("a")],
        vec![put("a-b", "1"), put("a/b", "2")],
    ] {
        let error = bench.try_apply(&Root::empty(), edits).await.unwrap_err();
        assert!(matches!(error, TreeError::Unordered { .. }), "{error}");
    }
}

#[tokio::test]
async fn what_no_tree_can_hold_is_refused() {
    let bench = Bench::new();
    let long = Content::Inline(vec![0; 5000].into());
    let bad = [
        (TreePath::root(), file("")),
        (path("f"), Entry { mode: 0o100_644, ..file("") }),
        (path("f"), Entry::file(long, TIME)),
        (path("f"), Entry::symlink(String::new(), TIME)),
        (path("f"), Entry::symlink("x".repeat(4096), TIME)),
    ];
    for (at, entry) in bad {
        let error =
            bench.try_apply(&Root::empty(), vec![(at, Edit::Put(entry))]).await.unwrap_err();
        assert!(matches!(error, TreeError::InvalidEntry { .. }), "{error}");
    }
}

#[tokio::test]
async fn removes_take_what_is_below_and_miss_without_harm() {
    let bench = Bench::new();
    let root = bench.files(&[("a", "1"), ("a.b", "2"), ("d/e/f", "3"), ("d/g", "4")]).await;
    let removed =
        bench.apply(&root, vec![remove("d/e"), remove("d/e/f"), remove("nothing/here")]).await;
    assert_eq!(bench.paths(removed).await, ["a", "a.b", "d/", "d/g"]);
    assert_eq!(bench.apply(&root, vec![remove("x")]).await, root);
    assert!(bench.apply(&root, vec![remove("a"), remove("a.b"), remove("d")]).await.is_empty());
    let again = bench.apply(&root, vec![remove(""), put("n/o", "5")]).await;
    assert_eq!(bench.paths(again).await, ["n/", "n/o"]);
}

#[tokio::test]
async fn emptied_parents_go_when_asked() {
    let bench = Bench::new();
    let prune = ApplyOptions { prune_parents: true };
    let root = bench.files(&[("a/b/c", "1"), ("a/b/d", "2"), ("a/e/f", "3"), ("g", "4")]).await;
    let left = async |edits: Vec<_>| {
        let root = bench.apply_with(&root, edits, prune).await.unwrap();
        bench.paths(root).await.join(" ")
    };
    assert_eq!(left(vec![remove("a/b/c"), remove("a/b/d")]).await, "a/ a/e/ a/e/f g");
    assert_eq!(left(vec![remove("a/b/d")]).await, "a/ a/b/ a/b/c a/e/ a/e/f g");
    assert_eq!(left(vec![remove("a/b"), remove("a/e/f")]).await, "g");
    assert_eq!(
        left(vec![remove("a/e/f"), put("a/e/g", "5")]).await,
        "a/ a/b/ a/b/c a/b/d a/e/ a/e/g g"
    );
    assert_eq!(
        left(vec![put("a/e/a", "5"), remove("a/e/f")]).await,
        "a/ a/b/ a/b/c a/b/d a/e/ a/e/a g"
    );
}

#[tokio::test]
async fn grafts_copy_by_reference() {
    let bench = Bench::new();
    let root = bench.files(&[("a/b/c", "1"), ("a/d", "2"), ("x", "3")]).await;
    let graft = |at: &str, from: &str| (path(at), Edit::Graft { source: root, path: path(from) });
    let copied = bench.apply(&root, vec![graft("n/m", "a"), graft("x", "a/d")]).await;
    assert_eq!(
        bench.paths(copied).await,
        ["a/", "a/b/", "a/b/c", "a/d", "n/", "n/m/", "n/m/b/", "n/m/b/c", "n/m/d", "x"]
    );
    let top = bench.apply(&root, vec![graft("", "a")]).await;
    assert_eq!(bench.paths(top).await, ["b/", "b/c", "d"]);
    let inside = bench.apply(&Root::empty(), vec![graft("all", "")]).await;
    assert_eq!(bench.paths(inside).await.len(), 6);
    let moved = bench.apply(&root, vec![remove("a"), graft("b", "a")]).await;
    assert_eq!(bench.paths(moved).await, ["b/", "b/b/", "b/b/c", "b/d", "x"]);
    for (at, from) in [("n", "nothing"), ("", "x"), ("x/y", "a")] {
        assert!(bench.try_apply(&root, vec![graft(at, from)]).await.is_err());
    }
    let late = bench.try_apply(&root, vec![graft("a", "a"), put("a/b", "1")]).await;
    assert!(matches!(late, Err(TreeError::Unordered { .. })));
}

#[tokio::test]
async fn a_failing_source_of_edits_ends_the_work() {
    let bench = Bench::new();
    let failure = || TreeError::NotFound { path: path("upload") };
    let edits = futures::stream::iter([Ok(put("a", "1")), Err(failure())]);
    let (root, options) = (Root::empty(), ApplyOptions::default());
    let done = apply(&bench.nodes, &bench.writer, &root, edits, options).await;
    assert!(matches!(done, Err(TreeError::NotFound { .. })));
}

#[tokio::test]
async fn an_edit_costs_one_node_per_level() {
    let bench = Bench::new();
    let edits =
        (0..50_000).map(|n| (path(&format!("d/{n:06}")), Edit::Put(Entry::file(chunks(1), TIME))));
    let root = bench.apply(&Root::empty(), edits.collect()).await;
    bench.writer.flush().await.unwrap();
    let before = bench.blobs.store().stats();
    let cold =
        Bench { nodes: bench.cold(), writer: bench.blobs.writer(), blobs: bench.blobs.clone() };
    let next = cold.apply(&root, vec![put("d/025000", "changed")]).await;
    cold.writer.flush().await.unwrap();
    let after = cold.blobs.store().stats();
    assert!(after.bytes_out - before.bytes_out < 200_000, "{after:?}");
    assert_eq!(cold.diff(&root, &next).await.len(), 1);
}

#[tokio::test]
async fn equal_content_in_another_place_changes_nothing() {
    let bench = Bench::new();
    let entry = |pack: u8| {
        let place = ChunkRef { pack: PackId::new([pack; 16]), ..chunk(1) };
        (path("f"), Edit::Put(Entry::file(Content::Chunks([place].into()), TIME)))
    };
    let key = format!("packs/01/{}", PackId::new([1; 16]));
    bench.blobs.store().put(&key, vec![0; 1000]).await.unwrap();
    let root = bench.apply(&Root::empty(), vec![entry(1)]).await;
    assert_eq!(bench.apply(&root, vec![entry(2)]).await, root);
    let lost = bench.apply(&Root::empty(), vec![entry(3)]).await;
    let anew = bench.apply(&lost, vec![entry(1)]).await;
    assert_eq!(anew, root, "but where the place is lost");
}
