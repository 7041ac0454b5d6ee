//! Volumes are branches, snapshots commits, and all that is known of them is on
//! the server.

use std::collections::BTreeMap;

use futures::stream;
use pfs::api::client::{Client, Code};
use pfs::api::proto::pfs_v1::{self as v1, put_file, put_files_request};
use pfs::api::proto::pfs_v2;
use pfs::cli::csi::ServerVolumes;
use pfs_csi::{CapacityRange, NewSnapshot, NewVolume, Refusal, Source, Volume, Volumes as _};

use crate::in_process::InProcess;

fn wanted(name: &str, parameters: &[(&str, &str)]) -> NewVolume {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    NewVolume {
        name: name.to_owned(),
        capacity: CapacityRange { required: 1 << 30, limit: 0 },
        is_written: true,
        parameters: parameters.iter().map(pair).collect(),
        source: None,
    }
}

fn snapshot(name: &str, volume: &Volume) -> NewSnapshot {
    let (name, volume_id) = (name.to_owned(), volume.id.clone());
    NewSnapshot { name, volume_id, parameters: BTreeMap::new() }
}

fn named(repo: &str) -> pfs_v2::Repo {
    pfs_v2::Repo { name: repo.to_owned(), ..Default::default() }
}

/// What names a branch in a volume.
fn attributes(repo: &str, branch: &str) -> BTreeMap<String, String> {
    let pairs = [("repo", repo), ("ref", branch)];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

async fn create_repo(client: &Client, repo: &str) {
    let repo = Some(named(repo));
    let request = pfs_v2::CreateRepoRequest { repo, ..Default::default() };
    client.pfs().create_repo(request).await.unwrap();
}

async fn has_repo(client: &Client, repo: &str) -> bool {
    let request = pfs_v2::InspectRepoRequest { repo: Some(named(repo)) };
    client.pfs().inspect_repo(request).await.is_ok()
}

/// The branches of a repo, sorted.
async fn branches(client: &Client, repo: &str) -> Vec<String> {
    let request = pfs_v2::InspectRepoRequest { repo: Some(named(repo)) };
    let info = client.pfs().inspect_repo(request).await.unwrap().into_inner();
    let mut names: Vec<_> = info.branches.into_iter().map(|branch| branch.name).collect();
    names.sort();
    names
}

/// Puts a file into what a volume's attributes name.
async fn put(client: &Client, attributes: &BTreeMap<String, String>, text: &str) {
    let repo = Some(v1::RepoName { repo: attributes["repo"].clone(), ..Default::default() });
    let (r#ref, description) = (attributes["ref"].clone(), String::new());
    let target = v1::PutTarget { repo, r#ref, description };
    let source = Some(put_file::Source::Data(text.as_bytes().to_vec().into()));
    let file = v1::PutFile { path: "file".to_owned(), source, ..Default::default() };
    let bodies = [
        put_files_request::Body::Target(target),
        put_files_request::Body::Files(v1::PutFileBatch { files: vec![file] }),
    ];
    let requests = bodies.map(|body| v1::PutFilesRequest { body: Some(body) });
    client.native().put_files(stream::iter(requests)).await.unwrap();
}

/// The tree at what a volume's attributes name.
async fn tree(client: &Client, attributes: &BTreeMap<String, String>) -> Result<Vec<u8>, Code> {
    let repo = Some(v1::RepoName { repo: attributes["repo"].clone(), ..Default::default() });
    let r#ref = attributes["ref"].clone();
    let request = v1::ResolveRefRequest { repo, r#ref, exact: false };
    match client.native().resolve_ref(request).await {
        Ok(found) => Ok(found.into_inner().root),
        Err(status) => Err(status.code()),
    }
}

async fn puts(client: &Client) -> u64 {
    let stats = client.native().server_stats(v1::ServerStatsRequest {}).await;
    stats.unwrap().into_inner().store_puts
}

#[tokio::test]
async fn a_volume_of_a_repo_is_a_branch_that_goes_with_it() {
    let server = InProcess::start().await;
    let client = server.client().await;
    let volumes = ServerVolumes::new(client.clone());
    let absent = volumes.create_volume(&wanted("pvc-1", &[("repo", "data")])).await;
    assert!(matches!(absent, Err(Refusal::NotFound(_))));
    create_repo(&client, "data").await;
    let attributes = attributes("data", "master");
    put(&client, &attributes, "before").await;
    let before = puts(&client).await;
    let volume = volumes.create_volume(&wanted("pvc-1", &[("repo", "data")])).await.unwrap();
    assert_eq!(puts(&client).await, before, "nothing is copied");
    assert_eq!(volume.attributes["ref"], "pvc-1");
    assert_eq!(volume.attributes["mode"], "rw");
    let master = tree(&client, &attributes).await.unwrap();
    assert_eq!(tree(&client, &volume.attributes).await.unwrap(), master);
    // Another instance knows it, and what it was made for.
    let other = ServerVolumes::new(server.client().await);
    assert_eq!(other.volume(&volume.id).await.unwrap(), volume);
    assert_eq!(other.create_volume(&wanted("pvc-1", &[("repo", "data")])).await.unwrap(), volume);
    let mut larger = wanted("pvc-1", &[("repo", "data")]);
    larger.capacity.required *= 2;
    assert!(matches!(other.create_volume(&larger).await, Err(Refusal::Exists(_))));
    let elsewhere = other.create_volume(&wanted("pvc-1", &[])).await;
    assert!(matches!(elsewhere, Err(Refusal::Exists(_))));
    for _ in 0..2 {
        volumes.delete_volume(&volume.id).await.unwrap();
        assert_eq!(branches(&client, "data").await, ["master"]);
    }
    assert!(volumes.volumes().await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn a_branch_of_somebody_else_is_never_a_volume() {
    let server = InProcess::start().await;
    let client = server.client().await;
    let volumes = ServerVolumes::new(client.clone());
    create_repo(&client, "data").await;
    put(&client, &attributes("data", "master"), "theirs").await;
    let taken = volumes.create_volume(&wanted("master", &[("repo", "data")])).await;
    assert!(matches!(taken, Err(Refusal::Exists(_))));
    let taken = volumes.create_volume(&wanted("data", &[])).await;
    assert!(matches!(taken, Err(Refusal::Exists(_))));
    let gone = volumes.create_volume(&wanted("v", &[("repo", "data"), ("ref", "none")])).await;
    assert!(matches!(gone, Err(Refusal::NotFound(_))));
    assert_eq!(branches(&client, "data").await, ["master"]);
    assert!(volumes.volumes().await.unwrap().is_empty());
    server.stop().await;
}

#[tokio::test]
async fn snapshots_and_volumes_made_of_them_outlive_the_volume() {
    let server = InProcess::start().await;
    let client = server.client().await;
    let volumes = ServerVolumes::new(client.clone());
    let volume = volumes.create_volume(&wanted("pvc-1", &[])).await.unwrap();
    put(&client, &volume.attributes, "first").await;
    let first = tree(&client, &volume.attributes).await.unwrap();
    let before = puts(&client).await;
    let taken = volumes.create_snapshot(&snapshot("s", &volume)).await.unwrap();
    assert_eq!((taken.size, puts(&client).await), (5, before));
    put(&client, &volume.attributes, "second").await;
    assert_eq!(volumes.create_snapshot(&snapshot("s", &volume)).await.unwrap(), taken);
    let mut restored = wanted("pvc-2", &[]);
    restored.source = Some(Source::Snapshot(taken.id.clone()));
    let mut cloned = wanted("pvc-3", &[]);
    cloned.source = Some(Source::Volume(volume.id.clone()));
    let before = puts(&client).await;
    let restored = volumes.create_volume(&restored).await.unwrap();
    let cloned = volumes.create_volume(&cloned).await.unwrap();
    assert_eq!(puts(&client).await, before, "nothing is copied");
    assert_eq!(tree(&client, &restored.attributes).await.unwrap(), first);
    let second = tree(&client, &volume.attributes).await.unwrap();
    assert_eq!(tree(&client, &cloned.attributes).await.unwrap(), second);

    volumes.delete_volume(&volume.id).await.unwrap();
    assert_eq!(tree(&client, &volume.attributes).await, Err(Code::NotFound));
    assert_eq!(volumes.snapshot(&taken.id).await.unwrap(), taken);
    assert_eq!(tree(&client, &cloned.attributes).await.unwrap(), second);
    volumes.delete_volume(&cloned.id).await.unwrap();
    volumes.delete_snapshot(&taken.id).await.unwrap();
    assert_eq!(tree(&client, &restored.attributes).await.unwrap(), first);
    // The repo was made for all of them, and goes with the last.
    assert!(has_repo(&client, "pvc-1").await);
    volumes.delete_volume(&restored.id).await.unwrap();
    assert!(!has_repo(&client, "pvc-1").await);
    server.stop().await;
}

#[tokio::test]
async fn a_volume_without_commits_has_snapshots_without_any() {
    let server = InProcess::start().await;
    let client = server.client().await;
    let volumes = ServerVolumes::new(client.clone());
    let volume = volumes.create_volume(&wanted("pvc-1", &[])).await.unwrap();
    let taken = volumes.create_snapshot(&snapshot("s", &volume)).await.unwrap();
    let mut restored = wanted(&"n".repeat(128), &[]);
    restored.source = Some(Source::Snapshot(taken.id.clone()));
    let restored = volumes.create_volume(&restored).await.unwrap();
    assert_eq!(tree(&client, &restored.attributes).await, Err(Code::NotFound));
    let other = volumes.create_volume(&wanted("odd name, 100 %", &[])).await.unwrap();
    assert_eq!(other.attributes["repo"], other.id);
    let same_name = volumes.create_snapshot(&snapshot("s", &other)).await;
    assert!(matches!(same_name, Err(Refusal::Exists(_))));
    server.stop().await;
}

#[tokio::test]
async fn a_volume_that_is_being_written_is_not_deleted() {
    let server = InProcess::start().await;
    let client = server.client().await;
    let volumes = ServerVolumes::new(client.clone());
    let volume = volumes.create_volume(&wanted("pvc-1", &[])).await.unwrap();
    let open = v1::OpenTransactionRequest {
        repo: Some(v1::RepoName { repo: "pvc-1".to_owned(), ..Default::default() }),
        branch: volume.attributes["ref"].clone(),
        lease_seconds: 60,
        owner: "a pod".to_owned(),
        ..Default::default()
    };
    let open = client.native().open_transaction(open).await.unwrap().into_inner();
    assert!(matches!(volumes.delete_volume(&volume.id).await, Err(Refusal::InTheWay(_))));
    let abort = v1::AbortTransactionRequest { id: open.id, reason: String::new() };
    client.native().abort_transaction(abort).await.unwrap();
    volumes.delete_volume(&volume.id).await.unwrap();
    assert!(!has_repo(&client, "pvc-1").await);
    server.stop().await;
}

#[tokio::test]
async fn what_is_no_volume_is_deleted_already() {
    let server = InProcess::start().await;
    let volumes = ServerVolumes::new(server.client().await);
    for id in ["x", "vol-", "vol-00000000000000000000000000000000", "../../etc"] {
        volumes.delete_volume(id).await.unwrap();
        volumes.delete_snapshot(id).await.unwrap();
        assert!(matches!(volumes.volume(id).await, Err(Refusal::NotFound(_))));
    }
    assert!(volumes.snapshots().await.unwrap().is_empty());
    let unknown = volumes.create_volume(&wanted("v", &[("Repo", "data")])).await;
    assert!(matches!(unknown, Err(Refusal::Invalid(_))));
    server.stop().await;
}

#[tokio::test]
async fn a_volume_of_a_branch_without_commits_begins_empty() {
    let server = InProcess::start().await;
    let client = server.client().await;
    let volumes = ServerVolumes::new(client.clone());
    create_repo(&client, "data").await;
    let branch = Some(pfs_v2::Branch { repo: Some(named("data")), name: "empty".to_owned() });
    let request = pfs_v2::CreateBranchRequest { branch, ..Default::default() };
    client.pfs().create_branch(request).await.unwrap();
    let parameters = [("repo", "data"), ("ref", "empty")];
    let volume = volumes.create_volume(&wanted("v", &parameters)).await.unwrap();
    assert_eq!(tree(&client, &volume.attributes).await, Err(Code::NotFound));
    assert_eq!(branches(&client, "data").await, ["empty", "v"]);
    server.stop().await;
}
