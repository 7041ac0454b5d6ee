//! `pfs mount` and friends against a real server.

use std::fs;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::machine::{has_fuse, is_root};
use crate::server::Server;

/// A server with repo `data`, which holds `a` and `dir/b`.
fn server() -> Server {
    let server = Server::start();
    server.pfs(&["create", "repo", "data"]);
    let source = server.dir("source");
    fs::create_dir_all(source.join("dir")).unwrap();
    fs::write(source.join("a"), "first").unwrap();
    fs::write(source.join("dir/b"), "b").unwrap();
    server.pfs(&["put", "file", "-r", "data@master:/", "-f", source.to_str().unwrap()]);
    server
}

fn eventually(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(30), "not within 30 s: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| format!("{}: {error}", path.display()))
}

/// A mount in the foreground, to be killed.
fn foreground(server: &Server, arguments: &[&str]) -> Child {
    let mut command = server.command(&["mount"]);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().unwrap()
}

#[test]
fn a_mount_follows_heads_and_travels_in_time() {
    if !has_fuse("a_mount_follows_heads_and_travels_in_time") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", at]);
    assert_eq!(read(&mount.join("data/a")), "first");
    server
        .command(&["put", "file", "data@master:/a"])
        .stdin(Stdio::piped())
        .spawn()
        .map(|mut put| {
            std::io::Write::write_all(&mut put.stdin.take().unwrap(), b"second").unwrap();
            assert!(put.wait().unwrap().success());
        })
        .unwrap();
    eventually("the head is followed", || read(&mount.join("data/a")) == "second");
    assert_eq!(read(&mount.join("data@master^/a")), "first");
    server.pfs(&["create", "repo", "later"]);
    eventually("a new repo appears", || mount.join("later").is_dir());
    server.pfs(&["create", "branch", "data@side", "--head", "master^"]);
    assert_eq!(read(&mount.join("data@side/a")), "first");
    server.pfs(&["umount", at]);
    assert!(!mount.join("data").exists());
    assert!(server.refused(&["umount", at]).contains("not"));
}

#[test]
fn a_transaction_commits_on_demand_and_at_the_end() {
    if !has_fuse("a_transaction_commits_on_demand_and_at_the_end") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let (at, repo) = (mount.to_str().unwrap(), mount.join("data"));
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    fs::write(repo.join("new"), "1").unwrap();
    fs::rename(repo.join("dir"), repo.join("moved")).unwrap();
    assert!(server.refused(&["get", "file", "data@master:/new"]).contains("not found"));
    assert!(server.pfs(&["status", at]).contains("OPEN"));
    let first = server.pfs(&["commit", at, "-m", "halfway"]);
    assert_eq!(first.trim().len(), 32, "{first}");
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "1");
    assert_eq!(server.pfs(&["get", "file", "data@master:/moved/b"]), "b");
    assert!(
        server.pfs(&["inspect", "commit", &format!("data@{}", first.trim())]).contains("halfway")
    );
    fs::write(repo.join("new"), "two").unwrap();
    fs::write(repo.join("moved/c"), vec![b'c'; 100_000]).unwrap();
    fs::remove_file(repo.join("a")).unwrap();
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "two");
    assert_eq!(server.pfs(&["get", "file", "data@master:/moved/c"]).len(), 100_000);
    assert!(server.refused(&["get", "file", "data@master:/a"]).contains("not found"));
    let left = fs::read_dir(server.root().join("mounts")).unwrap().count();
    assert_eq!(left, 0, "nothing stays behind");
    server.pfs(&["fsck"]);
}

#[test]
fn an_abort_publishes_nothing() {
    if !has_fuse("an_abort_publishes_nothing") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    fs::write(mount.join("data/new"), "x").unwrap();
    server.pfs(&["abort", at]);
    assert!(server.pfs(&["status", at]).contains("ABORTED"));
    assert!(fs::write(mount.join("data/new"), "y").is_err());
    server.pfs(&["umount", at]);
    assert!(server.refused(&["get", "file", "data@master:/new"]).contains("not found"));
    let left = fs::read_dir(server.root().join("mounts")).unwrap().count();
    assert_eq!(left, 1, "what was aborted can be looked at");
}

#[test]
fn disjoint_changes_merge_and_others_are_kept_as_conflict() {
    if !has_fuse("disjoint_changes_merge_and_others_are_kept_as_conflict") {
        return;
    }
    let server = server();
    let mounts = [server.dir("one"), server.dir("two"), server.dir("three")];
    for mount in &mounts {
        server.pfs(&["mount", "-d", "-r", "data@master+w", mount.to_str().unwrap()]);
    }
    fs::write(mounts[0].join("data/a"), "from one").unwrap();
    fs::write(mounts[1].join("data/new"), "from two").unwrap();
    fs::write(mounts[2].join("data/a"), "from three").unwrap();
    server.pfs(&["umount", mounts[0].to_str().unwrap()]);
    server.pfs(&["umount", mounts[1].to_str().unwrap()]);
    let said = server.refused(&["umount", mounts[2].to_str().unwrap()]);
    assert!(said.contains("/a") && said.contains("hint: "), "{said}");
    assert_eq!(server.pfs(&["get", "file", "data@master:/a"]), "from one");
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "from two");
    let kept: Vec<_> = fs::read_dir(server.root().join("mounts")).unwrap().collect();
    assert_eq!(kept.len(), 1, "the transaction that lost is kept");
}

#[test]
fn a_killed_mount_is_gone_on_with() {
    if !has_fuse("a_killed_mount_is_gone_on_with") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    let mut child = foreground(&server, &["-r", "data@master+w", at]);
    eventually("mounted", || mount.join("data").exists());
    fs::write(mount.join("data/new"), "kept").unwrap();
    fs::rename(mount.join("data/dir"), mount.join("data/moved")).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(server.refused(&["mount", "-d", at]).contains("hint: take the mount away first"));
    assert!(server.refused(&["status", at]).contains("is gone\nhint: unmount it"));
    let said = server.refused(&["umount", at]);
    assert!(said.contains("was not committed\nhint: go on with it"), "{said}");
    let id = transaction(&server);
    assert!(server.refused(&["finish", "transaction", &id]).contains("mount data@master+w there"));
    assert!(server.refused(&["get", "file", "data@master:/new"]).contains("not found"));
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    assert_eq!(read(&mount.join("data/new")), "kept");
    fs::write(mount.join("data/more"), "m").unwrap();
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "kept");
    assert_eq!(server.pfs(&["get", "file", "data@master:/moved/b"]), "b");
    assert_eq!(server.pfs(&["get", "file", "data@master:/more"]), "m");
}

#[test]
fn a_file_that_takes_the_place_of_a_directory_is_committed() {
    if !has_fuse("a_file_that_takes_the_place_of_a_directory_is_committed") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    let place = mount.join("data/place");
    fs::create_dir(&place).unwrap();
    fs::write(place.join("inside"), "1").unwrap();
    server.pfs(&["commit", at]);
    fs::remove_dir_all(&place).unwrap();
    fs::write(&place, "file").unwrap();
    server.pfs(&["commit", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/place"]), "file");
    fs::write(mount.join("data/more"), "more").unwrap();
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/more"]), "more");
}

/// The only write transaction there is.
fn transaction(server: &Server) -> String {
    let listed = server.pfs(&["list", "transaction", "--mounts", "--raw"]);
    let shown: serde_json::Value = serde_json::from_str(&listed).unwrap();
    shown["id"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_for_a_repo_that_is_gone_is_left_alone() {
    if !has_fuse("what_was_for_a_repo_that_is_gone_is_left_alone") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    let mut child = foreground(&server, &["-r", "data@master+w", at]);
    eventually("mounted", || mount.join("data").exists());
    fs::write(mount.join("data/new"), "for another").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    server.refused(&["umount", at]);
    server.pfs(&["delete", "repo", "data", "-f"]);
    server.pfs(&["create", "repo", "data"]);
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    assert_eq!(fs::read_dir(mount.join("data")).unwrap().count(), 0);
    fs::write(mount.join("data/own"), "own").unwrap();
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/own"]), "own");
    assert!(server.refused(&["get", "file", "data@master:/new"]).contains("not found"));
}

#[test]
fn an_interrupted_mount_commits() {
    if !has_fuse("an_interrupted_mount_commits") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let mut child = foreground(&server, &["-r", "data@master+w", mount.to_str().unwrap()]);
    eventually("mounted", || mount.join("data").exists());
    fs::write(mount.join("data/new"), "kept").unwrap();
    let pid = nix::unistd::Pid::from_raw(child.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "kept");
}

#[test]
fn a_mount_works_through_the_server_alone() {
    let test = "a_mount_works_through_the_server_alone";
    // Another user cannot reach the server's directory of objects.
    if !has_fuse(test) || !is_root(test) {
        return;
    }
    let server = server();
    let (mount, hidden) = (server.dir("mnt"), server.root().join("objects"));
    let script = format!("mount -t tmpfs tmpfs {hidden} && exec \"$@\"", hidden = hidden.display());
    let at = mount.to_str().unwrap();
    let inner = "set -e
        \"$0\" mount -d -r data@master+w \"$1\"
        test \"$(cat $1/data/a)\" = first
        head -c 5000000 /dev/zero | tr '\\0' x > $1/data/large
        echo small > $1/data/small
        \"$0\" umount \"$1\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private", "sh", "-c", &script, "sh"]);
    let pfs = server.command(&[]);
    command.args(["sh", "-c", inner]).arg(pfs.get_program()).arg(at);
    for (name, value) in pfs.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(server.pfs(&["get", "file", "data@master:/small"]), "small\n");
    assert_eq!(server.pfs(&["get", "file", "data@master:/large"]).len(), 5_000_000);
}

#[test]
fn what_cannot_be_mounted_is_said() {
    if !has_fuse("what_cannot_be_mounted_is_said") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    assert!(server.refused(&["mount", "-d", "/no/such/dir"]).contains("/no/such/dir"));
    assert!(server.refused(&["mount", "-d", "-r", "nothing", at]).contains("nothing"));
    assert!(server.refused(&["mount", "-d", "-r", "data@nothing", at]).contains("nothing"));
    assert!(server.refused(&["mount", "-d", "-r", "nothing@master+w", at]).contains("nothing"));
    assert!(server.refused(&["status", at]).contains("not mounted"));
    server.pfs(&["mount", "-d", at]);
    assert!(server.refused(&["mount", "-d", at]).contains("mounted already"));
    assert!(server.refused(&["commit", at]).contains("read-only"));
    let open = fs::File::open(mount.join("data/a")).unwrap();
    assert!(server.refused(&["umount", at]).contains("in use"));
    drop(open);
    server.pfs(&["umount", at]);
}

#[test]
fn statistics_of_a_mount_are_shown() {
    if !has_fuse("statistics_of_a_mount_are_shown") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    assert!(server.refused(&["stats", at]).contains("is not mounted by pfs"));
    server.pfs(&["mount", "-d", at]);
    assert_eq!(read(&mount.join("data/a")), "first");
    let below = mount.join("data/dir");
    let shown = server.pfs(&["stats", below.to_str().unwrap()]);
    assert!(shown.contains("OPERATION") && shown.contains("lookup"), "{shown}");
    assert!(shown.contains("Store Requests: ") && shown.contains("Read: 5B"), "{shown}");
    let json: serde_json::Value =
        serde_json::from_str(&server.pfs(&["stats", at, "-o", "json"])).unwrap();
    assert_eq!(json["operations"]["lookup"]["count"], 2, "data and a, not dir: {json}");
    let mut watch = server.command(&["stats", at, "--watch", "0.1"]);
    let mut watch = watch.stdout(Stdio::piped()).spawn().unwrap();
    let lines = std::io::BufRead::lines(std::io::BufReader::new(watch.stdout.take().unwrap()));
    let titles = lines.map(Result::unwrap).filter(|line| line.starts_with("OPERATION"));
    assert_eq!(titles.take(3).count(), 3);
    watch.kill().unwrap();
    watch.wait().unwrap();
    server.pfs(&["umount", at]);
}
