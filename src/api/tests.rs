use std::io::Read;

use bytes::Bytes;
use serde_json::json;

use super::client::Address;
use super::json::{Keys, from_json, to_json};
use super::proto::{pfs_v2, pps_v2};
use super::status::{hint, refused};
use super::{convert, tar};
use crate::chunk::Content;
use crate::model::Timestamp;
use crate::repo::RepoError;
use crate::tree::Entry;

#[test]
fn addresses_of_every_form_parse_and_print() {
    let shown = |text: &str| text.parse::<Address>().unwrap().to_string();
    assert_eq!(shown("grpc://host:1"), "grpc://host:1");
    assert_eq!(shown("http://host:1/"), "grpc://host:1");
    assert_eq!(shown("host"), "grpc://host:30650");
    assert_eq!(shown("https://[::1]:2"), "grpcs://[::1]:2");
    assert_eq!(shown("unix:///run/pfs.sock"), "unix:///run/pfs.sock");
    for bad in ["", "ftp://host:1", "unix://run", "grpc://", "grpc://user@host:1", "a b"] {
        assert!(bad.parse::<Address>().is_err(), "{bad:?}");
    }
}

#[test]
fn messages_are_json_in_both_spellings() {
    let message = pfs_v2::FileInfo {
        size_bytes: 5,
        hash: vec![0xff],
        committed: Some(prost_types::Timestamp { seconds: 0, nanos: 0 }),
        file_type: pfs_v2::FileType::Dir.into(),
        ..Default::default()
    };
    let snake = json!({
        "file_type": "DIR", "committed": "1970-01-01T00:00:00Z", "size_bytes": "5", "hash": "/w=="
    });
    assert_eq!(to_json(&message, Keys::Snake), snake);
    assert_eq!(to_json(&message, Keys::Camel)["sizeBytes"], "5");
    assert_eq!(from_json::<pfs_v2::FileInfo>(&snake).unwrap(), message);
    let spec = json!({"parallelismSpec": {"constant": "3"}, "datum_timeout": "90s"});
    let request: pps_v2::CreatePipelineRequest = from_json(&spec).unwrap();
    assert_eq!(request.parallelism_spec.unwrap().constant, 3);
    assert_eq!(request.datum_timeout.unwrap().seconds, 90);
    assert!(from_json::<pps_v2::CreatePipelineRequest>(&json!({"imput": {}})).is_err());
}

#[test]
fn commits_are_named_in_several_ways() {
    let repo = pfs_v2::Repo { name: "r".to_owned(), ..Default::default() };
    let branch = pfs_v2::Branch { repo: Some(repo.clone()), name: "b".to_owned() };
    let shown = |message| {
        let found = convert::commit(Some(&message)).unwrap();
        format!("{}@{}", found.repo, found.reference)
    };
    let id = "0a".repeat(16);
    let by_branch = pfs_v2::Commit { branch: Some(branch.clone()), ..Default::default() };
    assert_eq!(shown(by_branch.clone()), "r@b");
    assert_eq!(shown(pfs_v2::Commit { id: id.clone(), ..by_branch.clone() }), format!("r@{id}"));
    assert_eq!(shown(pfs_v2::Commit { id: "^2".to_owned(), ..by_branch }), "r@b^2");
    let by_repo = pfs_v2::Commit { repo: Some(repo), id: "m.1".to_owned(), ..Default::default() };
    assert_eq!(shown(by_repo), "r@m.1");
    assert!(convert::commit(Some(&pfs_v2::Commit::default())).is_err());
    assert!(convert::optional_commit(Some(&pfs_v2::Commit::default())).unwrap().is_none());
}

#[test]
fn refusals_speak_as_clients_expect() {
    let missing = |kind, name: &str| {
        refused(RepoError::NotFound { kind, name: name.to_owned(), nearest: None })
    };
    assert_eq!(missing("repo", "r").message(), "repo default/r not found");
    assert_eq!(missing("repo", "p/r").message(), "repo p/r not found");
    assert_eq!(missing("branch", "r@a/b").message(), "branch default/r@a/b not found");
    assert_eq!(missing("project", "p").message(), "project \"p\" not found");
    let near = Some("images".to_owned());
    let error = RepoError::NotFound { kind: "repo", name: "imges".to_owned(), nearest: near };
    assert_eq!(hint(&refused(error)).as_deref(), Some("did you mean images?"));
}

#[test]
fn tar_streams_keep_long_names_links_and_modes() {
    let long = format!("{}/file", "d".repeat(150));
    let time = Timestamp::from_parts(7, 0);
    let content = Bytes::from_static(b"content");
    let mut file = Entry::file(Content::Inline(content.clone()), time);
    file.mode = 0o755;
    let link = Entry::symlink("t".repeat(120), time);
    let mut stream = Vec::new();
    stream.extend(tar::header(&long, &file));
    stream.extend(&content);
    stream.extend(tar::padding(content.len() as u64));
    stream.extend(tar::header("/link", &link));
    stream.extend(tar::header("/dir/", &Entry::dir(time)));
    stream.extend(tar::trailer());
    let mut archive = ::tar::Archive::new(stream.as_slice());
    let mut entries = archive.entries().unwrap();
    let mut first = entries.next().unwrap().unwrap();
    assert_eq!(first.path().unwrap().to_str(), Some(long.as_str()));
    assert_eq!((first.header().mode().unwrap(), first.header().mtime().unwrap()), (0o755, 7));
    let mut read = Vec::new();
    first.read_to_end(&mut read).unwrap();
    assert_eq!(read, content);
    let second = entries.next().unwrap().unwrap();
    assert_eq!(second.link_name().unwrap().unwrap().to_str().unwrap(), "t".repeat(120));
    assert!(entries.next().unwrap().unwrap().header().entry_type().is_dir());
    assert!(entries.next().is_none());
}
