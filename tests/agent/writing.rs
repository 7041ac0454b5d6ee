//! Volumes that are written: what becomes of the changes.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::thread;
use std::time::Duration;

use pfs::mount::control;

use super::{Node, Volume, eventually};

fn node(test: &str) -> Option<Node> {
    let node = Node::start(test)?;
    node.server.pfs(&["create", "repo", "out"]);
    node.put("out@master:/base", "base");
    node.put("out@master:/deep/base", "deep");
    Some(node)
}

fn written(node: &Node, name: &str, more: &[(&str, &str)]) -> Volume {
    node.volume(name, &[&[("repo", "out"), ("mode", "rw")], more].concat())
}

/// What `out@master` has at `file`, if it has.
fn committed(node: &Node, file: &str) -> Option<String> {
    let output = node.server.output(&["get", "file", &format!("out@master:/{file}")]);
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap())
}

#[track_caller]
fn appears(node: &Node, file: &str, text: &str) {
    eventually(file, || committed(node, file).as_deref() == Some(text));
}

/// The transaction that is in a state other than COMMITTED, with its state.
fn transactions(node: &Node) -> String {
    node.server.pfs(&["list", "transaction"])
}

#[test]
fn what_is_written_is_committed_at_the_end_of_the_volume() {
    let test = "what_is_written_is_committed_at_the_end_of_the_volume";
    let Some(node) = node(test) else { return };
    let more = [("commit", "onUnmount"), ("message", "from a pod")];
    let volume = written(&node, "one", &more);
    assert_eq!(fs::metadata(&volume.dir).unwrap().ino(), 1);
    fs::write(volume.path("new"), "new").unwrap();
    fs::rename(volume.path("base"), volume.path("moved")).unwrap();
    assert_eq!(committed(&node, "new"), None);
    let status = control::read(&volume.dir, "user.pfs.status").unwrap();
    assert!(status.contains("\"OPEN\""), "{status}");
    let stats = node.stats(&volume.publish.key).unwrap();
    assert!(stats.problem.is_empty() && stats.bytes.available > 0, "{stats:?}");
    node.unpublish(volume);
    appears(&node, "new", "new");
    assert_eq!(
        (committed(&node, "moved").as_deref(), committed(&node, "base")),
        (Some("base"), None)
    );
    assert!(node.server.pfs(&["inspect", "commit", "out@master"]).contains("from a pod"));
    eventually("nothing staged", || node.staged().is_empty());

    // The same pod, once more, and nothing is written.
    let before = node.server.pfs(&["list", "commit", "out@master"]).lines().count();
    let volume = written(&node, "one", &more);
    assert_eq!(volume.read("new"), "new");
    node.unpublish(volume);
    eventually("nothing staged", || node.staged().is_empty());
    assert_eq!(node.server.pfs(&["list", "commit", "out@master"]).lines().count(), before);
}

#[test]
fn a_directory_of_a_repo_is_written_by_users_other_than_root() {
    let test = "a_directory_of_a_repo_is_written_by_users_other_than_root";
    let Some(node) = node(test) else { return };
    let volume = written(&node, "one", &[("commit", "onUnmount"), ("path", "deep")]);
    let sh = |script: &str, gid: u32| {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir(&volume.dir).uid(65534).gid(gid);
        assert!(command.status().unwrap().success(), "{script}");
    };
    sh("echo user > user; echo more >> base; mkdir -p sub/dir; echo x > sub/dir/x", 65534);
    assert_eq!(volume.read("base"), "deepmore\n");
    let found = fs::metadata(volume.path("user")).unwrap();
    assert_eq!((found.uid(), found.gid()), (65534, 65534));
    node.unpublish(volume);
    appears(&node, "deep/sub/dir/x", "x\n");
    assert_eq!(committed(&node, "deep/user").as_deref(), Some("user\n"));
    assert_eq!(committed(&node, "base").as_deref(), Some("base"));

    let attributes = [("repo", "out"), ("mode", "rw"), ("commit", "onUnmount")];
    let mut publish = node.publish_of("group", &attributes);
    publish.fs_group = Some(4711);
    let volume = node.publish(&publish).unwrap();
    let found = fs::metadata(volume.path("base")).unwrap();
    assert_eq!((found.gid(), found.mode() & 0o777), (4711, 0o664));
    let mut command = Command::new("sh");
    let script = "echo group >> base; echo group > group";
    command.args(["-c", script]).current_dir(&volume.dir).uid(65534).gid(4711);
    assert!(command.status().unwrap().success());
    node.unpublish(volume);
    appears(&node, "group", "group\n");
}

#[test]
fn each_policy_decides_what_becomes_of_the_changes() {
    let Some(node) = node("each_policy_decides_what_becomes_of_the_changes") else { return };
    // Nobody knows what became of the pod.
    let volume = written(&node, "success", &[]);
    fs::write(volume.path("success"), "1").unwrap();
    node.unpublish(volume);
    eventually("given up", || transactions(&node).contains("ABORTED"));

    let volume = written(&node, "unmarked", &[("commit", "onMarker")]);
    fs::write(volume.path("unmarked"), "2").unwrap();
    node.unpublish(volume);
    eventually("given up", || transactions(&node).matches("ABORTED").count() == 2);

    let volume = written(&node, "marked", &[("commit", "onMarker")]);
    fs::write(volume.path("marked"), "3").unwrap();
    fs::write(volume.path("_SUCCESS"), "").unwrap();
    node.unpublish(volume);
    appears(&node, "marked", "3");

    let volume = written(&node, "explicit", &[("commit", "explicit")]);
    fs::write(volume.path("said"), "4").unwrap();
    control::write(&volume.dir, "user.pfs.commit", "said so").unwrap();
    assert_eq!(committed(&node, "said").as_deref(), Some("4"));
    fs::write(volume.path("unsaid"), "5").unwrap();
    node.unpublish(volume);
    eventually("given up", || transactions(&node).matches("ABORTED").count() == 3);

    let volume = written(&node, "interval", &[("commit", "interval=1s")]);
    fs::write(volume.path("now"), "6").unwrap();
    appears(&node, "now", "6");
    fs::write(volume.path("end"), "7").unwrap();
    node.unpublish(volume);
    appears(&node, "end", "7");
    for absent in ["success", "unmarked", "unsaid"] {
        assert_eq!(committed(&node, absent), None, "{absent}");
    }
    // What was given up is kept to be looked at, and to be gone on with.
    eventually("three are kept", || node.staged().len() == 3);
}

#[test]
fn what_was_given_up_can_be_taken_up() {
    let Some(node) = node("what_was_given_up_can_be_taken_up") else { return };
    let volume = written(&node, "one", &[("commit", "explicit")]);
    fs::write(volume.path("precious"), "kept").unwrap();
    let status = control::read(&volume.dir, "user.pfs.status").unwrap();
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    let id = status["transaction"].as_str().unwrap();
    node.unpublish(volume);
    eventually("given up", || transactions(&node).contains("ABORTED"));
    let dir = node.server.dir("mnt");
    let at = dir.to_str().unwrap();
    node.server.pfs(&["mount", "-d", "-r", "out@master+w", "--resume", id, at]);
    assert_eq!(fs::read_to_string(dir.join("out/precious")).unwrap(), "kept");
    node.server.pfs(&["umount", at]);
    assert_eq!(committed(&node, "precious").as_deref(), Some("kept"));
}

#[test]
fn several_write_and_disjoint_changes_merge() {
    let Some(node) = node("several_write_and_disjoint_changes_merge") else { return };
    let more = [("commit", "onUnmount")];
    let volumes: Vec<_> =
        (0..3).map(|number| written(&node, &format!("w{number}"), &more)).collect();
    for (number, volume) in volumes.iter().enumerate() {
        fs::write(volume.path(&format!("own-{number}")), number.to_string()).unwrap();
    }
    let (lost, kept) = (written(&node, "lost", &more), written(&node, "kept", &more));
    fs::write(lost.path("both"), "lost").unwrap();
    fs::write(kept.path("both"), "kept").unwrap();
    volumes.into_iter().for_each(|volume| node.unpublish(volume));
    (0..3).for_each(|n| appears(&node, &format!("own-{n}"), &n.to_string()));
    node.unpublish(kept);
    appears(&node, "both", "kept");
    // It ends; what it has written is kept.
    node.unpublish(lost);
    eventually("a conflict", || transactions(&node).contains("CONFLICT"));
    eventually("one is kept", || node.staged().len() == 1);
    assert_eq!(committed(&node, "both").as_deref(), Some("kept"));
}

#[test]
fn a_volume_ends_while_the_server_is_away() {
    let Some(mut node) = node("a_volume_ends_while_the_server_is_away") else { return };
    let volume = written(&node, "one", &[("commit", "onUnmount")]);
    fs::write(volume.path("large"), vec![b'x'; 5 << 20]).unwrap();
    node.server.kill();
    node.unpublish(volume);
    assert!(node.list().is_empty());
    assert_eq!(node.staged().len(), 1);
    thread::sleep(Duration::from_millis(300));
    node.server.resume();
    eventually("the commit", || {
        committed(&node, "large").is_some_and(|text| text.len() == 5 << 20)
    });
    eventually("nothing staged", || node.staged().is_empty());
}
