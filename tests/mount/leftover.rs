//! Staging directories and what becomes of them, without a kernel.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use pfs::model::{Clock as _, SystemClock, Timestamp};
use pfs::vfs::transaction::directory::RETENTION;
use pfs::vfs::transaction::{Area, Left, NodeId, Resumed, resume};
use pfs::vfs::{Fate, InodeNo, NewBody, NewEntry, Source, Started, TransactionView};

use super::fake::{Fake, path};
use super::started;

async fn repo() -> Arc<Fake> {
    let fake = Fake::new();
    fake.commit("r", vec![("dir/a", fake.file("a").await), ("b", fake.file("b").await)]).await;
    fake
}

/// A transaction in a directory of its own, and the area that it is in.
fn begin(fake: &Fake, scratch: &Path) -> (Area, TransactionView) {
    let area = Area::new(scratch.join("mounts"), scratch.join("mounts"));
    let started = started(fake, "r");
    let dir = area.place(started.id).unwrap();
    let view = TransactionView::start(&dir, started, fake.tree("r"), Arc::new(SystemClock));
    (area, view.unwrap())
}

async fn write(view: &TransactionView, name: &str) {
    let new = NewEntry { body: NewBody::File, mode: 0o644, uid: 0, gid: 0 };
    let (id, _) = view.create(NodeId::ROOT, name, new).await.unwrap();
    view.write(id, 0, name.as_bytes()).await.unwrap();
}

fn later(by: Duration) -> Timestamp {
    let nanos = SystemClock.now().as_nanos() + i64::try_from(by.as_nanos()).unwrap();
    Timestamp::from_nanos(nanos)
}

fn left(area: &Area, fake: &Fake) -> Vec<Left> {
    area.left_behind(fake.identity(), &started(fake, "r").branch).unwrap()
}

#[tokio::test]
async fn what_is_over_is_kept_for_a_while_and_then_removed() {
    let (fake, scratch) = (repo().await, tempfile::tempdir().unwrap());
    let (area, view) = begin(&fake, scratch.path());
    write(&view, "new").await;
    assert!(left(&area, &fake).is_empty(), "it is mounted");
    area.sweep(&*fake, later(2 * RETENTION)).await.unwrap();
    drop(view);
    assert_eq!(left(&area, &fake).len(), 1);
    area.sweep(&*fake, later(2 * RETENTION)).await.unwrap();
    assert_eq!(left(&area, &fake).len(), 1, "nobody has decided about it");
    *fake.fate.lock().unwrap() = Fate::Over("given up".to_owned());
    area.sweep(&*fake, later(Duration::ZERO)).await.unwrap();
    assert!(left(&area, &fake).is_empty(), "it is over");
    area.sweep(&*fake, later(RETENTION / 2)).await.unwrap();
    assert_eq!(area.all().unwrap().len(), 1, "and kept");
    area.sweep(&*fake, later(RETENTION * 3 / 2)).await.unwrap();
    assert!(area.all().unwrap().is_empty(), "but not for ever");
}

#[tokio::test]
async fn directories_without_changes_are_removed_at_once() {
    let (fake, scratch) = (repo().await, tempfile::tempdir().unwrap());
    let (area, view) = begin(&fake, scratch.path());
    drop(view);
    area.sweep(&*fake, SystemClock.now()).await.unwrap();
    assert!(area.all().unwrap().is_empty());
}

#[tokio::test]
async fn what_another_server_has_is_never_touched() {
    let (fake, scratch) = (repo().await, tempfile::tempdir().unwrap());
    let area = Area::new(scratch.path().join("mounts"), scratch.path().join("mounts"));
    let foreign = Started { server: "another".to_owned(), ..started(&fake, "r") };
    let dir = area.place(foreign.id).unwrap();
    let clock = Arc::new(SystemClock);
    drop(TransactionView::start(&dir, foreign, fake.tree("r"), clock).unwrap());
    area.sweep(&*fake, later(2 * RETENTION)).await.unwrap();
    assert_eq!(area.all().unwrap().len(), 1);
    assert!(left(&area, &fake).is_empty());
}

#[tokio::test]
async fn staging_directories_of_a_cache_are_found_from_the_state_directory() {
    let (fake, scratch) = (repo().await, tempfile::tempdir().unwrap());
    let (cache, known) = (scratch.path().join("cache"), scratch.path().join("state"));
    let area = Area::new(cache, known.clone());
    let started = started(&fake, "r");
    let dir = area.place(started.id).unwrap();
    let id = started.id;
    let clock = Arc::new(SystemClock);
    let view = TransactionView::start(&dir, started, fake.tree("r"), clock).unwrap();
    write(&view, "new").await;
    let found = Area::new(known.clone(), known).find(id).unwrap().unwrap();
    assert_eq!(found.dir, dir);
    assert!(found.is_held() && found.is_open());
}

#[tokio::test]
async fn an_abort_leaves_open_files_and_starts_afresh() {
    let (fake, scratch) = (repo().await, tempfile::tempdir().unwrap());
    let (area, view) = begin(&fake, scratch.path());
    write(&view, "new").await;
    let (open, _) = view.lookup(NodeId::ROOT, "new").await.unwrap().unwrap();
    let (dir, _) = view.lookup(NodeId::ROOT, "dir").await.unwrap().unwrap();
    view.unlink(dir, "a").await.unwrap();
    let aborted = view.started().id;
    let others = fake.commit("r", vec![("c", fake.file("c").await)]).await;
    view.abort(&*fake, "not wanted").await.unwrap();
    assert!(view.lookup(NodeId::ROOT, "new").await.unwrap().is_none());
    assert!(view.lookup(dir, "a").await.unwrap().is_some(), "the same directory as before");
    assert!(view.lookup(NodeId::ROOT, "c").await.unwrap().is_some(), "what others did");
    assert_eq!(view.base_commit(), Some(others));
    assert_eq!(view.read(open, 0, 10).await.unwrap(), "new");
    view.forget(open, 2);
    assert!(!view.is_changed().unwrap());
    let kept = area.find(aborted).unwrap().unwrap();
    assert_eq!(kept.started.ended.as_deref(), Some("not wanted"));
    write(&view, "again").await;
    assert!(left(&area, &fake).is_empty());
    assert!(view.dir() != kept.dir && view.attr(NodeId::ROOT).unwrap().ino == InodeNo::ROOT);

    let asked = resume(&*fake, &kept, "/elsewhere", true, Arc::new(SystemClock)).await.unwrap();
    let Resumed::Open(again) = asked else { panic!("{asked:?}") };
    assert!(again.lookup(NodeId::ROOT, "new").await.unwrap().is_some());
    assert_eq!(again.started().mounted, "/elsewhere");
    assert!(again.started().ended.is_none() && again.started().id != aborted);
}

#[tokio::test]
async fn a_conflict_is_gone_on_with_only_when_asked() {
    let (fake, scratch) = (repo().await, tempfile::tempdir().unwrap());
    let (area, view) = begin(&fake, scratch.path());
    write(&view, "new").await;
    fake.commit("r", vec![("new", fake.file("theirs").await)]).await;
    drop(view);
    *fake.fate.lock().unwrap() = Fate::Conflict("/new".to_owned());
    let found = left(&area, &fake).remove(0);
    let go_on = |asked| resume(&*fake, &found, "/mnt", asked, Arc::new(SystemClock));
    let unasked = go_on(false).await.unwrap();
    assert!(matches!(&unasked, Resumed::Left(why) if why == "/new"), "{unasked:?}");
    let asked = go_on(true).await.unwrap();
    let Resumed::Replacing(view, _) = asked else { panic!("{asked:?}") };
    assert_eq!(view.started().replaces, fake.head("r").map(|head| head.commit));
    view.commit(&*fake, "", pfs::vfs::Then::End).await.unwrap();
    assert!(fake.tree("r").get(&path("new")).await.unwrap().is_some());
}

#[test]
fn the_record_of_a_transaction_stays() {
    let text = r#"{
      "version": 1,
      "id": "07070707070707070707070707070707",
      "branch": {"repo": {"project": "default", "name": "r", "kind": "user"}, "name": "master"},
      "base": null,
      "root": "",
      "at": 0
    }"#;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("transaction.json"), text).unwrap();
    let read = Left::at(dir.path().to_owned()).unwrap();
    assert_eq!((read.started.server.as_str(), read.started.mounted.as_str()), ("", ""));
    assert!(read.started.ended.is_none() && read.started.replaces.is_none());
}
