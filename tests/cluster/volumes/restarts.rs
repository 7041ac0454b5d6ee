//! Parts of pfs, and of the node, end and come back under a pod that reads,
//! writes and maps all the while.

use std::fs;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Volumes;
use super::busy::AWAY;
use crate::cluster::{Part, eventually};
use crate::install;
use crate::pod::Pod;

/// The processes on the node that are `pfs ROLE`.
fn processes(role: &str) -> Vec<Pid> {
    let wanted = format!("/pfs\0{role}\0");
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let number = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = fs::read_to_string(format!("/proc/{number}/cmdline")).ok()?;
        // That of the controller mounts nothing.
        let ours = line.starts_with(&wanted) && !line.contains("--node-id=controller");
        ours.then(|| Pid::from_raw(number))
    });
    all.collect()
}

/// Kills what plays those roles, all at once, and waits for others in their place.
fn kill_and_wait(roles: &[&str]) {
    replaced(roles, || {
        for process in roles.iter().flat_map(|role| processes(role)) {
            kill(process, Signal::SIGKILL).unwrap();
        }
    });
}

/// Waits until other processes play those roles, after something was done to them.
fn replaced(roles: &[&str], done: impl FnOnce()) {
    let before: Vec<_> = roles.iter().map(|role| processes(role)).collect();
    done();
    for (role, before) in roles.iter().zip(&before) {
        assert_eq!(before.len(), 1, "{role}");
        eventually(&format!("another {role}"), || {
            let now = processes(role);
            (now.len() == 1 && now != *before).then_some(())
        });
    }
}

impl Volumes {
    /// Runs kubectl in the namespace of pfs.
    #[track_caller]
    fn operate(&self, arguments: &[&str]) -> String {
        self.cluster().kubectl(&[&["-npfs"], arguments].concat())
    }

    #[track_caller]
    fn rolled_out(&self, part: &str) {
        eventually(&format!("{part} runs"), || install::runs(self.cluster(), part).then_some(()));
    }

    /// Replaces all pods of a part, as another image would.
    #[track_caller]
    fn upgrade(&self, part: &str) {
        self.operate(&["rollout", "restart", part]);
        self.rolled_out(part);
    }

    /// A volume can be had.
    #[track_caller]
    fn new_pods_come(&self, name: &str) {
        let repo = self.repo(name);
        self.server.put(&format!("{repo}@master:/file"), name);
        let pod = Pod::new(name, "cat /data/file").inline("data", &[("repo", &repo)]);
        assert_eq!(self.run(name, &pod), name);
        self.delete(&format!("pod/{name}"));
    }
}

#[test]
fn no_error_reaches_a_pod_when_agent_and_driver_are_killed() {
    let volumes = Volumes::alone("killed");
    let busy = volumes.busy();
    for roles in [&["agent"][..], &["csi"], &["agent", "csi"]] {
        kill_and_wait(roles);
        busy.goes_on();
    }
    volumes.new_pods_come("after");
    busy.ends_well("agent, driver and both killed");
}

#[test]
fn no_error_reaches_a_pod_when_everything_is_upgraded() {
    let volumes = Volumes::alone("upgraded");
    let busy = volumes.busy();
    for part in ["daemonset/pfs-agent", "daemonset/pfs-csi", "deployment/pfs-server"] {
        volumes.upgrade(part);
        busy.goes_on();
    }
    // The keeper is replaced when somebody says so.
    replaced(&["keeper"], || {
        volumes.operate(&["delete", "pods", "-lapp.kubernetes.io/name=pfs-keeper"]);
    });
    busy.goes_on();
    volumes.upgrade("daemonset/pfs-agent");
    busy.goes_on();
    volumes.new_pods_come("after");
    busy.ends_well("all parts upgraded");
}

#[test]
fn no_error_reaches_a_pod_when_kubelet_and_containerd_are_killed() {
    let volumes = Volumes::alone("parts");
    let busy = volumes.busy();
    for part in [Part::Kubelet, Part::Containerd] {
        volumes.cluster().kill(part);
        volumes.cluster().resume(part);
        volumes.new_pods_come(&part.to_string());
        busy.goes_on();
    }
    busy.ends_well("kubelet and containerd killed");
}

#[test]
fn pods_read_write_and_end_while_the_server_is_away() {
    let volumes = Volumes::alone("away");
    let busy = volumes.busy();
    let repo = volumes.repo("out");
    let stays = "cat /data/file; until [ -e /tmp/over ]; do sleep 0.1; done; cat /out/file";
    let script = format!("echo kept >/out/file; {stays}");
    let data = volumes.repo("read");
    volumes.server.put(&format!("{data}@master:/file"), "read\n");
    let attributes = [("repo", &*repo), ("mode", "rw"), ("commit", "onUnmount")];
    let writer = Pod::new("writer", &script).inline("data", &[("repo", &data)]);
    volumes.start(&writer.inline("out", &attributes));
    volumes.ready("writer");
    let traces = volumes.traces(&["writer"]);

    let since = Instant::now();
    volumes.operate(&["scale", "deployment/pfs-server", "--replicas=0"]);
    volumes.operate(&["wait", "pods", "-lapp.kubernetes.io/name=pfs-server", "--for=delete"]);
    volumes.exec("writer", &["touch", "/tmp/over"]);
    assert_eq!(volumes.ended("writer"), "Succeeded");
    volumes.delete("pod/writer");
    traces.gone();
    while since.elapsed() < AWAY {
        busy.goes_on();
        std::thread::sleep(Duration::from_secs(1));
    }

    volumes.operate(&["scale", "deployment/pfs-server", "--replicas=1"]);
    volumes.rolled_out("deployment/pfs-server");
    volumes.server.has(&format!("{repo}@master:/file"), "kept\n");
    busy.ends_well("the server was away for a minute");
}
