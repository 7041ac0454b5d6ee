//! What a server that asks writes down.

use pfs::api::client::connect;

use super::api_server::{ApiServer, account, pod};
use super::settings::{Audit, Settings};
use super::{call, wanted};
use crate::server::Server;

#[tokio::test(flavor = "multi_thread")]
async fn decisions_are_in_the_log_and_tokens_are_not() {
    let cluster = ApiServer::start().await;
    let operator = cluster.token(account("pfs", "operator"));
    let rights = "namespaces: {team-a: {read: ['*']}}";
    let settings = Settings::new(&cluster, &operator, rights);
    let variables = settings.variables();
    let server =
        tokio::task::spawn_blocking(|| Server::start_so(variables, vec!["--log-format", "json"]));
    let server = server.await.unwrap();
    let stranger = cluster.token(account("team-b", "stranger"));
    let own = cluster.token(pod("team-a", "trainer", "uid-1"));
    let client = async |token: &str| {
        let path = settings.file(&token[token.len() / 2..], token);
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
    let audit = Audit::of(&log);
    audit.has(&[
        ("message", "call"),
        ("decision", "denied"),
        ("account", "team-b/stranger"),
        ("method", "/pfs.v1.Pfs/ServerStats"),
    ]);
    audit.has(&[("message", "call"), ("decision", "denied"), ("account", "-")]);
    audit.has(&[
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
