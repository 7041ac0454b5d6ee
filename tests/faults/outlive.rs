//! Programs do not outlive their server.

use std::fs;

use super::until;
use crate::machine;
use crate::server::Server;

#[test]
fn no_process_of_a_datum_outlives_a_killed_server() {
    let mut server = Server::start();
    let marker = machine::marker("outlive");
    // One child in the program's own session, one in another and stubborn.
    let script = format!(
        "sh -c 'sleep 600; : {marker}' &
         setsid sh -c 'trap \"\" HUP TERM INT; while sleep 1; do :; done; : {marker}' &
         wait"
    );
    let spec = serde_json::json!({
        "pipeline": {"name": "p"},
        "transform": {"cmd": ["/bin/sh"], "stdin": script.lines().collect::<Vec<_>>()},
        "input": {"pfs": {"repo": "in", "glob": "/"}},
    });
    let file = server.dir("specs").join("p.json");
    fs::write(&file, spec.to_string()).unwrap();
    server.pfs(&["create", "repo", "in"]);
    server.pfs(&["put", "file", "in@master:/spec", "-f", file.to_str().unwrap()]);
    server.pfs(&["create", "pipeline", "-f", file.to_str().unwrap()]);
    until("the program does not run", || machine::processes(&marker).len() >= 2);
    server.kill();
    until("a process is left", || machine::processes(&marker).is_empty());
}
