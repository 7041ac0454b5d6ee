//! What a server that asks writes down.

use std::fs;
use std::io::Write as _;

use pfs::api::client::connect;
use serde_json::Value;

use super::api_server::{ApiServer, account, pod};
use super::{call, wanted};
use crate::server::Server;

/// The settings of a server, and of clients, in a cluster that is `cluster`.
struct Settings {
    dir: tempfile::TempDir,
}

impl Settings {
    fn new(cluster: &ApiServer, token: &str) -> Self {
        let dir = tempfile::Builder::new().prefix("pfs-identity.").tempdir().unwrap();
        let kubeconfig = serde_json::json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "c", "cluster": {"server": cluster.url()}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        });
        fs::write(dir.path().join("kubeconfig"), kubeconfig.to_string()).unwrap();
        fs::write(dir.path().join("access"), "namespaces: {team-a: {read: ['*']}}").unwrap();
        fs::write(dir.path().join("token"), token).unwrap();
        Self { dir }
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        let path = |name: &str| self.dir.path().join(name).display().to_string();
        vec![
            ("PFS_AUTH", "kubernetes".to_owned()),
            ("PFS_TRUSTED", "pfs/agent,pfs/operator".to_owned()),
            ("PFS_ACCESS", path("access")),
            ("KUBECONFIG", path("kubeconfig")),
            ("PFS_TOKEN_FILE", path("token")),
            ("PFS_LOG", "trace".to_owned()),
        ]
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_in_the_log_and_tokens_are_not() {
    let cluster = ApiServer::start().await;
    let operator = cluster.token(account("pfs", "operator"));
    let settings = Settings::new(&cluster, &operator);
    let variables = settings.variables();
    let server =
        tokio::task::spawn_blocking(|| Server::start_so(variables, vec!["--log-format", "json"]));
    let server = server.await.unwrap();
    let stranger = cluster.token(account("team-b", "stranger"));
    let own = cluster.token(pod("team-a", "trainer", "uid-1"));
    let client = async |token: &str| {
        let path = settings.dir.path().join(&token[token.len() / 2..]);
        fs::File::create(&path).unwrap().write_all(token.as_bytes()).unwrap();
        connect(&server.address().parse().unwrap()).await.unwrap().with_token_file(path)
    };
    call(&client(&stranger).await).await.unwrap_err();
    call(&client("forged.token.here").await).await.unwrap_err();
    let agent = client(&cluster.token(account("pfs", "agent"))).await;
    agent.native().authorize_volume(wanted(&own, "team-a", "training")).await.unwrap_err();
    agent.native().authorize_volume(wanted(&stranger, "team-b", "x\nforged")).await.unwrap_err();
    cluster.break_down();
    let other = cluster.token(account("pfs", "agent"));
    call(&client(&other).await).await.unwrap_err();

    let log = server.log_whole();
    assert!(log.contains("\"level\":\"TRACE\""), "the log does not tell everything");
    for secret in [&operator, &stranger, &own, &other, "forged.token.here"] {
        assert!(!log.contains(secret as &str), "a token is in the log");
    }
    let events: Vec<Value> = log
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|event| event["target"] == "audit")
        .map(|event| event["fields"].clone())
        .collect();
    let has = |wanted: &[(&str, &str)]| {
        let found = events.iter().any(|e| wanted.iter().all(|(name, value)| e[*name] == *value));
        assert!(found, "no event {wanted:?} in {events:#?}");
    };
    has(&[
        ("message", "call"),
        ("decision", "denied"),
        ("account", "team-b/stranger"),
        ("method", "/pfs.v1.Pfs/ServerStats"),
    ]);
    has(&[("message", "call"), ("decision", "denied"), ("account", "-")]);
    has(&[
        ("message", "volume"),
        ("decision", "allowed"),
        ("account", "team-a/default"),
        ("pod", "team-a/trainer"),
        ("pod_uid", "uid-1"),
        ("repo", "training"),
        ("mode", "ro"),
        ("caller", "pfs/agent"),
    ]);
}
