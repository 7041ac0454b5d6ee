//! Heads that are followed while the store misbehaves. No kernel takes part.

use std::sync::Arc;
use std::time::Duration;

use pfs::model::{Clock as _, SystemClock};
use pfs::store::{Fault, Operation};
use pfs::vfs::{Files, InodeNo, Invalidation, Source, WAITING};
use tokio::sync::mpsc;

use super::fake::Fake;

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
    tokio::time::timeout(Duration::from_secs(60), heard).await.expect("told in the end");
    let new = files.lookup(repo, "f").await.unwrap().attr.unwrap();
    assert_eq!(&files.read(new.ino, 0, 9).await.unwrap()[..], b"two");
    following.abort();
}
