use proptest::prelude::*;

use super::*;
use crate::model::ProjectName;

fn repo(name: &str, kind: RepoKind) -> Repo {
    Repo { project: ProjectName::default_project(), name: name.parse().unwrap(), kind }
}

fn row() -> CommitRow {
    CommitRow {
        commit: repo("edges", RepoKind::User).commit(CommitId::new([0x11; 16])),
        seq: 0,
        number: 0,
        branch: Some("master".parse().unwrap()),
        parent: Some(CommitId::new([0x22; 16])),
        origin: Origin::Auto,
        description: "a description".into(),
        author: "somebody".into(),
        started: Timestamp::from_nanos(1),
        finished: Some(Timestamp::from_nanos(-2)),
        error: Some("why".into()),
        root: StoredRoot { encoded: Bytes::from_static(b"root"), files: 3, bytes: 4 },
        provenance: vec![
            repo("images", RepoKind::User).commit(CommitId::new([0x33; 16])),
            repo("edges", RepoKind::Spec).commit(CommitId::new([0x44; 16])),
        ],
    }
}

/// The persisted form: when this fails, the format has changed, which needs a
/// new version.
const GOLDEN: &str = "\
    01 07000000 64656661756c74 05000000 6564676573 00 11111111111111111111111111111111\
    01 06000000 6d6173746572 01 22222222222222222222222222222222 01\
    0d000000 61206465736372697074696f6e 08000000 736f6d65626f6479\
    0100000000000000 01 feffffffffffffff 01 03000000 776879\
    04000000 726f6f74 0300000000000000 0400000000000000\
    02000000\
    07000000 64656661756c74 06000000 696d61676573 00 33333333333333333333333333333333\
    07000000 64656661756c74 05000000 6564676573 01 44444444444444444444444444444444";

#[test]
fn the_persisted_form_is_fixed() {
    let encoded = encode(&row());
    let (body, checksum) = encoded.split_at(encoded.len() - CHECKSUM);
    assert_eq!(hex::encode(body), GOLDEN.replace(' ', ""));
    assert_eq!(checksum, &blake3::hash(body).as_bytes()[..CHECKSUM]);
    assert_eq!(decode(&encoded), Ok(row()));
}

#[test]
fn keys_and_commits_name_each_other() {
    let commit = row().commit;
    assert_eq!(key(&commit), format!("commits/default/edges.user/{}", commit.id));
    assert_eq!(commit_of(&key(&commit)), Some(commit));
    for stray in ["commits/x", "packs/00/11", "commits/default/edges.user/xyz", "commits/a/b/c/d"] {
        assert_eq!(commit_of(stray), None);
    }
}

#[test]
fn altered_objects_are_refused() {
    let encoded = encode(&row());
    for at in 0..encoded.len() {
        let mut altered = encoded.to_vec();
        altered[at] ^= 1;
        assert!(decode(&altered).is_err(), "{at}");
        assert!(decode(&encoded[..at]).is_err(), "{at}");
    }
}

proptest! {
    #[test]
    fn no_input_is_more_than_refused(mut body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let checksum = blake3::hash(&body);
        body.extend(&checksum.as_bytes()[..CHECKSUM]);
        if let Ok(row) = decode(&body) {
            prop_assert_eq!(encode(&row), Bytes::from(body));
        }
    }
}
