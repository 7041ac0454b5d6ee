//! `pfs mount` and friends against a real server.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
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

/// How many staging directories there are.
fn staged(server: &Server) -> usize {
    fs::read_dir(server.root().join("mounts")).map_or(0, Iterator::count)
}

/// The transaction behind a mount.
fn transaction(server: &Server, at: &str) -> String {
    let status = server.pfs(&["status", at, "--raw"]);
    let status: serde_json::Value = serde_json::from_str(&status).unwrap();
    status["transaction"].as_str().unwrap().to_owned()
}

/// The transaction that a hint names.
fn named(said: &str) -> String {
    let (_, rest) = said.split_once("--resume ").unwrap_or_else(|| panic!("{said}"));
    rest[..32].to_owned()
}

/// What a command says besides its results.
#[track_caller]
fn notices(server: &Server, arguments: &[&str]) -> String {
    let output = server.output(arguments);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    said
}

/// Mounts master of `data` and lets the process die with `data/new` written.
fn died(server: &Server, mount: &Path) {
    let mut child = foreground(server, &["-r", "data@master+w", mount.to_str().unwrap()]);
    eventually("mounted", || mount.join("data").exists());
    fs::write(mount.join("data/new"), "kept").unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_dead_mount_says_what_was_not_committed() {
    if !has_fuse("a_dead_mount_says_what_was_not_committed") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    died(&server, &mount);
    for verb in ["status", "commit", "abort"] {
        let said = server.refused(&[verb, at]);
        assert!(said.contains("is gone") && said.contains("--resume"), "{verb}: {said}");
    }
    let said = server.refused(&["umount", at]);
    assert!(said.contains("was not committed") && said.contains("data@master+w"), "{said}");
    let id = named(&said);
    assert!(server.refused(&["umount", at]).contains("not mounted"));
    let said = server.refused(&["finish", "transaction", &id]);
    assert!(said.contains(&id) && said.contains("--resume"), "{said}");
    assert!(server.refused(&["get", "file", "data@master:/new"]).contains("not found"));
    let said = notices(&server, &["mount", "-d", "-r", "data@master+w", at]);
    assert!(said.contains("going on with") && said.contains(&id), "{said}");
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "kept");
}

#[test]
fn a_directory_whose_mount_died_is_mounted_again() {
    if !has_fuse("a_directory_whose_mount_died_is_mounted_again") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    died(&server, &mount);
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    assert_eq!(read(&mount.join("data/new")), "kept");
    server.pfs(&["abort", at]);
    server.pfs(&["umount", at]);
}

#[test]
fn what_was_left_elsewhere_is_said_and_taken_up() {
    if !has_fuse("what_was_left_elsewhere_is_said_and_taken_up") {
        return;
    }
    let server = server();
    let (first, second) = (server.dir("one"), server.dir("two"));
    died(&server, &first);
    let id = named(&server.refused(&["umount", first.to_str().unwrap()]));
    let at = second.to_str().unwrap();
    let said = notices(&server, &["mount", "-d", "-r", "data@master+w", at]);
    assert!(said.contains(&format!("data@master+w --resume {id}")), "{said}");
    assert!(!second.join("data/new").exists());
    server.pfs(&["umount", at]);
    let said = server.refused(&["mount", "-d", "-r", "data", "--resume", &id, at]);
    assert!(said.contains("data@master"), "{said}");
    server.pfs(&["mount", "-d", "-r", "data@master+w", "--resume", &id, at]);
    assert_eq!(read(&second.join("data/new")), "kept");
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "kept");
    assert_eq!(staged(&server), 0, "nothing stays behind");
}

#[test]
fn a_transaction_of_another_server_is_left_alone() {
    if !has_fuse("a_transaction_of_another_server_is_left_alone") {
        return;
    }
    let (server, other) = (server(), server());
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    died(&server, &mount);
    let id = named(&server.refused(&["umount", at]));
    let elsewhere = |arguments: &[&str]| {
        let mut command = other.command(arguments);
        command.env("PFS_ROOT", server.root()).stdin(Stdio::null()).output().unwrap()
    };
    assert!(elsewhere(&["mount", "-d", "-r", "data@master+w", at]).status.success());
    assert!(!mount.join("data/new").exists());
    assert!(elsewhere(&["umount", at]).status.success());
    let refused = elsewhere(&["mount", "-d", "-r", "data@master+w", "--resume", &id, at]);
    let said = String::from_utf8(refused.stderr).unwrap();
    assert!(said.contains("another server") && said.contains(&id), "{said}");
    assert!(other.refused(&["get", "file", "data@master:/new"]).contains("not found"));
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "kept");
}

#[test]
fn a_damaged_transaction_is_named() {
    if !has_fuse("a_damaged_transaction_is_named") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    died(&server, &mount);
    let id = named(&server.refused(&["umount", at]));
    let dir = server.root().join("mounts").join(&id);
    fs::write(dir.join("journal"), "this is no journal").unwrap();
    let said = server.refused(&["mount", "-d", "-r", "data@master+w", at]);
    assert!(said.contains(&id) && said.contains(dir.to_str().unwrap()), "{said}");
    server.pfs(&["delete", "transaction", &id]);
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    server.pfs(&["umount", at]);
}

#[test]
fn an_explicit_mount_says_what_it_keeps() {
    if !has_fuse("an_explicit_mount_says_what_it_keeps") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "--commit", "explicit", "-r", "data@master+w", at]);
    fs::write(mount.join("data/new"), "kept").unwrap();
    let id = transaction(&server, at);
    assert_eq!(named(&notices(&server, &["umount", at])), id);
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "kept");
}

#[test]
fn a_writable_mount_follows_its_branch_until_it_is_written_to() {
    if !has_fuse("a_writable_mount_follows_its_branch_until_it_is_written_to") {
        return;
    }
    let server = server();
    let (mount, other) = (server.dir("mnt"), server.dir("other"));
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    assert_eq!(read(&mount.join("data/a")), "first");
    let put = |name: &str, text: &str| {
        fs::write(other.join(name), text).unwrap();
        let source = other.join(name);
        let target = format!("data@master:/{name}");
        server.pfs(&["put", "file", &target, "-f", source.to_str().unwrap()]);
    };
    put("a", "second");
    eventually("the branch is followed", || read(&mount.join("data/a")) == "second");
    fs::write(mount.join("data/mine"), "m").unwrap();
    put("theirs", "t");
    assert_eq!(server.pfs(&["commit", at]).trim().len(), 32);
    eventually("what others committed shows", || mount.join("data/theirs").exists());
    put("a", "third");
    eventually("and is followed again", || read(&mount.join("data/a")) == "third");
    fs::write(mount.join("data/a"), "fourth").unwrap();
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/a"]), "fourth");
}

#[test]
fn a_server_that_is_started_again_is_waited_for() {
    if !has_fuse("a_server_that_is_started_again_is_waited_for") {
        return;
    }
    let mut server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap().to_owned();
    server.pfs(&["mount", "-d", &at]);
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 1);
    server.kill();
    assert_eq!(fs::read_dir(&mount).unwrap().count(), 1);
    assert_eq!(read(&mount.join("data/a")), "first");
    let asked = mount.join("data@master/dir/b");
    let reader = std::thread::spawn(move || read(&asked));
    server.resume();
    assert_eq!(reader.join().unwrap(), "b");
    server.pfs(&["create", "repo", "later"]);
    eventually("heads are followed again", || mount.join("later").is_dir());
    server.pfs(&["umount", &at]);
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
    fs::write(mount.join("data/a"), "changed").unwrap();
    fs::rename(mount.join("data/dir"), mount.join("data/moved")).unwrap();
    let aborted = transaction(&server, at);
    server.pfs(&["abort", at]);
    let status = server.pfs(&["status", at]);
    assert!(status.contains("OPEN") && !status.contains(&aborted), "{status}");
    eventually("the branch shows again", || !mount.join("data/new").exists());
    eventually("what was changed too", || read(&mount.join("data/a")) == "first");
    eventually("and what was moved", || mount.join("data/dir/b").exists());
    fs::write(mount.join("data/later"), "y").unwrap();
    server.pfs(&["umount", at]);
    assert!(server.refused(&["get", "file", "data@master:/new"]).contains("not found"));
    assert_eq!(server.pfs(&["get", "file", "data@master:/later"]), "y");
    assert_eq!(staged(&server), 1, "what was aborted is kept");
    server.pfs(&["mount", "-d", "-r", "data@master+w", "--resume", &aborted, at]);
    assert_eq!(read(&mount.join("data/new")), "x");
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "x");
    assert_eq!(server.pfs(&["get", "file", "data@master:/later"]), "y");
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
    assert_eq!(staged(&server), 1, "the transaction that lost is kept");

    let (at, id) = (mounts[0].to_str().unwrap(), named(&said));
    let said = notices(&server, &["mount", "-d", "-r", "data@master+w", at]);
    assert!(said.contains(&id) && said.contains("/a"), "{said}");
    server.pfs(&["umount", at]);
    let said = notices(&server, &["mount", "-d", "-r", "data@master+w", "--resume", &id, at]);
    assert!(said.contains("/a"), "{said}");
    assert_eq!(read(&mounts[0].join("data/a")), "from three");
    assert_eq!(read(&mounts[0].join("data@master/a")), "from one");
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/a"]), "from three");
    assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), "from two");
    assert_eq!(staged(&server), 0, "nothing stays behind");
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
    server.refused(&["umount", at]);
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

#[test]
fn what_was_for_a_repo_that_is_gone_is_left_alone() {
    if !has_fuse("what_was_for_a_repo_that_is_gone_is_left_alone") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    died(&server, &mount);
    let id = named(&server.refused(&["umount", at]));
    server.pfs(&["delete", "repo", "data", "-f"]);
    server.pfs(&["create", "repo", "data"]);
    let said = server.refused(&["mount", "-d", "-r", "data@master+w", "--resume", &id, at]);
    assert!(said.contains("deleted since"), "{said}");
    let said = notices(&server, &["mount", "-d", "-r", "data@master+w", at]);
    assert!(said.contains(&id) && said.contains("deleted since"), "{said}");
    assert_eq!(fs::read_dir(mount.join("data")).unwrap().count(), 0);
    fs::write(mount.join("data/own"), "own").unwrap();
    server.pfs(&["umount", at]);
    assert_eq!(server.pfs(&["get", "file", "data@master:/own"]), "own");
    assert!(server.refused(&["get", "file", "data@master:/new"]).contains("not found"));
}

#[test]
fn an_interrupted_mount_commits() {
    use nix::sys::signal::{Signal, kill};
    if !has_fuse("an_interrupted_mount_commits") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    // Who was started to ignore hang-ups goes on.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let ignored = u64::from_str_radix(ignored.trim(), 16).unwrap();
    let mut signals = vec![Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP];
    signals.retain(|signal| ignored & 1 << (*signal as i32 - 1) == 0);
    for signal in signals {
        let mut child = foreground(&server, &["-r", "data@master+w", mount.to_str().unwrap()]);
        eventually("mounted", || mount.join("data").exists());
        fs::write(mount.join("data/new"), signal.as_str()).unwrap();
        kill(nix::unistd::Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        assert!(child.wait().unwrap().success(), "{signal}");
        assert_eq!(server.pfs(&["get", "file", "data@master:/new"]), signal.as_str());
    }
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
    server.lend_environment(&mut command);
    let ran = command.output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(server.pfs(&["get", "file", "data@master:/small"]), "small\n");
    assert_eq!(server.pfs(&["get", "file", "data@master:/large"]).len(), 5_000_000);
}

#[test]
fn a_commit_without_its_repo_says_what_is_gone() {
    if !has_fuse("a_commit_without_its_repo_says_what_is_gone") {
        return;
    }
    let server = server();
    let mount = server.dir("mnt");
    let at = mount.to_str().unwrap();
    server.pfs(&["mount", "-d", "-r", "data@master+w", at]);
    fs::write(mount.join("data/new"), "x").unwrap();
    server.pfs(&["delete", "repo", "data", "--force"]);
    let said = server.refused(&["umount", at]);
    assert!(said.contains("data@master was not committed") && said.contains("data"), "{said}");
    assert!(!said.contains("committed: not found"), "{said}");
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
    let said = server.refused(&["mount", "-d", "-r", "dat", at]);
    assert!(said.contains("dat not found") && said.contains("did you mean"), "{said}");
    let said = server.refused(&["mount", "-d", "-r", "data@mastr", at]);
    assert!(said.contains("mastr") && said.contains("did you mean"), "{said}");
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

#[test]
fn any_directory_can_be_mounted_on() {
    if !has_fuse("any_directory_can_be_mounted_on") {
        return;
    }
    let server = server();
    for name in ["with blanks, and commas", "back\\slash\ttab", "\\040"] {
        let mount = server.dir(name);
        let at = mount.to_str().unwrap();
        server.pfs(&["mount", "-d", "-r", "data", at]);
        assert_eq!(read(&mount.join("data/a")), "first");
        let device = fs::metadata(&mount).unwrap().dev();
        let (major, minor) = (nix::sys::stat::major(device), nix::sys::stat::minor(device));
        let ahead = fs::read_to_string(format!("/sys/class/bdi/{major}:{minor}/read_ahead_kb"));
        // Which only root may set.
        if nix::unistd::geteuid().is_root() {
            assert_eq!(ahead.unwrap().trim(), "1024", "{name}: the mount was not found");
        }
        server.pfs(&["stats", at]);
        server.pfs(&["umount", at]);
    }
}

#[test]
fn a_mount_is_unmounted_by_a_link_to_it() {
    if !has_fuse("a_mount_is_unmounted_by_a_link_to_it") {
        return;
    }
    let server = server();
    let (mount, link) = (server.dir("mnt"), server.dir("etc").join("link"));
    std::os::unix::fs::symlink(&mount, &link).unwrap();
    server.pfs(&["mount", "-d", "-r", "data", mount.to_str().unwrap()]);
    assert_eq!(read(&link.join("data/a")), "first");
    server.pfs(&["umount", link.to_str().unwrap()]);
    assert!(!mount.join("data").exists());
}
