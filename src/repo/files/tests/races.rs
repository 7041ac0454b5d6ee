//! Changes made upon one commit and published upon another.

use super::*;
use crate::repo::FinishCommit;

impl Fixture {
    /// Publishes `ours` after others put `files`.
    async fn overtaken(&self, ours: FileChanges, files: &[(&str, &str)]) {
        self.put(files).await;
        ours.finish().await.unwrap();
    }
}

#[tokio::test]
async fn a_delete_keeps_what_others_put_meanwhile() {
    let f = fixture().await;
    f.put(&[("d/x", "1"), ("d/e/z", "1"), ("keep", "1")]).await;
    let mut ours = f.changes().await;
    ours.delete(&path("d/x")).await.unwrap();
    ours.delete(&path("d/e")).await.unwrap();
    f.overtaken(ours, &[("d/y", "2"), ("d/e/new", "3")]).await;
    assert_eq!(f.paths().await, ["/", "/d", "/d/e", "/d/e/new", "/d/y", "/keep"]);
    assert_eq!(f.cat("d/y").await, "2");

    let mut ours = f.changes().await;
    ours.delete(&path("d")).await.unwrap();
    f.overtaken(ours, &[("other", "4")]).await;
    assert_eq!(f.paths().await, ["/", "/keep", "/other"], "nobody put anything there");
}

#[tokio::test]
async fn a_put_of_what_was_there_counts_when_others_changed_it() {
    let f = fixture().await;
    f.put(&[("a", "v1"), ("b", "v1"), ("c", "v1"), ("d/x", "v1"), ("d/y", "v1")]).await;
    let mut ours = f.changes().await;
    for (at, text) in [("a", "v1"), ("b", "mine")] {
        ours.create(&path(at), NewFile::default()).await.unwrap();
        ours.write(&path(at), text.into()).await.unwrap();
    }
    let head = f.head().await;
    ours.copy(&head, &path("d"), &path("d"), false).await.unwrap();
    f.overtaken(ours, &[("a", "v2"), ("b", "v2"), ("c", "v2"), ("d/x", "v2")]).await;
    let mut found = Vec::new();
    for at in ["a", "b", "c", "d/x", "d/y"] {
        found.push(f.cat(at).await);
    }
    assert_eq!(found, ["v1", "mine", "v2", "v1", "v1"]);
}

#[tokio::test]
async fn a_file_that_others_deleted_is_put_all_the_same() {
    let f = fixture().await;
    f.put(&[("d/a", "1"), ("b", "1")]).await;
    let mut ours = f.changes().await;
    ours.create(&path("d/a"), NewFile::default()).await.unwrap();
    ours.write(&path("d/a"), "1".into()).await.unwrap();
    let mut theirs = f.changes().await;
    theirs.delete(&path("d")).await.unwrap();
    theirs.finish().await.unwrap();
    ours.finish().await.unwrap();
    assert_eq!(f.paths().await, ["/", "/b", "/d", "/d/a"]);
}

#[tokio::test]
async fn a_file_in_place_of_a_directory_is_alone_there() {
    let f = fixture().await;
    f.put(&[("d/x", "1"), ("e", "1")]).await;
    let mut ours = f.changes().await;
    ours.delete(&path("d")).await.unwrap();
    ours.create(&path("d"), NewFile::default()).await.unwrap();
    ours.write(&path("d"), "file".into()).await.unwrap();
    f.overtaken(ours, &[("d/y", "2")]).await;
    assert_eq!(f.paths().await, ["/", "/d", "/e"]);
    assert_eq!(f.cat("d").await, "file");
}

#[tokio::test]
async fn what_is_put_upon_a_failed_commit_goes_on_from_the_last_good_one() {
    let f = fixture().await;
    f.put(&[("a", "1")]).await;
    let spec = StartCommit {
        repo: f.repo.clone(),
        branch: Some("master".parse().unwrap()),
        parent: None,
        description: String::new(),
        author: String::new(),
        id: None,
    };
    let failed = f.repos.start_commit(&spec).await.unwrap().commit;
    let root = Some(crate::catalog::StoredRoot::default());
    let end = FinishCommit { root, description: None, error: Some("it broke".into()) };
    f.repos.finish_commit(&failed, &end).await.unwrap();
    let row = f.put(&[("b", "2")]).await;
    assert_eq!(row.parent, Some(failed.id));
    assert_eq!(f.paths().await, ["/", "/a", "/b"]);
    f.repos.finish_commit(&f.repos.start_commit(&spec).await.unwrap().commit, &end).await.unwrap();
    let open = f.repos.start_commit(&spec).await.unwrap();
    assert_eq!(open.root, row.root);
}

#[tokio::test]
async fn putting_again_brings_back_what_the_store_lost() {
    let f = fixture().await;
    let bytes = noise(7, 3 << 20);
    let put = async |at: &str, with: NewFile| {
        let mut changes = f.changes().await;
        changes.create(&path(at), with).await.unwrap();
        changes.write(&path(at), bytes.clone()).await.unwrap();
        changes.finish().await.unwrap()
    };
    let mtime = Some(Timestamp::from_nanos(1));
    put("a", NewFile { mode: None, mtime }).await;
    let store = f.repos.store();
    let packs = store.list_sorted("packs").await.unwrap();
    for pack in &packs {
        store.delete(&pack.key).await.unwrap();
    }
    // Somebody reads it, and so it is known to be gone.
    assert!(f.read(&f.head().await, "a").await.is_err());
    put("a", NewFile { mode: None, mtime }).await;
    put("other", NewFile::default()).await;
    let fresh = Blobs::new(store.clone(), f.repos.clock().clone(), BlobConfig::default());
    let repos = Repos::new(f.repos.catalog().clone(), fresh, f.repos.clock().clone());
    let head = f.head().await;
    for at in ["a", "other"] {
        let (_, pieces) = repos.get_file(&head, &path(at), 0..u64::MAX).await.unwrap();
        assert_eq!(pieces.try_collect::<Vec<_>>().await.unwrap().concat(), bytes);
    }
}

#[tokio::test]
async fn a_check_of_the_data_reads_every_copy_and_no_cache() {
    use crate::chunk::FileWriter;
    use crate::repo::{Fsck, Problem};
    let f = fixture().await;
    let bytes = noise(8, 3 << 20);
    let mut contents = Vec::new();
    for at in ["a", "b"] {
        // As two clients put it, each to packs of its own.
        let writer = f.repos.blobs().afresh().writer();
        let mut file = FileWriter::new(&writer, &[]);
        file.write(bytes.clone()).await.unwrap();
        let content = file.finish().await.unwrap();
        writer.flush().await.unwrap();
        let entry =
            Entry { kind: EntryKind::File(content.clone()), ..Entry::dir(Timestamp::default()) };
        let mut changes = f.changes().await;
        changes.put_entry(&path(at), entry).await.unwrap();
        changes.finish().await.unwrap();
        contents.push(content);
    }
    let problems = async || {
        let mut problems = Vec::new();
        let how = Fsck { deep: true, ..Fsck::default() };
        f.repos.fsck(how, |problem: &Problem| problems.push(problem.to_string())).await.unwrap();
        problems
    };
    assert_eq!(problems().await, Vec::<String>::new());
    assert!(f.read(&f.head().await, "b").await.is_ok(), "it is in the caches now");
    let lost = contents[1].chunks()[0].pack;
    let key = format!("packs/{}/{lost}", &lost.to_hex()[..2]);
    f.repos.store().delete(&key).await.unwrap();
    let found = problems().await;
    assert_eq!(found.len(), contents[1].chunks().len(), "{found:?}");
    assert!(found.iter().all(|what| what.contains("file /b")), "{found:?}");
}
