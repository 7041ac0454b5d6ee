//! Heads that are followed while the store misbehaves. No kernel takes part.

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use pfs::model::{Clock as _, SystemClock};
use pfs::store::{Fault, Operation};
use pfs::tree::Edit;
use pfs::vfs::{Files, InodeNo, Invalidation, Listed, Memory, Source, WAITING};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::fake::Fake;

/// After this long it does not happen any more.
const LONG: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn a_head_that_could_not_be_read_is_followed_later() {
    let (fake, faults) = Fake::faulty();
    fake.commit("r", vec![("f", fake.file("one").await), ("g", fake.file("same").await)]).await;
    let source: Arc<dyn Source> = fake.clone();
    let files = Arc::new(Files::of_repos(source, None, SystemClock.now()));
    let (tell, mut told) = mpsc::channel(WAITING);
    let following = tokio::spawn(files.follow(tell));
    let repo = files.lookup(InodeNo::ROOT, "r").await.unwrap().attr.unwrap().ino;
    let old = files.lookup(repo, "f").await.unwrap().attr.unwrap();
    assert_eq!(&files.read(old.ino, 0, 9).await.unwrap()[..], b"one");

    faults.plan(Operation::Get, 0, 1, Fault::Fail);
    fake.commit("r", vec![("f", fake.file("two").await)]).await;
    let wanted = Invalidation::Entry { parent: repo, name: "f".into() };
    let heard = async {
        while let Some(what) = told.recv().await {
            if what == wanted {
                return;
            }
        }
        panic!("the follower has ended");
    };
    timeout(LONG, heard).await.expect("told in the end");
    let new = files.lookup(repo, "f").await.unwrap().attr.unwrap();
    assert_eq!(&files.read(new.ino, 0, 9).await.unwrap()[..], b"two");
    following.abort();
}

/// Waits until somebody waits to move the head that `dir` follows: from then on
/// nobody is let in.
async fn until_a_head_waits(files: &Files, dir: InodeNo) {
    let start = Instant::now();
    while timeout(Duration::from_millis(100), files.lookup(dir, "absent")).await.is_ok() {
        assert!(start.elapsed() < LONG, "nobody moves the head");
        sleep(Duration::from_millis(1)).await;
    }
}

/// A repo `r` with 300 files, and their names.
async fn many(fake: &Fake) -> Vec<String> {
    let file = fake.file("same").await;
    let names: Vec<String> = (0..300).map(|number| format!("{number:03}")).collect();
    fake.commit("r", names.iter().map(|name| (name.as_str(), file.clone())).collect()).await;
    names
}

/// A mount's files, what follows the heads, and what a kernel is told.
fn followed(fake: &Arc<Fake>) -> (Arc<Files>, JoinHandle<()>, mpsc::Receiver<Invalidation>) {
    let source: Arc<dyn Source> = fake.clone();
    let files = Arc::new(Files::of_repos(source, None, SystemClock.now()));
    let (tell, told) = mpsc::channel(WAITING);
    let following = tokio::spawn(files.follow(tell));
    (files, following, told)
}

async fn found(files: &Files, dir: InodeNo, name: &str) -> Option<InodeNo> {
    let found = timeout(LONG, files.lookup(dir, name)).await.expect("an answer");
    found.unwrap().attr.map(|attr| attr.ino)
}

/// Waits until `name` is in `dir`, or is not.
async fn until(files: &Files, dir: InodeNo, name: &str, is_there: bool) {
    let start = Instant::now();
    while found(files, dir, name).await.is_some() != is_there {
        assert!(start.elapsed() < LONG, "{name} never becomes {is_there}");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_while_a_head_waits_to_move() {
    let fake = Fake::new();
    let names = many(&fake).await;
    let new = fake.file("new").await;
    let (files, following, _told) = followed(&fake);
    let repo = found(&files, InodeNo::ROOT, "r").await.unwrap();

    let mut listed = Vec::new();
    let take = |entry: &Listed| {
        if listed.is_empty() {
            tokio::task::block_in_place(|| {
                Handle::current().block_on(async {
                    fake.commit("r", vec![("100", Edit::Remove), ("new", new.clone())]).await;
                    until_a_head_waits(&files, repo).await;
                });
            });
        }
        listed.push(entry.name.to_string());
        true
    };
    let listing = timeout(LONG, files.list(repo, 0, 64, take)).await;
    let hold = listing.expect("the listing ends").unwrap();
    assert_eq!(listed, names, "all of it under one head");
    drop(hold);
    until(&files, repo, "new", true).await;
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_goes_on_after_the_last_name_although_others_went() {
    let fake = Fake::new();
    let names = many(&fake).await;
    let (files, following, _told) = followed(&fake);
    let repo = found(&files, InodeNo::ROOT, "r").await.unwrap();

    let mut listed = Vec::new();
    let take = |entry: &Listed| {
        let room = listed.len() < 110;
        listed.extend(room.then(|| (entry.name.to_string(), entry.cookie)));
        room
    };
    drop(files.list(repo, 0, 64, take).await.unwrap());
    let gone = &names[98..106];
    fake.commit("r", gone.iter().map(|name| (name.as_str(), Edit::Remove)).collect()).await;
    until(&files, repo, "100", false).await;

    let mut rest = Vec::new();
    let take = |entry: &Listed| {
        rest.push(entry.name.to_string());
        true
    };
    drop(files.list(repo, listed[109].1, 64, take).await.unwrap());
    assert_eq!(rest, names[110..], "what was there all the time is listed once");
    following.abort();
}

/// The same files as a process that goes on with them finds them.
fn gone_on_with(fake: &Arc<Fake>, files: &Files) -> Files {
    let memory = files.memory().unwrap().as_fd().try_clone_to_owned().unwrap();
    Files::resumed(fake.clone(), None, Memory::of(memory).unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_made_anew_is_another_while_the_old_one_is_in_use() {
    let fake = Fake::new();
    fake.commit("r", vec![("d/old", fake.file("old").await)]).await;
    let (files, following, _told) = followed(&fake);
    let old = found(&files, InodeNo::ROOT, "r").await.unwrap();
    let old_dir = found(&files, old, "d").await.unwrap();
    let open = found(&files, old_dir, "old").await.unwrap();
    fake.delete("r");
    until(&files, InodeNo::ROOT, "r", false).await;

    fake.commit("r", vec![("d/new", fake.file("new").await)]).await;
    let new = found(&files, InodeNo::ROOT, "r").await.unwrap();
    until(&files, new, "d", true).await;
    let dir = found(&files, new, "d").await.unwrap();
    assert!(new != old && dir != old_dir, "another directory");
    assert!(found(&files, dir, "new").await.is_some());
    assert!(found(&files, dir, "old").await.is_none());
    assert!(found(&files, old_dir, "new").await.is_none());
    assert_eq!(&files.read(open, 0, 9).await.unwrap()[..], b"old", "what is open stays");
    fake.commit("r", vec![("d/newer", fake.file("newer").await)]).await;
    until(&files, dir, "newer", true).await;

    following.abort();
    let files = Arc::new(gone_on_with(&fake, &files));
    let (tell, _told) = mpsc::channel(WAITING);
    let following = tokio::spawn(files.follow(tell));
    assert_eq!(found(&files, InodeNo::ROOT, "r").await, Some(new), "the newer of the two");
    assert!(found(&files, dir, "newer").await.is_some());
    assert!(found(&files, old_dir, "old").await.is_some());
    fake.commit("r", vec![("d/newest", fake.file("newest").await)]).await;
    until(&files, dir, "newest", true).await;
    fake.delete("r");
    until(&files, InodeNo::ROOT, "r", false).await;
    fake.create("r");
    let newest = found(&files, InodeNo::ROOT, "r").await;
    assert!(newest.is_some_and(|newest| newest != old && newest != new));
    following.abort();
}

/// Waits until heads are followed.
async fn until_followed(fake: &Fake) {
    let start = Instant::now();
    while fake.asked.load(Ordering::SeqCst) == 0 {
        assert!(start.elapsed() < LONG, "nobody follows");
        sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repo_whose_head_moves_all_the_time_is_looked_up() {
    let fake = Fake::new();
    fake.commit("r", vec![("f", fake.file("one").await)]).await;
    let (files, following, _told) = followed(&fake);
    until_followed(&fake).await;
    fake.overtaken.store(usize::MAX, Ordering::SeqCst);
    let repo = found(&files, InodeNo::ROOT, "r").await.unwrap();
    let left = fake.overtaken.swap(0, Ordering::SeqCst);
    until(&files, repo, &format!("late-{}", left + 1), true).await;
    following.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listing_while_heads_move_opens_nothing_with_what_is_old() {
    let fake = Fake::new();
    fake.commit("r", vec![("f", fake.file("one").await)]).await;
    let (files, following, _told) = followed(&fake);
    until_followed(&fake).await;
    fake.overtaken.store(4, Ordering::SeqCst);
    let mut listed = Vec::new();
    let take = |entry: &Listed| {
        listed.push(entry.name.to_string());
        true
    };
    drop(files.list(InodeNo::ROOT, 0, 64, take).await.unwrap());
    assert_eq!(listed, ["r"]);
    let repo = found(&files, InodeNo::ROOT, "r").await.unwrap();
    until(&files, repo, "late-1", true).await;
    following.abort();
}
