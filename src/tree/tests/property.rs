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
    Replace { dir: u8 },
    Graft { from: u8, to: u8 },
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
        8 => (0..24_u8, 0..120_u8, 0..4096_u16, any::<u8>())
            .prop_map(|(dir, name, size, fill)| Step::File { dir, name, size, fill }),
        1 => (0..24_u8).prop_map(|dir| Step::Dir { dir }),
        1 => (0..24_u8).prop_map(|dir| Step::Replace { dir }),
        1 => (0..24_u8, 0..4_u8).prop_map(|(from, to)| Step::Graft { from, to }),
        1 => (0..24_u8, proptest::option::weighted(0.8, 0..120_u8))
            .prop_map(|(dir, name)| Step::Remove { dir, name }),
    ]
}

fn edit(step: &Step, source: Root) -> (TreePath, Edit) {
    match *step {
        Step::File { dir, name, size, fill } => {
            let content = Content::Inline(vec![fill; size.into()].into());
            (file_path(dir, name), Edit::Put(Entry::file(content, TIME)))
        }
        Step::Dir { dir } => (dir_path(dir), Edit::Put(Entry::dir(TIME))),
        Step::Replace { dir } => (dir_path(dir), Edit::Replace(Entry::dir(TIME))),
        Step::Graft { from, to } => {
            (path(&format!("g{to}/copy")), Edit::Graft { source, path: dir_path(from) })
        }
        Step::Remove { dir, name: None } => (dir_path(dir), Edit::Remove),
        Step::Remove { dir, name: Some(name) } => (file_path(dir, name), Edit::Remove),
    }
}

/// One batch on `root`: sorted, one edit to a path, grafts of what there is.
fn batch(steps: &[Step], root: Root, model: &Model) -> Vec<(TreePath, Edit)> {
    let edits: BTreeMap<_, _> = steps.iter().map(|step| edit(step, root)).collect();
    let possible = |edit: &Edit| match edit {
        Edit::Graft { path, .. } => model.contains_key(path),
        Edit::Put(_) | Edit::Replace(_) | Edit::Remove => true,
    };
    edits.into_iter().filter(|(_, edit)| possible(edit)).collect()
}

fn apply_to_model(model: &mut Model, edits: &[(TreePath, Edit)], prune: bool) {
    let before = model.clone();
    let mut removed = Vec::new();
    for (path, edit) in edits {
        match edit {
            Edit::Remove => {
                if model.contains_key(path) {
                    removed.push(path.clone());
                }
                model.retain(|p, _| !p.starts_with(path));
            }
            Edit::Put(entry) => put_in_model(model, path, entry),
            Edit::Replace(entry) => {
                model.retain(|p, _| !p.starts_with(path));
                put_in_model(model, path, entry);
            }
            Edit::Graft { path: from, .. } => {
                model.retain(|p, _| !p.starts_with(path));
                for (at, entry) in before.iter().filter(|(at, _)| at.starts_with(from)) {
                    let to = path.join_path(&at.strip_prefix(from).unwrap()).unwrap();
                    put_in_model(model, &to, entry);
                }
            }
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

fn put_in_model(model: &mut Model, path: &TreePath, entry: &Entry) {
    for dir in path.ancestors().skip(1) {
        model.entry(dir).or_insert_with(|| Entry::dir(TIME));
    }
    model.insert(path.clone(), entry.clone());
}

async fn history(batches: &[Vec<Step>], prune: bool) {
    let bench = Bench::new();
    let options = ApplyOptions { prune_parents: prune };
    let (mut model, mut root) = (Model::new(), Root::empty());
    for steps in batches {
        let edits = batch(steps, root, &model);
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

/// What a merge should give: their changes on top of ours.
fn merge_models(base: &Model, ours: &Model, theirs: &Model) -> Result<Model, Vec<TreePath>> {
    let changed = |side: &Model, path: &TreePath| side.get(path) != base.get(path);
    let paths: std::collections::BTreeSet<_> = base.keys().chain(theirs.keys()).collect();
    let paths: Vec<_> = paths.into_iter().filter(|path| changed(theirs, path)).collect();
    let clash = |path: &TreePath| changed(ours, path) && ours.get(path) != theirs.get(path);
    let clashes: Vec<_> = paths.iter().filter(|p| clash(p)).map(|p| (*p).clone()).collect();
    if !clashes.is_empty() {
        return Err(clashes);
    }
    let mut merged = ours.clone();
    for path in paths {
        let put_below = |p: &TreePath| p.starts_with(path) && p != path && changed(ours, p);
        match theirs.get(path) {
            Some(entry) => put_in_model(&mut merged, path, entry),
            None if ours.keys().any(put_below) => {}
            None => drop(merged.remove(path)),
        }
    }
    Ok(merged)
}

async fn merging(first: &[Step], ours: &[Step], theirs: &[Step]) {
    let bench = Bench::new();
    let step = async |root: Root, model: &Model, steps: &[Step]| {
        let (mut next, edits) = (model.clone(), batch(steps, root, model));
        apply_to_model(&mut next, &edits, false);
        (bench.apply(&root, edits).await, next)
    };
    let (base, base_model) = step(Root::empty(), &Model::new(), first).await;
    let (ours, our_model) = step(base, &base_model, ours).await;
    let (theirs, their_model) = step(base, &base_model, theirs).await;
    let found = merge(&bench.nodes, &bench.writer, &base, &ours, &theirs).await.unwrap();
    match (found, merge_models(&base_model, &our_model, &their_model)) {
        (Merge::Merged(root), Ok(model)) => bench.check(root, &model).await,
        (Merge::Conflicts(found), Err(paths)) => {
            let found: Vec<_> = found.into_iter().map(|conflict| conflict.path).collect();
            assert_eq!(found, paths);
        }
        (found, expected) => panic!("{found:?} instead of {expected:?}"),
    }
}

fn long_path(n: u16) -> TreePath {
    let top = blake3::hash(&n.to_le_bytes()).to_hex();
    let rest = "/".to_owned() + &"y".repeat(250);
    path(&format!("{}{}", &top.as_str()[..n as usize % 60 + 4], rest.repeat(8)))
}

async fn high(level: u8, first: &[u16], rounds: &[Vec<(u16, bool)>]) {
    let bench = Bench::new();
    let mut model = Model::new();
    first.iter().for_each(|n| put_in_model(&mut model, &long_path(*n), &file("")));
    let mut root = bench.build(&model).await;
    assert!(root.0.is_some_and(|top| top.level >= level));
    for round in rounds {
        let edits: BTreeMap<_, _> = round
            .iter()
            .map(|(n, add)| match add {
                true => (long_path(*n), Edit::Put(file("new"))),
                // A removed file of the first ones, and all the long way to it.
                false => {
                    let at = long_path(first[usize::from(*n) % first.len()]);
                    (at.ancestors().nth(1).unwrap(), Edit::Remove)
                }
            })
            .collect();
        let edits: Vec<_> = edits.into_iter().collect();
        apply_to_model(&mut model, &edits, false);
        let next = bench.apply(&root, edits).await;
        bench.check(next, &model).await;
        root = next;
    }
}

fn block_on(work: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work);
}

fn run(batches: &[Vec<Step>], prune: bool) {
    block_on(history(batches, prune));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_history_gives_the_same_nodes(batches in vec(vec(step(), 1..200), 1..6)) {
        run(&batches, false);
    }

    #[test]
    fn pruning_leaves_no_emptied_directory(batches in vec(vec(step(), 1..60), 1..8)) {
        run(&batches, true);
    }

    #[test]
    fn merges_join_disjoint_changes(
        first in vec(step(), 1..300),
        ours in vec(step(), 1..6),
        theirs in vec(step(), 1..6),
    ) {
        block_on(merging(&first, &ours, &theirs));
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

proptest! {
    #![proptest_config(ProptestConfig { cases: 8, ..ProptestConfig::default() })]

    /// Long keys make few items to a node, so the tree gets high.
    #[test]
    fn high_trees_show_no_history(
        first in vec(any::<u16>(), 500..600),
        edits in vec(vec((any::<u16>(), any::<bool>()), 1..4), 1..5),
    ) {
        block_on(high(2, &first, &edits));
    }
}

#[test]
fn a_tree_of_four_levels_shows_no_history() {
    let first: Vec<_> = (0..3000).collect();
    let rounds = [
        vec![(5, false), (40_000, true)],
        (0..2000).step_by(3).map(|n| (n, false)).collect(),
        (30_000..30_020).map(|n| (n, true)).collect(),
        (0..3000).filter(|n| n % 500 != 0).map(|n| (n, false)).collect(),
    ];
    block_on(high(3, &first, &rounds));
}
