//! Commits while others write, read and list.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::branch::SharedBranch;
use super::machine::{begin, first};
use super::memory::Body;
use super::viewed::{held, p};
use crate::vfs::VfsError;
use crate::vfs::transaction::{NodeId, Then, TransactionView};
use crate::vfs::types::{NewBody, NewEntry, RenameMode};

const WRITERS: u64 = 3;
const COMMITS: u64 = 40;

/// What one writer has begun and was acknowledged.
#[derive(Default)]
struct Progress {
    begun: AtomicU64,
    done: AtomicU64,
}

struct Work {
    view: TransactionView,
    source: SharedBranch,
    writers: Vec<Progress>,
    over: AtomicBool,
}

impl Work {
    async fn create(&self, name: &str) -> NodeId {
        let new = NewEntry { body: NewBody::File, mode: 0o644, uid: 0, gid: 0 };
        self.view.create(NodeId::ROOT, name, new).await.unwrap().0
    }

    /// Appends numbers to one file, and replaces another with each.
    async fn write(&self, writer: usize) {
        let log = self.create(&format!("log{writer}")).await;
        let progress = &self.writers[writer];
        let mut count = 0_u64;
        while !self.over.load(Ordering::Acquire) {
            progress.begun.store(count + 1, Ordering::Release);
            self.view.write(log, count * 8, &count.to_le_bytes()).await.unwrap();
            let (new, kept) = (format!("new{writer}"), format!("kept{writer}"));
            let id = self.create(&new).await;
            self.view.write(id, 0, &count.to_le_bytes()).await.unwrap();
            self.view.forget(id, 1);
            let (from, to) = ((NodeId::ROOT, &*new), (NodeId::ROOT, &*kept));
            self.view.rename(from, to, RenameMode::Replace).await.unwrap();
            count += 1;
            progress.done.store(count, Ordering::Release);
            tokio::task::yield_now().await;
        }
        self.view.forget(log, 1);
    }

    /// No error reaches who reads what is written, before and after commits.
    async fn read(&self, writer: usize) {
        while !self.over.load(Ordering::Acquire) {
            let done = self.writers[writer].done.load(Ordering::Acquire);
            if done == 0 {
                tokio::task::yield_now().await;
                continue;
            }
            let log = self.view.at(&p(&format!("log{writer}"))).await.unwrap();
            let bytes = self.view.read(log.id, 0, 1 << 30).await.unwrap();
            assert!(is_log(&bytes, done..=u64::MAX), "{} bytes after {done}", bytes.len());
            let kept = self.view.at(&p(&format!("kept{writer}"))).await.unwrap();
            let bytes = self.view.read(kept.id, 0, 8).await.unwrap();
            assert!(bytes.len() == 8, "a file that was replaced is whole");
            let page = self.view.list(NodeId::ROOT, None, 100).await.unwrap();
            for (name, id, _) in &page {
                if !name.starts_with("new") {
                    let read = self.view.read(*id, 0, 8).await;
                    let known = matches!(read, Ok(_) | Err(VfsError::IsDirectory));
                    assert!(known, "{name}: {read:?}");
                }
            }
            page.iter().for_each(|(_, id, _)| self.view.forget(*id, 1));
        }
    }

    fn done(&self) -> Vec<u64> {
        self.writers.iter().map(|writer| writer.done.load(Ordering::Acquire)).collect()
    }

    async fn commit(&self) {
        let before = self.done();
        self.view.commit(&self.source, "", Then::GoOn).await.unwrap();
        let begun = self.writers.iter().map(|writer| writer.begun.load(Ordering::Acquire));
        let begun: Vec<_> = begun.collect();
        let held = held(&self.source.tree()).await;
        for (writer, (before, begun)) in before.into_iter().zip(begun).enumerate() {
            let file = |name: &str| match held.get(&format!("{name}{writer}")).map(|s| &s.body) {
                Some(Body::File(bytes)) => bytes.clone(),
                _ => Vec::new(),
            };
            let log = file("log");
            assert!(is_log(&log, before..=begun), "{} for {before}..={begun}", log.len());
            if before > 0 {
                let kept = u64::from_le_bytes(file("kept").try_into().unwrap());
                assert!((before - 1..begun).contains(&kept), "{kept} for {before}..={begun}");
            }
        }
    }
}

fn is_log(bytes: &[u8], counts: std::ops::RangeInclusive<u64>) -> bool {
    let numbers = bytes.chunks(8).map(|eight| u64::from_le_bytes(eight.try_into().unwrap()));
    counts.contains(&(bytes.len() as u64 / 8)) && numbers.eq(0..bytes.len() as u64 / 8)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_holds_what_was_acknowledged_before_it_while_writers_go_on() {
    let (tree, scratch) = (first(false).await, tempfile::tempdir().unwrap());
    let source = SharedBranch::new(&tree);
    let view = begin(&scratch, &source);
    let writers = (0..WRITERS).map(|_| Progress::default()).collect();
    let work = Arc::new(Work { view, source, writers, over: AtomicBool::new(false) });
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..WRITERS as usize {
        let (one, other) = (Arc::clone(&work), Arc::clone(&work));
        tasks.spawn(async move { one.write(writer).await });
        tasks.spawn(async move { other.read(writer).await });
    }
    let committer = Arc::clone(&work);
    let commits = tokio::spawn(async move {
        for _ in 0..COMMITS {
            committer.commit().await;
        }
    });
    let committed = commits.await;
    work.over.store(true, Ordering::Release);
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    committed.unwrap();
    work.commit().await;
}
