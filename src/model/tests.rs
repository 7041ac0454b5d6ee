use proptest::prelude::*;

use super::*;

#[test]
fn ids_print_and_parse_as_lower_case_hex() {
    let id = CommitId::new([0xab; 16]);
    assert_eq!(id.to_string(), "ab".repeat(16));
    assert_eq!("ab".repeat(16).parse(), Ok(id));
    assert!("AB".repeat(16).parse::<CommitId>().is_err());
    assert!("abc".parse::<CommitId>().is_err());
}

#[test]
fn names_keep_to_their_alphabet() {
    for good in ["a", "A-b_9", "0"] {
        assert_eq!(good.parse::<RepoName>().unwrap().as_str(), good);
    }
    for bad in ["", "a b", "ä", "a/b", "a.b", "a@b", &"x".repeat(129)] {
        assert!(bad.parse::<RepoName>().is_err(), "{bad:?}");
    }
    assert!("-a".parse::<PipelineName>().is_err());
    assert!("a".repeat(64).parse::<PipelineName>().is_err());
    assert!("0".repeat(32).parse::<BranchName>().is_err());
}

#[test]
fn paths_are_validated_once() {
    assert_eq!("/a/b/".parse::<TreePath>().unwrap().as_str(), "a/b");
    assert!("/".parse::<TreePath>().unwrap().is_root());
    for bad in ["a//b", "../a", "a/./b", "a\0b", &"x/".repeat(2049), &"y".repeat(256)] {
        assert!(bad.parse::<TreePath>().is_err(), "{bad:?}");
    }
}

#[test]
fn paths_know_their_neighbours() {
    let path: TreePath = "a/b/c".parse().unwrap();
    assert_eq!(path.file_name(), "c");
    assert_eq!(path.parent().unwrap().as_str(), "a/b");
    let ancestors: Vec<_> = path.ancestors().map(|p| p.as_str().to_owned()).collect();
    assert_eq!(ancestors, ["", "a", "a/b"]);
    let dir: TreePath = "a".parse().unwrap();
    assert_eq!(path.strip_prefix(&dir).unwrap().as_str(), "b/c");
    assert!(!"ab".parse::<TreePath>().unwrap().starts_with(&dir));
    assert_eq!(TreePath::root().ancestors().count(), 0);
}

#[test]
fn refs_of_every_form_parse() {
    let base = |text: &str| text.parse::<Ref>().unwrap().base;
    assert_eq!(base("master"), RefBase::Branch(BranchName::master()));
    assert!(matches!(base(&"0a".repeat(16)), RefBase::Commit(_)));
    assert!(matches!(base("2026-11-20T10:00:00Z"), RefBase::Time(_)));
    let moves = |text: &str| text.parse::<Ref>().unwrap().moves;
    assert_eq!(moves("master^"), [Move::Parent(1)]);
    assert_eq!(moves("master^^2~3"), [Move::Parent(1), Move::Parent(2), Move::Ancestor(3)]);
    assert_eq!(moves("master.4"), [Move::FromStart(4)]);
    for bad in ["", "^", "a^b", "a.", "a b"] {
        assert!(bad.parse::<Ref>().is_err(), "{bad:?}");
    }
}

#[test]
fn file_refs_split_into_repo_ref_and_path() {
    let project = ProjectName::default_project();
    let parsed = FileRef::parse("images@master:/a:b", &project).unwrap();
    assert_eq!(parsed.repo.to_string(), "images");
    assert_eq!(parsed.path.as_deref(), Some("/a:b"));
    let timed = FileRef::parse("p/edges.meta@2026-11-20T10:00:00Z:/x", &project).unwrap();
    assert_eq!(timed.repo.to_string(), "p/edges.meta");
    assert_eq!(timed.reference.unwrap().to_string(), "2026-11-20T10:00:00Z");
    assert_eq!(timed.path.as_deref(), Some("/x"));
    let bare = FileRef::parse("images:x", &project).unwrap();
    assert_eq!((bare.reference, bare.path.as_deref()), (None, Some("x")));
}

proptest! {
    #[test]
    fn directory_order_keeps_subtrees_together(
        a in "[a!./]{1,6}", b in "[a!./]{1,6}", c in "[a!./]{1,6}",
    ) {
        let parse = |text: &str| text.parse::<TreePath>().ok();
        if let (Some(dir), Some(x), Some(between)) = (parse(&a), parse(&b), parse(&c)) {
            let below = dir.join_path(&x).unwrap();
            if dir < between && between < below {
                prop_assert!(between.starts_with(&dir));
            }
        }
    }
}
