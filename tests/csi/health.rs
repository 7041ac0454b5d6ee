//! The probes of the driver's pods.

use std::fs::{self, File};
use std::process::{Child, Stdio};

use crate::agent::eventually;
use crate::machine::has_fuse;
use crate::operations::page;
use crate::server::Server;

/// A process that ends with the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn start(server: &Server, name: &str, arguments: &[&str]) -> Running {
    let log = File::create(server.dir("logs").join(name)).unwrap();
    let mut command = server.command(arguments);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    Running(command.spawn().unwrap())
}

#[test]
fn a_driver_says_over_http_whether_it_lives_and_is_ready() {
    if !has_fuse("a_driver_says_over_http_whether_it_lives_and_is_ready") {
        return;
    }
    let mut server = Server::start();
    let dir = server.dir("csi");
    let path = |name: &str| dir.join(name).display().to_string();
    let (socket, kubelet) = (path("agent.sock"), path("kubelet"));
    fs::create_dir(&kubelet).unwrap();
    let driver = |name: &str, more: &[&str]| {
        let (endpoint, pages) = (path(name), format!("unix:{}", path(&format!("{name}.pages"))));
        let common = ["csi", "--endpoint", &endpoint, "--node-id", "node", "--agent", &socket];
        start(&server, name, &[&common[..], &["--health", &pages], more].concat())
    };
    let says = |name: &str, page_of: &str, status: u16| {
        let at = dir.join(format!("{name}.pages"));
        let address = format!("unix:{}", at.display());
        let answered = if at.exists() { page(&address, page_of) } else { String::new() };
        answered.starts_with(&format!("HTTP/1.1 {status}"))
    };
    let node = driver("node", &["--kubelet-dir", &kubelet]);
    let maker = driver("maker", &[]);
    // One needs the agent, which is not there yet, the other the server.
    eventually("alive", || says("node", "/healthz", 200) && says("maker", "/healthz", 200));
    assert!(says("node", "/readyz", 503) && says("maker", "/readyz", 200));
    let agent = start(&server, "agent", &["agent", "--socket", &socket]);
    eventually("an agent", || says("node", "/readyz", 200));
    drop(agent);
    assert!(says("node", "/readyz", 503) && says("node", "/healthz", 200));
    server.kill();
    eventually("no server", || says("maker", "/readyz", 503) && says("maker", "/healthz", 200));
    assert!(says("maker", "/other", 404));
    drop((node, maker));
}
