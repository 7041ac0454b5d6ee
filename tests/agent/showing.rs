//! What volumes show.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;

use pfs::mount::control;
use pfs_daemonset::Code;

use super::{Node, eventually, take_away};

/// Repo `data` with a file in each of two directories.
fn node(test: &str) -> Option<Node> {
    let node = Node::start(test)?;
    node.server.pfs(&["create", "repo", "data"]);
    node.put("data@master:/a", "first");
    node.put("data@master:/deep/er/b", "second");
    Some(node)
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let entries = fs::read_dir(dir).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_volume_is_a_repo_or_a_directory_of_it_or_the_whole_tree() {
    let Some(node) = node("a_volume_is_a_repo_or_a_directory_of_it_or_the_whole_tree") else {
        return;
    };
    let repo = node.volume("repo", &[("repo", "data")]);
    assert_eq!(names(&repo.dir), ["a", "deep"]);
    assert_eq!((repo.read("a").as_str(), repo.read("deep/er/b").as_str()), ("first", "second"));
    assert_eq!(fs::metadata(&repo.dir).unwrap().ino(), 1);
    assert_eq!(fs::metadata(repo.path("deep/..")).unwrap().ino(), 1);
    let written = fs::write(repo.path("c"), "").unwrap_err();
    assert_eq!(written.raw_os_error(), Some(libc::EROFS));
    let head = node.server.pfs(&["inspect", "commit", "data@master", "--raw"]);
    let commit = control::read(&repo.dir, "user.pfs.commit").unwrap();
    assert!(head.contains(&commit), "{head}");
    assert!(control::read(&repo.dir, "user.pfs.status").unwrap().contains("READ_ONLY"));

    let deep = node.volume("deep", &[("repo", "data"), ("path", "/deep/er/")]);
    assert_eq!(names(&deep.dir), ["b"]);
    assert_eq!(deep.read("b"), "second");
    assert_eq!(fs::metadata(&deep.dir).unwrap().ino(), 1);
    assert_eq!(control::read(&deep.dir, "user.pfs.commit").unwrap(), commit);

    let all = node.volume("all", &[]);
    assert_eq!(names(&all.dir), ["data"]);
    assert_eq!(all.read("data/deep/er/b"), "second");
    assert_eq!(all.read("data@master/a"), "first");

    // A user who is neither root nor anybody the repo knows.
    let mut command = std::process::Command::new("cat");
    let read = command.arg(repo.path("a")).uid(65534).gid(65534).output().unwrap();
    assert_eq!(read.stdout, b"first");
    for volume in [repo, deep, all] {
        node.unpublish(volume);
    }
    assert!(node.list().is_empty());
}

#[test]
fn a_volume_is_pinned_unless_it_follows() {
    let Some(node) = node("a_volume_is_pinned_unless_it_follows") else { return };
    let pinned = node.volume("pinned", &[("repo", "data")]);
    let follow = node.volume("follow", &[("repo", "data"), ("follow", "true")]);
    let deep = node.volume("deep", &[("repo", "data"), ("path", "deep"), ("follow", "true")]);
    assert_eq!((follow.read("a").as_str(), names(&deep.dir)), ("first", vec!["er".to_owned()]));
    assert!(!follow.path("new").exists() && !deep.path("new").exists());
    let before = fs::metadata(follow.path("deep/er/b")).unwrap().ino();
    node.put("data@master:/a", "third");
    node.put("data@master:/new", "fourth");
    node.put("data@master:/deep/new", "fifth");
    eventually("the head is followed", || follow.path("new").exists() && deep.path("new").exists());
    assert_eq!((follow.read("a").as_str(), deep.read("new").as_str()), ("third", "fifth"));
    assert_eq!(names(&deep.dir), ["er", "new"]);
    assert_eq!(fs::metadata(follow.path("deep/er/b")).unwrap().ino(), before);
    assert_eq!((pinned.read("a").as_str(), names(&pinned.dir).len()), ("first", 2));

    // A root that goes away is an empty directory until it is there again.
    node.server.pfs(&["delete", "file", "-r", "data@master:/deep"]);
    eventually("an empty root", || names(&deep.dir).is_empty());
    assert!(fs::metadata(&deep.dir).unwrap().is_dir());
    node.put("data@master:/deep/again", "sixth");
    eventually("a root again", || names(&deep.dir) == ["again"]);
    assert_eq!(deep.read("again"), "sixth");
    for volume in [pinned, follow, deep] {
        node.unpublish(volume);
    }
}

#[test]
fn what_cannot_be_shown_is_refused_by_its_code() {
    let Some(node) = node("what_cannot_be_shown_is_refused_by_its_code") else { return };
    node.server.pfs(&["create", "repo", "empty"]);
    let refused = |attributes: &[(&str, &str)]| {
        node.publish(&node.publish_of("refused", attributes)).err().map(|refusal| refusal.code)
    };
    assert_eq!(refused(&[("repo", "dada")]), Some(Code::NotFound));
    assert_eq!(refused(&[("repo", "data"), ("ref", "nobranch")]), Some(Code::NotFound));
    assert_eq!(refused(&[("repo", "data"), ("path", "no/where")]), Some(Code::NotFound));
    assert_eq!(refused(&[("repo", "data"), ("path", "a")]), Some(Code::InvalidArgument));
    assert_eq!(refused(&[("repo", "data"), ("folow", "true")]), Some(Code::InvalidArgument));
    assert_eq!(refused(&[("repo", "empty")]), Some(Code::FailedPrecondition));
    assert_eq!(refused(&[("repo", "data"), ("mode", "rw"), ("path", "no")]), Some(Code::NotFound));
    assert!(node.list().is_empty());
    let follow = node.volume("empty", &[("repo", "empty"), ("follow", "true")]);
    assert!(names(&follow.dir).is_empty());
    node.put("empty@master:/x", "appeared");
    eventually("the first commit", || follow.path("x").exists());
    node.unpublish(follow);
}

#[test]
fn a_publish_may_be_repeated_but_not_changed() {
    let Some(node) = node("a_publish_may_be_repeated_but_not_changed") else { return };
    let volume = node.volume("one", &[("repo", "data")]);
    let again = node.prepare(&volume.publish).unwrap();
    assert!(again.connection.is_some() && again.read_only);
    let other = node.publish_of("one", &[("repo", "data"), ("path", "deep")]);
    assert_eq!(node.prepare(&other).unwrap_err().code, Code::AlreadyExists);
    let stats = node.stats(&volume.publish.key).unwrap();
    assert_eq!((stats.inodes.used, stats.problem.as_str()), (4, ""));
    // Somebody else takes the mount away: it is mounted anew.
    take_away(&volume.dir);
    eventually("the end of the mount", || {
        node.prepare(&volume.publish).unwrap().connection.is_none()
    });
    let volume = node.publish(&volume.publish).unwrap();
    assert_eq!(volume.read("a"), "first");
    let key = volume.publish.key.clone();
    node.unpublish(volume);
    node.end(&key).unwrap();
    assert_eq!(node.stats(&key).unwrap_err().code, Code::NotFound);
    // Prepared and never mounted.
    node.prepare(&other).unwrap();
    node.end(&other.key).unwrap();
    assert!(node.list().is_empty());
}

#[test]
fn volumes_of_a_node_share_what_was_read() {
    let Some(node) = node("volumes_of_a_node_share_what_was_read") else { return };
    let large: String = (0..200_000).map(|n| format!("{n}\n")).collect();
    node.put("data@master:/large", &large);
    let one = node.volume("one", &[("repo", "data")]);
    assert!(one.read("large") == large);
    let name = "pfs_store_requests_total{kind=\"get\"}";
    let before = node.metric(name);
    let two = node.volume("two", &[("repo", "data"), ("path", "/")]);
    assert!(two.read("large") == large);
    assert_eq!(node.metric(name), before);
    assert_eq!(node.metric("pfs_agent_volumes"), 2.0);
    node.unpublish(one);
    node.unpublish(two);
    eventually("both ends", || node.metric("pfs_agent_volumes") == 0.0);
}

#[test]
fn a_volume_fetches_ahead_what_it_shows() {
    let cache = tempfile::Builder::new().prefix("pfs-cache.").tempdir().unwrap();
    let options = ["--cache", cache.path().to_str().unwrap()];
    let Some(node) = Node::with("a_volume_fetches_ahead_what_it_shows", &options) else { return };
    node.server.pfs(&["create", "repo", "data"]);
    for file in ["deep/er/one.bin", "deep/er/two.txt", "deep/er/sub/three.bin", "wide/four.bin"] {
        node.put(&format!("data@master:/{file}"), file);
    }
    let fetched = |files: usize| {
        let log = fs::read_to_string(node.server.dir("run").join("agent.log")).unwrap();
        let lines = log.lines().filter(|line| line.contains("fetched ahead"));
        lines.filter(|line| line.contains(&format!(" files: {files},"))).count()
    };
    let common = [("repo", "data"), ("path", "deep/er"), ("follow", "true")];
    let all = node.volume("all", &[&common[..], &[("prefetch", "all")]].concat());
    eventually("all of it", || fetched(3) == 1);
    let some = node.volume("some", &[&common[..], &[("prefetch", "/*.bin")]].concat());
    eventually("what matches in it", || fetched(1) == 1);
    // What moves beside it is no matter, what moves in it is.
    node.put("data@master:/wide/five.bin", "five");
    eventually("nothing", || fetched(0) == 2);
    node.put("data@master:/deep/er/six.bin", "six");
    eventually("the new one", || fetched(1) == 3);
    for volume in [all, some] {
        node.unpublish(volume);
    }
}
