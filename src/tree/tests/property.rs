//! Random histories: the tree equals the map, and shows no history.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

/// One random step; applied to the map and to the tree.
#[derive(Debug, Clone)]
enum Step {
    File { dir: u8, name: u8, size: u16, fill: u8 },
    Dir { dir: u8 },
    Remove { dir: u8, name: Option<u8> },
}

fn dir_path(dir: u8) -> TreePath {
    // Names of very different lengths, nested up to three deep.
    let pad = "p".repeat(usize::from(dir % 5) * 50);
    match dir % 3 {
        0 => path(&format!("d{dir}{pad}")),
        1 => path(&format!("d{}{}/e{dir}", dir - 1, "p".repeat(usize::from((dir - 1) % 5) * 50))),
        _ => path(&format!("x/y{pad}/z{dir}")),
    }
}

fn file_path(dir: u8, name: u8) -> TreePath {
    let pad = "n".repeat(usize::from(name % 4) * 60);
    dir_path(dir).join(&format!("f{name}{pad}")).unwrap()
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..24_u8, any::<u8>(), 0..4096_u16, any::<u8>())
            .prop_map(|(dir, name, size, fill)| Step::File { dir, name, size, fill }),
        1 => (0..24_u8).prop_map(|dir| Step::Dir { dir }),
        1 => (0..24_u8, proptest::option::weighted(0.8, any::<u8>()))
            .prop_map(|(dir, name)| Step::Remove { dir, name }),
    ]
}

fn edit(step: &Step) -> (TreePath, Edit) {
    match *step {
        Step::File { dir, name, size, fill } => {
            let content = Content::Inline(vec![fill; size.into()].into());
            (file_path(dir, name), Edit::Put(Entry::file(content, TIME)))
        }
        Step::Dir { dir } => (dir_path(dir), Edit::Put(Entry::dir(TIME))),
        Step::Remove { dir, name: None } => (dir_path(dir), Edit::Remove),
        Step::Remove { dir, name: Some(name) } => (file_path(dir, name), Edit::Remove),
    }
}

/// One batch: sorted, one edit to a path.
fn batch(steps: &[Step]) -> Vec<(TreePath, Edit)> {
    steps.iter().map(edit).collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn apply_to_model(model: &mut Model, edits: &[(TreePath, Edit)], prune: bool) {
    let mut removed = Vec::new();
    for (path, edit) in edits {
        match edit {
            Edit::Remove => {
                if model.contains_key(path) {
                    removed.push(path.clone());
                }
                model.retain(|p, _| !p.starts_with(path));
            }
            Edit::Put(entry) => {
                for dir in path.ancestors().skip(1) {
                    model.entry(dir).or_insert_with(|| Entry::dir(TIME));
                }
                model.insert(path.clone(), entry.clone());
            }
            Edit::Replace(_) | Edit::Graft { .. } => unreachable!("not among the steps"),
        }
    }
    for path in removed.iter().filter(|_| prune) {
        for dir in path.ancestors().skip(1).collect::<Vec<_>>().iter().rev() {
            let put = edits.iter().any(|(p, e)| p == dir && *e != Edit::Remove);
            if !put && !model.keys().any(|p| p.starts_with(dir) && p != dir) {
                model.remove(dir);
            }
        }
    }
}

async fn history(batches: &[Vec<Step>], prune: bool) {
    let bench = Bench::new();
    let options = ApplyOptions { prune_parents: prune };
    let (mut model, mut root) = (Model::new(), Root::empty());
    for steps in batches {
        let edits = batch(steps);
        let before = model.clone();
        apply_to_model(&mut model, &edits, prune);
        let next = bench.apply_with(&root, edits, options).await.unwrap();
        bench.check(next, &model).await;
        check_diff(&bench, (&root, &before), (&next, &model)).await;
        root = next;
    }
    let empty = bench.apply(&root, vec![remove("")]).await;
    assert!(empty.is_empty());
}

async fn check_diff(bench: &Bench, old: (&Root, &Model), new: (&Root, &Model)) {
    let paths: std::collections::BTreeSet<_> = old.1.keys().chain(new.1.keys()).collect();
    let change = |path: &TreePath| Change {
        path: path.clone(),
        old: old.1.get(path).cloned(),
        new: new.1.get(path).cloned(),
    };
    let expected: Vec<_> = paths.into_iter().map(change).filter(|c| c.old != c.new).collect();
    assert_eq!(bench.diff(old.0, new.0).await, expected);
    let below = dir_path(5);
    let some: Vec<_> = expected.into_iter().filter(|c| c.path.starts_with(&below)).collect();
    let found: Vec<_> =
        diff(&bench.nodes, old.0, new.0, &below).try_collect::<Vec<_>>().await.unwrap();
    assert_eq!(found, some);
}

fn run(batches: &[Vec<Step>], prune: bool) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(history(batches, prune));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_the_same_nodes(batches in vec(vec(step(), 1..200), 1..6)) {
        run(&batches, false);
    }

    #[test]
    fn pruning_leaves_no_emptied_directory(batches in vec(vec(step(), 1..60), 1..8)) {
        run(&batches, true);
    }

    #[test]
    fn large_trees_and_few_edits(
        first in vec(step(), 600..900),
        edits in vec(vec(step(), 1..4), 1..6),
    ) {
        let mut batches = vec![first];
        batches.extend(edits);
        run(&batches, false);
    }
}
