//! The API as its own clients use it.

use std::collections::BTreeMap;
use std::io::Read;

use futures::stream;
use pfs::api::Address;
use pfs::api::client::Client;
use pfs::api::proto::pfs_v1::{
    self as v1, TransactionState, head_event, put_file, put_files_request,
};
use pfs::api::proto::pfs_v2;
use tonic::Code;

use crate::in_process::InProcess;

fn repo(name: &str) -> Option<v1::RepoName> {
    Some(v1::RepoName { repo: name.to_owned(), ..Default::default() })
}

async fn create_repo(client: &Client, name: &str) {
    let repo = Some(pfs_v2::Repo { name: name.to_owned(), ..Default::default() });
    let request = pfs_v2::CreateRepoRequest { repo, ..Default::default() };
    client.pfs().create_repo(request).await.unwrap();
}

fn file(path: &str, mode: u32, source: put_file::Source) -> v1::PutFile {
    v1::PutFile { path: path.to_owned(), mode, source: Some(source), ..Default::default() }
}

fn data(text: &str) -> put_file::Source {
    put_file::Source::Data(text.as_bytes().to_vec().into())
}

async fn put(client: &Client, name: &str, files: Vec<v1::PutFile>) -> v1::PutFilesResponse {
    let target = v1::PutTarget { repo: repo(name), ..Default::default() };
    let bodies = [
        put_files_request::Body::Target(target),
        put_files_request::Body::Files(v1::PutFileBatch { files }),
    ];
    let requests = bodies.map(|body| v1::PutFilesRequest { body: Some(body) });
    client.native().put_files(stream::iter(requests)).await.unwrap().into_inner()
}

fn at_master(name: &str, path: &str) -> Option<pfs_v2::File> {
    let repo = Some(pfs_v2::Repo { name: name.to_owned(), ..Default::default() });
    let branch = Some(pfs_v2::Branch { repo, name: "master".to_owned() });
    let commit = Some(pfs_v2::Commit { branch, ..Default::default() });
    Some(pfs_v2::File { commit, path: path.to_owned(), datum: String::new() })
}

async fn get(client: &Client, name: &str, path: &str) -> Vec<u8> {
    let request = pfs_v2::GetFileRequest { file: at_master(name, path), ..Default::default() };
    let mut pieces = client.pfs().get_file(request).await.unwrap().into_inner();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        bytes.extend_from_slice(&piece);
    }
    bytes
}

#[tokio::test]
async fn puts_keep_modes_links_and_pieces() {
    let server = InProcess::start().await;
    let client = server.client().await;
    create_repo(&client, "tools").await;
    let files = vec![
        file("bin/run", 0o755, data("#!/bin/sh\n")),
        file("link", 0, put_file::Source::Symlink("bin/run".to_owned())),
        v1::PutFile { more: true, ..file("pieces", 0, data("one ")) },
        file("pieces", 0, data("two")),
    ];
    let done = put(&client, "tools", files).await;
    assert_eq!((done.files, done.bytes), (3, 17));
    put(&client, "tools", vec![v1::PutFile { append: true, ..file("pieces", 0, data(" three")) }])
        .await;
    assert_eq!(get(&client, "tools", "/pieces").await, b"one two three");

    let request = pfs_v2::GetFileRequest { file: at_master("tools", "/"), ..Default::default() };
    let mut pieces = client.pfs().get_file_tar(request).await.unwrap().into_inner();
    let mut stream = Vec::new();
    while let Some(piece) = pieces.message().await.unwrap() {
        stream.extend_from_slice(&piece);
    }
    let mut archive = tar::Archive::new(stream.as_slice());
    let mut modes = BTreeMap::new();
    for entry in archive.entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_string_lossy().into_owned();
        modes.insert(path.clone(), entry.header().mode().unwrap());
        if path == "/bin/run" {
            let mut content = String::new();
            entry.read_to_string(&mut content).unwrap();
            assert_eq!(content, "#!/bin/sh\n");
        }
        if path == "/link" {
            assert_eq!(entry.link_name().unwrap().unwrap().to_str(), Some("bin/run"));
        }
    }
    assert_eq!(modes["/bin/run"], 0o755);
    assert_eq!(modes["/pieces"], 0o644);
    server.stop().await;
}

#[tokio::test]
async fn a_put_that_breaks_off_leaves_nothing() {
    let server = InProcess::start().await;
    let client = server.client().await;
    create_repo(&client, "r").await;
    let target = v1::PutTarget { repo: repo("r"), ..Default::default() };
    let unfinished = vec![v1::PutFile { more: true, ..file("half", 0, data("half")) }];
    let bodies = [
        put_files_request::Body::Target(target),
        put_files_request::Body::Files(v1::PutFileBatch { files: unfinished }),
    ];
    let requests = bodies.map(|body| v1::PutFilesRequest { body: Some(body) });
    let refused = client.native().put_files(stream::iter(requests)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let request = pfs_v2::InspectFileRequest { file: at_master("r", "/half") };
    assert_eq!(client.pfs().inspect_file(request).await.unwrap_err().code(), Code::NotFound);
    server.stop().await;
}

async fn open(client: &Client, name: &str) -> v1::TransactionInfo {
    let request = v1::OpenTransactionRequest {
        repo: repo(name),
        branch: "master".to_owned(),
        lease_seconds: 60,
        ..Default::default()
    };
    client.native().open_transaction(request).await.unwrap().into_inner()
}

fn entry(path: &str, text: &str) -> v1::EntryEdit {
    let content = v1::Content { inline: text.as_bytes().to_vec().into(), chunks: Vec::new() };
    let entry = v1::Entry { mode: 0o644, mtime: None, kind: Some(v1::entry::Kind::File(content)) };
    v1::EntryEdit { path: path.to_owned(), edit: Some(v1::entry_edit::Edit::Put(entry)) }
}

fn edits(of: &v1::TransactionInfo, edits: Vec<v1::EntryEdit>) -> v1::TransactionEdits {
    let (id, message) = (of.id.clone(), "a change".to_owned());
    v1::TransactionEdits { id, message, edits, complete: true, ..Default::default() }
}

async fn commit(client: &Client, with: v1::TransactionEdits) -> v1::TransactionInfo {
    client.native().commit_transaction(stream::iter([with])).await.unwrap().into_inner()
}

#[tokio::test]
async fn transactions_merge_or_conflict() {
    let server = InProcess::start().await;
    let client = server.client().await;
    create_repo(&client, "r").await;
    let first = open(&client, "r").await;
    let staged = edits(&first, vec![entry("a", "1")]);
    client.native().stage_transaction(stream::iter([staged])).await.unwrap();
    let hidden = pfs_v2::InspectFileRequest { file: at_master("r", "/a") };
    assert!(client.pfs().inspect_file(hidden).await.is_err());
    let done = commit(&client, edits(&first, vec![entry("dir/b", "2")])).await;
    assert_eq!(done.state(), TransactionState::Committed);
    assert_eq!(get(&client, "r", "/a").await, b"1");
    assert_eq!(get(&client, "r", "/dir/b").await, b"2");

    let (left, right, third) =
        (open(&client, "r").await, open(&client, "r").await, open(&client, "r").await);
    let done = commit(&client, edits(&left, vec![entry("left", "l")])).await;
    assert_eq!(done.state(), TransactionState::Committed);
    let merged = commit(&client, edits(&right, vec![entry("right", "r")])).await;
    assert_eq!(merged.state(), TransactionState::Committed);
    assert_ne!(merged.commit, done.commit);
    assert_eq!(get(&client, "r", "/left").await, b"l");
    assert_eq!(get(&client, "r", "/right").await, b"r");
    let clash = commit(&client, edits(&third, vec![entry("left", "other")])).await;
    assert_eq!(clash.state(), TransactionState::Conflict);
    assert_eq!(clash.conflicts, ["/left"]);
    assert_eq!(get(&client, "r", "/left").await, b"l");

    let again = commit(&client, edits(&right, Vec::new())).await;
    assert_eq!(again.commit, merged.commit);
    let request = v1::AbortTransactionRequest { id: third.id, reason: "given up".to_owned() };
    let aborted = client.native().abort_transaction(request).await.unwrap().into_inner();
    assert_eq!((aborted.state(), aborted.reason.as_str()), (TransactionState::Aborted, "given up"));
    server.stop().await;
}

#[tokio::test]
async fn a_transaction_is_committed_only_once_everything_is_staged() {
    let server = InProcess::start().await;
    let client = server.client().await;
    create_repo(&client, "r").await;
    let open = open(&client, "r").await;
    let staged = |text: &str, complete: bool| {
        let edits = edits(&open, vec![entry("a", text)]);
        stream::iter([v1::TransactionEdits { complete, ..edits }])
    };
    let nothing = || {
        let edits = edits(&open, Vec::new());
        stream::iter([v1::TransactionEdits { complete: false, ..edits }])
    };
    client.native().stage_transaction(staged("1", false)).await.unwrap();
    let refused = client.native().commit_transaction(nothing()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    let sealed = client.native().stage_transaction(staged("2", true)).await.unwrap();
    assert_eq!(sealed.into_inner().state(), TransactionState::Sealed);
    client.native().stage_transaction(staged("3", false)).await.unwrap();
    let refused = client.native().commit_transaction(nothing()).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    client.native().stage_transaction(staged("4", true)).await.unwrap();
    let done = client.native().commit_transaction(nothing()).await.unwrap().into_inner();
    assert_eq!(done.state(), TransactionState::Committed);
    assert_eq!(get(&client, "r", "/a").await, b"4");
    server.stop().await;
}

#[tokio::test]
async fn what_a_commit_has_seen_it_may_replace() {
    let server = InProcess::start().await;
    let client = server.client().await;
    create_repo(&client, "r").await;
    let old = open(&client, "r").await;
    let files = |text: &str| vec![entry("both", text), entry(text, text)];
    let others = commit(&client, edits(&open(&client, "r").await, files("theirs"))).await;
    let clash = commit(&client, edits(&old, files("ours"))).await;
    assert_eq!(clash.conflicts, ["/both"]);
    let unseen = v1::TransactionEdits { replaces: vec![7; 16], ..edits(&old, files("ours")) };
    assert_eq!(commit(&client, unseen).await.state(), TransactionState::Conflict);
    let seen = v1::TransactionEdits { replaces: others.commit, ..edits(&old, Vec::new()) };
    assert_eq!(commit(&client, seen).await.state(), TransactionState::Committed);
    for (path, text) in [("/both", "ours"), ("/ours", "ours"), ("/theirs", "theirs")] {
        assert_eq!(get(&client, "r", path).await, text.as_bytes(), "{path}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_transaction_without_changes_takes_a_newer_base() {
    let server = InProcess::start().await;
    let client = server.client().await;
    create_repo(&client, "r").await;
    let idle = open(&client, "r").await;
    let moved = commit(&client, edits(&open(&client, "r").await, vec![entry("a", "1")])).await;
    let request = v1::RenewTransactionRequest {
        id: idle.id.clone(),
        lease_seconds: 60,
        ..Default::default()
    };
    let onto = v1::RenewTransactionRequest { base: moved.commit.clone(), ..request };
    let renewed = client.native().renew_transaction(onto.clone()).await.unwrap().into_inner();
    assert_eq!((&renewed.base, &renewed.staged_root), (&moved.commit, &renewed.base_root));
    let staged = stream::iter([edits(&idle, vec![entry("b", "2")])]);
    client.native().stage_transaction(staged).await.unwrap();
    let refused = client.native().renew_transaction(onto).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    server.stop().await;
}

#[tokio::test]
async fn transactions_take_only_content_that_is_there() {
    let server = InProcess::start().await;
    let client = server.client().await;
    create_repo(&client, "r").await;
    let open = open(&client, "r").await;
    let refused = async |(pack, offset, stored, len): (u8, u32, u32, u32)| {
        let (id, pack) = (vec![1; 32], vec![pack; 16]);
        let chunk = v1::ChunkRef { id, pack, offset, stored, len };
        let content = v1::Content { chunks: vec![chunk], ..Default::default() };
        let kind = Some(v1::entry::Kind::File(content));
        let put = v1::Entry { mode: 0o644, mtime: None, kind };
        let put = Some(v1::entry_edit::Edit::Put(put));
        let edit = v1::EntryEdit { path: "a".to_owned(), edit: put };
        let staged = stream::iter([edits(&open, vec![edit])]);
        client.native().stage_transaction(staged).await.unwrap_err().code()
    };
    assert_eq!(refused((2, 0, 9, 8)).await, Code::NotFound);
    let key = format!("packs/03/{}", "03".repeat(16));
    let pack = v1::PutObjectRequest { key, data: vec![0; 100].into() };
    client.native().put_object(stream::iter([pack])).await.unwrap();
    for (offset, stored, len) in
        [(92, 9, 8), (0, 0, 8), (0, 10, 8), (u32::MAX, 9, 8), (0, 9, u32::MAX)]
    {
        let code = refused((3, offset, stored, len)).await;
        assert_eq!(code, Code::InvalidArgument, "{offset} {stored} {len}");
    }
    server.stop().await;
}

#[tokio::test]
async fn heads_are_told_as_they_move() {
    let server = InProcess::start().await;
    let client = server.client().await;
    create_repo(&client, "r").await;
    let request = v1::WatchHeadsRequest::default();
    let mut events = client.native().watch_heads(request).await.unwrap().into_inner();
    let mut next = async || events.message().await.unwrap().unwrap().event.unwrap();
    assert!(matches!(next().await, head_event::Event::Removed(_)));
    assert!(matches!(next().await, head_event::Event::Synced(_)));
    let done = put(&client, "r", vec![file("a", 0, data("a"))]).await;
    match next().await {
        head_event::Event::Moved(moved) => {
            assert_eq!(moved.commit, done.commit);
            assert!(!moved.root.is_empty());
        }
        other => panic!("{other:?}"),
    }
    let repo = Some(pfs_v2::Repo { name: "r".to_owned(), ..Default::default() });
    client.pfs().delete_repo(pfs_v2::DeleteRepoRequest { repo, force: false }).await.unwrap();
    assert!(matches!(next().await, head_event::Event::RepoRemoved(_)));
    server.stop().await;
}

#[tokio::test]
async fn objects_can_be_read_and_written_through_the_server() {
    let server = InProcess::start().await;
    let client = server.client().await;
    let info = client.native().store_info(v1::StoreInfoRequest {}).await.unwrap().into_inner();
    let request = v1::GetObjectRequest { key: info.token_key, start: 0, end: 0 };
    let mut token = client.native().get_object(request).await.unwrap().into_inner();
    assert_eq!(token.message().await.unwrap().unwrap().data, info.token);
    let key = format!("packs/ab/{}", "ab".repeat(16));
    let put = |body: &'static [u8]| {
        let request = v1::PutObjectRequest { key: key.clone(), data: body.into() };
        let mut native = client.native();
        async move { native.put_object(stream::iter([request])).await }
    };
    assert_eq!(put(b"0123456789").await.unwrap().into_inner().size, 10);
    assert!(put(b"0123456789").await.is_ok());
    assert_eq!(put(b"something else").await.unwrap_err().code(), Code::AlreadyExists);
    let request = v1::GetObjectRequest { key: key.clone(), start: 3, end: 6 };
    let mut range = client.native().get_object(request).await.unwrap().into_inner();
    assert_eq!(range.message().await.unwrap().unwrap().data, b"345"[..]);
    let head = client.native().head_object(v1::HeadObjectRequest { key }).await.unwrap();
    assert_eq!(head.into_inner().size, 10);
    for key in ["format", "../etc/passwd", ""] {
        let request = v1::GetObjectRequest { key: key.to_owned(), start: 0, end: 0 };
        assert!(client.native().get_object(request).await.is_err(), "{key}");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_unix_socket_serves_and_a_drain_ends_streams() {
    let server = InProcess::start_at(|dir| Address::Unix(dir.join("pfs.sock"))).await;
    let client = server.client().await;
    let version = client.version().get_version(()).await.unwrap().into_inner();
    assert_eq!((version.major, version.minor), (2, 12));
    let request = v1::WatchHeadsRequest::default();
    let mut events = client.native().watch_heads(request).await.unwrap().into_inner();
    assert!(events.message().await.unwrap().is_some());
    let socket = server.scratch.path().join("pfs.sock");
    assert!(socket.exists());
    let drained = tokio::spawn(server.stop());
    while let Ok(Some(_)) = events.message().await {}
    drop(client);
    drained.await.unwrap();
    assert!(!socket.exists());
}
