//! Differences and merges.

use super::*;

async fn merged(bench: &Bench, base: &Root, ours: &Root, theirs: &Root) -> Merge {
    merge(&bench.nodes, &bench.writer, base, ours, theirs).await.unwrap()
}

fn against(merge: &Merge) -> Vec<(&str, &str)> {
    match merge {
        Merge::Merged(_) => Vec::new(),
        Merge::Conflicts(found) => {
            found.iter().map(|c| (c.path.as_str(), c.against.as_str())).collect()
        }
    }
}

#[tokio::test]
async fn equal_trees_differ_in_nothing_and_cost_nothing() {
    let bench = Bench::new();
    let root = bench.files(&[("a/b", "1"), ("c", "2")]).await;
    assert_eq!(bench.diff(&root, &root).await, []);
    assert_eq!(bench.diff(&Root::empty(), &Root::empty()).await, []);
    assert_eq!(bench.diff(&Root::empty(), &root).await.len(), 3);
    assert_eq!(bench.diff(&root, &Root::empty()).await.len(), 3);
}

#[tokio::test]
async fn shared_nodes_are_not_read() {
    let bench = Bench::new();
    let edits = (0..50_000).map(|n| put(&format!("{n:06}"), "same"));
    let old = bench.apply(&Root::empty(), edits.collect()).await;
    let new = bench.apply(&old, vec![put("012345", "changed"), remove("043210")]).await;
    bench.writer.flush().await.unwrap();
    let before = bench.blobs.store().stats().get;
    let nodes = bench.cold();
    let found: Vec<_> = diff(&nodes, &old, &new, &TreePath::root()).try_collect().await.unwrap();
    let paths: Vec<_> = found.iter().map(|c| c.path.as_str()).collect();
    assert_eq!(paths, ["012345", "043210"]);
    assert!(bench.blobs.store().stats().get - before <= 20);
}

#[tokio::test]
async fn disjoint_changes_join() {
    let bench = Bench::new();
    let base = bench.files(&[("a/x", "1"), ("a/y", "2"), ("b", "3")]).await;
    let ours = bench.apply(&base, vec![put("a/x", "ours"), put("n", "new")]).await;
    let theirs = bench.apply(&base, vec![remove("a/y"), put("b", "theirs"), put("n", "new")]).await;
    let Merge::Merged(root) = merged(&bench, &base, &ours, &theirs).await else {
        panic!("no conflict expected");
    };
    let expected = bench.files(&[("a/x", "ours"), ("b", "theirs"), ("n", "new")]).await;
    assert_eq!(root.hash(), expected.hash());
    assert_eq!(merged(&bench, &base, &base, &theirs).await, Merge::Merged(theirs));
    assert_eq!(merged(&bench, &base, &ours, &base).await, Merge::Merged(ours));
}

#[tokio::test]
async fn clashing_changes_are_named() {
    let bench = Bench::new();
    let base = bench.files(&[("a/x", "1"), ("b", "2"), ("f", "3")]).await;
    let clash = async |ours: Vec<_>, theirs: Vec<_>| {
        let ours = bench.apply(&base, ours).await;
        let theirs = bench.apply(&base, theirs).await;
        merged(&bench, &base, &ours, &theirs).await
    };
    let same = clash(vec![put("b", "ours")], vec![put("b", "theirs")]).await;
    assert_eq!(against(&same), [("b", "b")]);
    let gone = clash(vec![remove("b")], vec![put("b", "theirs")]).await;
    assert_eq!(against(&gone), [("b", "b")]);
    let added = clash(vec![put("n", "1")], vec![put("n", "2")]).await;
    assert_eq!(against(&added), [("n", "n")]);
    let replace = || (path("a"), Edit::Replace(file("now a file")));
    let below = clash(vec![put("a/new", "1")], vec![replace()]).await;
    assert_eq!(against(&below), [("a", "a/new")]);
    let above = clash(vec![replace()], vec![put("a/new", "1")]).await;
    assert_eq!(against(&above), [("a/new", "a")]);
}

#[tokio::test]
async fn a_directory_removed_by_one_and_filled_by_the_other_stays() {
    let bench = Bench::new();
    let base = bench.files(&[("d/e/x", "1"), ("k", "2")]).await;
    let removed = bench.apply(&base, vec![remove("d")]).await;
    let filled = bench.apply(&base, vec![put("d/y", "3")]).await;
    for (ours, theirs) in [(removed, filled), (filled, removed)] {
        let merge = merged(&bench, &base, &ours, &theirs).await;
        let Merge::Merged(root) = merge else { panic!("{merge:?}") };
        assert_eq!(bench.paths(root).await, ["d/", "d/y", "k"]);
    }
}

#[tokio::test]
async fn a_file_that_becomes_a_directory_joins() {
    let bench = Bench::new();
    let base = bench.files(&[("a", "1"), ("b", "2")]).await;
    let ours = bench.apply(&base, vec![put("b", "ours")]).await;
    let dir = (path("a"), Edit::Replace(Entry::dir(TIME)));
    let theirs = bench.apply(&base, vec![dir, put("a/x", "3")]).await;
    for (ours, theirs) in [(ours, theirs), (theirs, ours)] {
        let merge = merged(&bench, &base, &ours, &theirs).await;
        let Merge::Merged(root) = merge else { panic!("{merge:?}") };
        assert_eq!(bench.paths(root).await, ["a/", "a/x", "b"]);
    }
}

#[tokio::test]
async fn a_file_that_becomes_a_directory_on_both_sides_holds_what_both_put_there() {
    let bench = Bench::new();
    let base = bench.files(&[("a", "1"), ("b", "2")]).await;
    let dir = || (path("a"), Edit::Replace(Entry::dir(TIME)));
    let ours = bench.apply(&base, vec![dir(), put("a/x", "3")]).await;
    let theirs = bench.apply(&base, vec![dir(), put("a/y", "4")]).await;
    for (ours, theirs) in [(ours, theirs), (theirs, ours)] {
        let merge = merged(&bench, &base, &ours, &theirs).await;
        let Merge::Merged(root) = merge else { panic!("{merge:?}") };
        assert_eq!(bench.paths(root).await, ["a/", "a/x", "a/y", "b"]);
    }
}
