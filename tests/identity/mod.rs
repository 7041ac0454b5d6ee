//! Who may call a server that asks, and which volumes pods get.

pub mod api_server;
mod logged;
pub mod settings;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use api_server::{ApiServer, Holder, account, pod};
use pfs::api::Address;
use pfs::api::client::{Client, connect};
use pfs::api::proto::pfs_v1::{AuthorizeVolumeRequest, RepoName, ServerStatsRequest};
use pfs::api::proto::pfs_v2;
use pfs::controller::identity::{AccessFile, Gate, TokenReviews, Trust};
use pfs::model::{Clock, SystemClock, Timestamp};
use tempfile::TempDir;
use tonic::{Code, Status};

use crate::in_process::InProcess;

/// A clock that stands still until told otherwise.
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_parts(self.0.load(Ordering::Relaxed), 0)
    }

    fn random(&self) -> [u8; 16] {
        SystemClock.random()
    }
}

const RIGHTS: &str = "
namespaces:
  team-a: {read: [training], write: [model]}
  all: {read: ['*']}
";

/// A server that asks an API server who calls, and trusts `pfs/agent`.
struct Guarded {
    cluster: ApiServer,
    server: InProcess,
    clock: Arc<SetClock>,
    dir: TempDir,
    agent: Client,
}

impl Guarded {
    async fn start() -> Self {
        let dir = tempfile::Builder::new().prefix("pfs-identity.").tempdir().unwrap();
        fs::write(dir.path().join("access.yaml"), RIGHTS).unwrap();
        let cluster = ApiServer::start().await;
        let clock = Arc::new(SetClock(AtomicI64::new(1_000_000)));
        let config = kube::Config::new(cluster.url().parse().unwrap());
        let client = kube::Client::try_from(config).unwrap();
        let gate = Gate::guarded(Trust {
            reviewer: Arc::new(TokenReviews::through(client)),
            trusted: ["pfs/agent".parse().unwrap()].into(),
            access: AccessFile::open(&dir.path().join("access.yaml")).unwrap(),
            clock: clock.clone(),
        });
        let server =
            InProcess::start_behind(gate, |_| Address::Plain("127.0.0.1:0".to_owned())).await;
        let token = cluster.token(account("pfs", "agent"));
        let agent = client_with(&server, dir.path(), &token).await;
        for name in ["training", "model", "secret-plans"] {
            let repo = Some(pfs_v2::Repo { name: name.to_owned(), ..Default::default() });
            let request = pfs_v2::CreateRepoRequest { repo, ..Default::default() };
            agent.pfs().create_repo(request).await.unwrap();
        }
        Self { cluster, server, clock, dir, agent }
    }

    fn access(&self) -> PathBuf {
        self.dir.path().join("access.yaml")
    }

    /// Calls with a token of `holder`.
    async fn calls_as(&self, holder: Holder) -> Result<(), Status> {
        let token = self.cluster.token(holder);
        call(&client_with(&self.server, self.dir.path(), &token).await).await
    }

    /// Asks for a volume.
    async fn volume(&self, asked: AuthorizeVolumeRequest) -> Result<(), Status> {
        self.agent.native().authorize_volume(asked).await.map(drop)
    }

    async fn stop(self) {
        self.server.stop().await;
    }
}

async fn client_with(server: &InProcess, dir: &Path, token: &str) -> Client {
    let number = fs::read_dir(dir).unwrap().count();
    let path = dir.join(format!("token-{number}"));
    fs::write(&path, token).unwrap();
    server.client().await.with_token_file(path)
}

async fn call(client: &Client) -> Result<(), Status> {
    client.native().server_stats(ServerStatsRequest {}).await.map(drop)
}

fn repo(name: &str) -> Option<RepoName> {
    Some(RepoName { repo: name.to_owned(), ..Default::default() })
}

/// The pod `trainer-1` of `namespace`, which is to read `name`.
fn wanted(token: &str, namespace: &str, name: &str) -> AuthorizeVolumeRequest {
    AuthorizeVolumeRequest {
        token: token.to_owned(),
        pod_namespace: namespace.to_owned(),
        pod_name: "trainer".to_owned(),
        pod_uid: "uid-1".to_owned(),
        service_account: "default".to_owned(),
        repo: repo(name),
        write: false,
    }
}

#[track_caller]
fn refused(outcome: Result<(), Status>, code: Code, said: &[&str]) {
    let status = outcome.unwrap_err();
    assert_eq!(status.code(), code, "{status:?}");
    for part in said {
        assert!(status.message().contains(part), "{part:?} is not in {:?}", status.message());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_call_needs_the_token_of_a_trusted_account() {
    let guarded = Guarded::start().await;
    let nobody = guarded.server.client().await;
    refused(call(&nobody).await, Code::Unauthenticated, &["PFS_TOKEN_FILE", "audience"]);
    let version = nobody.version().get_version(()).await.map(drop);
    refused(version, Code::Unauthenticated, &["PFS_TOKEN_FILE"]);
    let mut heads = nobody.native();
    let heads = heads.watch_heads(pfs::api::proto::pfs_v1::WatchHeadsRequest::default());
    refused(heads.await.map(drop), Code::Unauthenticated, &[]);

    let forged = client_with(&guarded.server, guarded.dir.path(), "e30.e30.x").await;
    refused(call(&forged).await, Code::Unauthenticated, &["invalid bearer token [token]"]);
    let elsewhere = Holder { audience: "https://vault", ..account("pfs", "agent") };
    refused(guarded.calls_as(elsewhere).await, Code::Unauthenticated, &["audiences"]);

    let other = guarded.calls_as(account("team-a", "default")).await;
    refused(other, Code::PermissionDenied, &["team-a/default", "--trusted"]);
    guarded.calls_as(account("pfs", "agent")).await.unwrap();
    guarded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_of_pachyderm_send_their_token_their_own_way() {
    let guarded = Guarded::start().await;
    let token = guarded.cluster.token(account("pfs", "agent"));
    for (header, value) in
        [("authn-token", token.clone()), ("authorization", format!("bearer {token}"))]
    {
        let mut request = tonic::Request::new(ServerStatsRequest {});
        request.metadata_mut().insert(header, value.parse().unwrap());
        let client = guarded.server.client().await;
        client.native().server_stats(request).await.unwrap();
    }
    guarded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_gets_volumes_of_what_its_namespace_may_use() {
    let guarded = Guarded::start().await;
    let team = guarded.cluster.token(pod("team-a", "trainer", "uid-1"));
    let write = |name| AuthorizeVolumeRequest { write: true, ..wanted(&team, "team-a", name) };
    guarded.volume(wanted(&team, "team-a", "training")).await.unwrap();
    guarded.volume(write("model")).await.unwrap();
    guarded.volume(wanted(&team, "team-a", "model")).await.unwrap();
    let denied = guarded.volume(write("training")).await;
    refused(denied, Code::PermissionDenied, &["\"team-a\"", "write repo \"training\"", "--access"]);
    let denied = guarded.volume(wanted(&team, "team-a", "secret-plans")).await;
    refused(denied, Code::PermissionDenied, &["\"team-a\"", "read repo \"secret-plans\""]);

    let whole = |token: &str, namespace| AuthorizeVolumeRequest {
        repo: None,
        ..wanted(token, namespace, "")
    };
    let denied = guarded.volume(whole(&team, "team-a")).await;
    refused(denied, Code::PermissionDenied, &["\"team-a\"", "every repo", "\"*\""]);
    let all = guarded.cluster.token(pod("all", "trainer", "uid-1"));
    guarded.volume(whole(&all, "all")).await.unwrap();
    let written = AuthorizeVolumeRequest { write: true, ..whole(&all, "all") };
    refused(guarded.volume(written).await, Code::PermissionDenied, &["read-only"]);

    // A namespace that the file does not name may nothing.
    let other = guarded.cluster.token(pod("team-b", "trainer", "uid-1"));
    let denied = guarded.volume(wanted(&other, "team-b", "training")).await;
    refused(denied, Code::PermissionDenied, &["\"team-b\"", "\"training\""]);
    // Names that a pod may not read are not hinted at.
    let missing = guarded.volume(wanted(&all, "all", "secret-plan")).await;
    let hint = pfs::api::client::hint(missing.as_ref().unwrap_err());
    assert_eq!(hint.as_deref(), Some("did you mean secret-plans?"));
    refused(missing, Code::NotFound, &["secret-plan"]);
    fs::write(guarded.access(), "namespaces: {team-a: {read: [secret-plan]}}").unwrap();
    let missing = guarded.volume(wanted(&team, "team-a", "secret-plan")).await;
    assert_eq!(pfs::api::client::hint(missing.as_ref().unwrap_err()), None);
    refused(missing, Code::NotFound, &["secret-plan"]);
    guarded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_of_another_pod_counts_for_nothing() {
    let guarded = Guarded::start().await;
    let own = guarded.cluster.token(pod("team-a", "trainer", "uid-1"));
    let good = wanted(&own, "team-a", "training");
    guarded.volume(good.clone()).await.unwrap();
    let others = [
        pod("team-a", "trainer", "uid-0"),
        pod("team-a", "another", "uid-1"),
        pod("all", "trainer", "uid-1"),
        Holder { pod: None, ..pod("team-a", "trainer", "uid-1") },
        Holder { account: ("team-a", "other"), ..pod("team-a", "trainer", "uid-1") },
        account("pfs", "agent"),
    ];
    for holder in others {
        let token = guarded.cluster.token(holder);
        let replayed = AuthorizeVolumeRequest { token, ..good.clone() };
        let outcome = guarded.volume(replayed).await;
        refused(outcome, Code::PermissionDenied, &["team-a/trainer", "not its own"]);
    }
    let none = AuthorizeVolumeRequest { token: String::new(), ..good.clone() };
    refused(guarded.volume(none).await, Code::Unauthenticated, &["tokenRequests"]);
    // A pod cannot ask for itself.
    let asks = client_with(&guarded.server, guarded.dir.path(), &own).await;
    let outcome = asks.native().authorize_volume(good).await.map(drop);
    refused(outcome, Code::PermissionDenied, &["team-a/default"]);
    guarded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_namespaces_may_changes_with_the_file() {
    let guarded = Guarded::start().await;
    let token = guarded.cluster.token(pod("team-a", "trainer", "uid-1"));
    let asked = wanted(&token, "team-a", "secret-plans");
    refused(guarded.volume(asked.clone()).await, Code::PermissionDenied, &[]);
    // As a ConfigMap changes: by another file in the place of the first.
    let next = guarded.dir.path().join("next");
    fs::write(&next, "namespaces: {team-a: {read: ['secret-*']}}").unwrap();
    fs::rename(&next, guarded.access()).unwrap();
    guarded.volume(asked.clone()).await.unwrap();
    // What makes no sense changes nothing; neither does a file that is gone.
    fs::write(guarded.access(), "namespaces: {team-a: {raed: []}}").unwrap();
    guarded.volume(asked.clone()).await.unwrap();
    fs::remove_file(guarded.access()).unwrap();
    guarded.volume(asked.clone()).await.unwrap();
    fs::write(guarded.access(), "namespaces: {}").unwrap();
    refused(guarded.volume(asked).await, Code::PermissionDenied, &[]);
    guarded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_cluster_is_asked_once_a_minute_about_a_token() {
    let guarded = Guarded::start().await;
    let token = guarded.cluster.token_until(1_000_030, pod("team-a", "trainer", "uid-1"));
    let asked = wanted(&token, "team-a", "training");
    guarded.volume(asked.clone()).await.unwrap();
    let before = guarded.cluster.asked();
    guarded.volume(asked.clone()).await.unwrap();
    guarded.cluster.revoke(&token);
    guarded.volume(asked.clone()).await.unwrap();
    assert_eq!(guarded.cluster.asked(), before);
    guarded.clock.0.store(1_000_030, Ordering::Relaxed);
    refused(guarded.volume(asked).await, Code::Unauthenticated, &["trainer"]);
    assert_eq!(guarded.cluster.asked(), before + 1);
    call(&guarded.agent).await.unwrap();
    assert_eq!(guarded.cluster.asked(), before + 1);
    guarded.clock.0.store(1_000_061, Ordering::Relaxed);
    call(&guarded.agent).await.unwrap();
    assert_eq!(guarded.cluster.asked(), before + 2);
    guarded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_does_not_answer_is_no_refusal() {
    let guarded = Guarded::start().await;
    guarded.cluster.break_down();
    let outcome = guarded.calls_as(account("pfs", "agent")).await;
    refused(outcome, Code::Unavailable, &["is no TokenReview"]);
    guarded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_sends_the_token_that_the_file_has_now() {
    let guarded = Guarded::start().await;
    let path = guarded.dir.path().join("projected");
    let client = connect(guarded.server.address()).await.unwrap().with_token_file(path.clone());
    let outcome = call(&client).await;
    refused(outcome, Code::Unauthenticated, &["cannot read the token in", "projected"]);
    fs::write(&path, guarded.cluster.token(account("team-a", "default"))).unwrap();
    refused(call(&client).await, Code::PermissionDenied, &["team-a/default"]);
    let next = guarded.dir.path().join("next");
    fs::write(&next, format!("{}\n", guarded.cluster.token(account("pfs", "agent")))).unwrap();
    fs::rename(&next, &path).unwrap();
    call(&client).await.unwrap();
    guarded.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_authentication_a_volume_needs_its_repo_only() {
    let server = InProcess::start().await;
    let client = server.client().await;
    let repo = Some(pfs_v2::Repo { name: "training".to_owned(), ..Default::default() });
    let request = pfs_v2::CreateRepoRequest { repo, ..Default::default() };
    client.pfs().create_repo(request).await.unwrap();
    let asked = |name| AuthorizeVolumeRequest { write: true, ..wanted("", "any", name) };
    client.native().authorize_volume(asked("training")).await.unwrap();
    let missing = client.native().authorize_volume(asked("trainin")).await.unwrap_err();
    let hint = pfs::api::client::hint(&missing);
    assert_eq!(hint.as_deref(), Some("did you mean training?"));
    refused(Err(missing), Code::NotFound, &["trainin"]);
    server.stop().await;
}
