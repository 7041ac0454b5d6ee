use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::model::ProjectName;
use crate::pipeline::spec::{PfsInput, PipelineSpec, Transform};

fn pfs(repo: &str, glob: &str) -> Input {
    let repo = Repo::user(ProjectName::default_project(), repo.parse().unwrap());
    let mut pfs = PfsInput::new(repo, glob.parse().unwrap());
    pfs.join_on = "$1".to_owned();
    pfs.group_by = "$1".to_owned();
    Input::Pfs(Box::new(pfs))
}

fn outer(repo: &str, glob: &str) -> Input {
    match pfs(repo, glob) {
        Input::Pfs(mut pfs) => {
            pfs.outer_join = true;
            Input::Pfs(pfs)
        }
        other => other,
    }
}

/// Matches of `leaf` for files given as name and content.
fn matches(leaf: Leaf<'_>, files: &BTreeMap<String, u8>) -> Vec<Arc<Match>> {
    let paths = files.iter().map(|(name, content)| (name.parse().unwrap(), *content));
    let selected = paths.filter(|(path, _)| leaf.glob().matches(path));
    selected
        .map(|(path, content)| {
            let size = u64::from(content);
            Arc::new(Match::new(leaf, path, false, [content; 32], size))
        })
        .collect()
}

fn files(names: &[&str]) -> BTreeMap<String, u8> {
    names.iter().map(|name| ((*name).to_owned(), 1)).collect()
}

fn all(input: &Input, repos: &[BTreeMap<String, u8>]) -> Vec<Vec<String>> {
    let leaves: Vec<_> =
        input.leaves().into_iter().zip(repos).map(|(leaf, files)| matches(leaf, files)).collect();
    let mut datums: Vec<Vec<String>> = evaluate_all(input, &leaves)
        .iter()
        .map(|datum| datum.inputs.iter().map(|i| i.found.path.to_string()).collect())
        .collect();
    datums.sort();
    datums
}

#[test]
fn crosses_unions_joins_and_groups() {
    let (a, b) = (files(&["x1", "y1"]), files(&["x1", "z1"]));
    let repos = [a, b];
    let pair = || vec![pfs("a", "/(?)*"), pfs("b", "/(?)*")];
    let expect = |input: &Input, expected: &[&[&str]]| assert_eq!(all(input, &repos), expected);
    expect(
        &Input::Cross(pair()),
        &[&["/x1", "/x1"], &["/x1", "/z1"], &["/y1", "/x1"], &["/y1", "/z1"]],
    );
    expect(&Input::Union(pair()), &[&["/x1"], &["/x1"], &["/y1"], &["/z1"]]);
    expect(&Input::Join(pair()), &[&["/x1", "/x1"]]);
    let left = Input::Join(vec![outer("a", "/(?)*"), pfs("b", "/(?)*")]);
    expect(&left, &[&["/x1", "/x1"], &["/y1"]]);
    let both = Input::Join(vec![outer("a", "/(?)*"), outer("b", "/(?)*")]);
    expect(&both, &[&["/x1", "/x1"], &["/y1"], &["/z1"]]);
    expect(&Input::Group(pair()), &[&["/x1", "/x1"], &["/y1"], &["/z1"]]);
}

#[test]
fn a_union_of_the_same_files_has_each_once() {
    let input = Input::Union(vec![pfs("a", "/*"), pfs("a", "/x*")]);
    let a = files(&["x", "y"]);
    assert_eq!(all(&input, &[a.clone(), a]), [["/x"], ["/y"]]);
}

#[test]
fn identity_follows_paths_and_hash_follows_contents() {
    let input = Input::Cross(vec![pfs("a", "/*"), pfs("b", "/*")]);
    let swapped = Input::Cross(vec![pfs("b", "/*"), pfs("a", "/*")]);
    let one = |input: &Input, content: [u8; 2], salt: &str| {
        let found = |leaf: Leaf<'_>| {
            let content = content[usize::from(leaf.name() == "b")];
            matches(leaf, &BTreeMap::from([("f".to_owned(), content)]))
        };
        let leaves: Vec<_> = input.leaves().into_iter().map(found).collect();
        let datum = evaluate_all(input, &leaves).remove(0);
        Origins::of(input).identify(datum, salt)
    };
    let first = one(&input, [1, 2], "s");
    assert_eq!(first.id, one(&input, [1, 3], "s").id);
    assert_ne!(first.hash, one(&input, [1, 3], "s").hash);
    assert_ne!(first.hash, one(&input, [1, 2], "t").hash);
    let same = one(&swapped, [1, 2], "s");
    assert_eq!((first.id, first.hash), (same.id, same.hash));
    insta::assert_snapshot!(format!("{} {}", first.id, first.hash));
}

#[test]
fn only_what_is_needed_is_read_in_full() {
    let cross = Input::Cross(vec![pfs("a", "/*"), pfs("b", "/*"), pfs("c", "/*")]);
    assert_eq!(needs_full(&cross, &[false, true, false]), [true, false, true]);
    assert_eq!(needs_full(&cross, &[true, true, false]), [true, true, true]);
    let union = Input::Union(vec![pfs("d", "/*"), cross]);
    assert_eq!(needs_full(&union, &[true, false, false, false]), [false; 4]);
    let join = Input::Join(vec![pfs("a", "/*"), pfs("b", "/*")]);
    assert_eq!(needs_full(&join, &[false, true]), [true, true]);
    assert_eq!(needs_full(&join, &[false, false]), [false, false]);
}

fn trees() -> impl Strategy<Value = Input> {
    let repo = || prop::sample::select(vec!["a", "b", "c"]);
    let leaf = (repo(), prop::sample::select(vec!["/*", "/(?)*", "/(x|y)*"]))
        .prop_map(|(repo, glob)| pfs(repo, glob));
    let joined = || {
        (repo(), any::<bool>()).prop_map(|(repo, is_outer)| match is_outer {
            true => outer(repo, "/(?)*"),
            false => pfs(repo, "/(?)*"),
        })
    };
    let join = prop::collection::vec(joined(), 1..4).prop_map(Input::Join);
    let group =
        prop::collection::vec(prop_oneof![joined(), join.clone()], 1..3).prop_map(Input::Group);
    prop_oneof![leaf, join, group].prop_recursive(2, 6, 3, |inner| {
        let members = prop::collection::vec(inner, 1..4);
        prop_oneof![members.clone().prop_map(Input::Cross), members.prop_map(Input::Union)]
    })
}

/// Gives every leaf a name of its own.
fn renamed(input: Input, next: &mut usize) -> Input {
    let mut all = |members: Vec<Input>| members.into_iter().map(|m| renamed(m, next)).collect();
    match input {
        Input::Pfs(mut pfs) => {
            *next += 1;
            pfs.name = format!("n{next}");
            Input::Pfs(pfs)
        }
        Input::Cross(members) => Input::Cross(all(members)),
        Input::Union(members) => Input::Union(all(members)),
        Input::Join(members) => Input::Join(all(members)),
        Input::Group(members) => Input::Group(all(members)),
        Input::Cron(cron) => Input::Cron(cron),
    }
}

fn is_valid(input: &Input) -> bool {
    let transform = Transform { cmd: vec!["true".to_owned()], ..Transform::default() };
    PipelineSpec::new("p".parse().unwrap(), transform, input.clone()).validate().is_ok()
}

fn valid_trees() -> impl Strategy<Value = Input> {
    let trees = (trees(), any::<bool>()).prop_map(|(tree, rename)| match rename {
        true => renamed(tree, &mut 0),
        false => tree,
    });
    trees.prop_filter("a valid spec", is_valid)
}

fn repo_files() -> impl Strategy<Value = BTreeMap<String, u8>> {
    prop::collection::btree_map("[xyz][12]", 0u8..3, 0..5)
}

proptest! {
    #[test]
    fn incremental_equals_from_scratch(
        input in valid_trees(),
        before in prop::array::uniform3(repo_files()),
        after in prop::array::uniform3(repo_files()),
    ) {
        let at = |repos: &[BTreeMap<String, u8>; 3]| -> Vec<Vec<Arc<Match>>> {
            let of = |leaf: Leaf<'_>| {
                let repo = usize::from(leaf.repo().name.as_str().as_bytes()[0] - b'a');
                matches(leaf, &repos[repo])
            };
            input.leaves().into_iter().map(of).collect()
        };
        let (old, new) = (at(&before), at(&after));
        let deltas: Vec<_> = old.iter().zip(&new).map(|(o, n)| Delta::between(o, n)).collect();
        let changed: Vec<bool> = deltas.iter().map(|delta| !delta.is_empty()).collect();
        let full = needs_full(&input, &changed);
        let leaves: Vec<LeafMatches> = deltas
            .into_iter()
            .zip(full)
            .zip(&new)
            .map(|((delta, full), new)| LeafMatches { delta, full: full.then(|| new.clone()) })
            .collect();
        let origins = Origins::of(&input);
        let keys = |datums: &[Datum]| {
            let mut keys: Vec<_> = datums
                .iter()
                .map(|datum| origins.identify(datum.clone(), ""))
                .map(|one| (one.id, one.hash))
                .collect();
            keys.sort_unstable();
            keys
        };
        let expected =
            Delta::between(&evaluate_all(&input, &old), &evaluate_all(&input, &new));
        let found = evaluate(&input, &leaves);
        prop_assert_eq!(keys(&found.removed), keys(&expected.removed));
        prop_assert_eq!(keys(&found.added), keys(&expected.added));
    }
}
