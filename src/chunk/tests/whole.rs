//! Files kept whole in the cache directory.

use std::io::Read as _;
use std::path::PathBuf;

use super::*;
use crate::chunk::Whole;
use crate::chunk::disk::DiskCache;

const SIZE: usize = 3 << 20;

struct Kept {
    blobs: Blobs,
    contents: Vec<Content>,
    dir: tempfile::TempDir,
}

impl Kept {
    async fn new(files: u64, budget: u64) -> Self {
        let (store, dir) = (Store::memory(), tempfile::tempdir().unwrap());
        let writer = blobs_on(&store).writer();
        let mut contents = Vec::new();
        for file in 0..files {
            contents.push(write(&writer, &noise(file, SIZE)).await);
        }
        writer.flush().await.unwrap();
        let disk = Some((dir.path().to_owned(), budget));
        let config = BlobConfig { disk, ..BlobConfig::default() };
        let blobs = Blobs::new(store, Arc::new(SystemClock), config);
        Self { blobs, contents, dir }
    }

    fn whole(&self, file: usize) -> Whole {
        Whole { hash: self.contents[file].hash(), size: SIZE as u64 }
    }

    fn names(&self) -> Vec<String> {
        let found = std::fs::read_dir(self.dir.path()).unwrap();
        found.map(|file| file.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn path(&self, file: usize) -> PathBuf {
        let Whole { hash, size } = self.whole(file);
        self.dir.path().join(format!("{hash}-{size:016x}"))
    }
}

#[test]
fn a_whole_file_is_handed_out_once_it_was_compared() {
    run(async {
        let kept = Kept::new(1, 1 << 30).await;
        let whole = kept.whole(0);
        assert!(kept.blobs.whole(&whole).is_none());
        assert!(kept.blobs.keep_whole(&kept.contents[0]).await.unwrap());
        let mut bytes = Vec::new();
        kept.blobs.whole(&whole).unwrap().read_to_end(&mut bytes).unwrap();
        assert_eq!(bytes, noise(0, SIZE));
        let mode = std::os::unix::fs::PermissionsExt::mode;
        assert_eq!(mode(&kept.path(0).metadata().unwrap().permissions()) & 0o777, 0o400);
        // Another process finds it, and compares it first.
        let other = kept.blobs.inner.config.clone();
        let other = Blobs::new(kept.blobs.store().clone(), Arc::new(SystemClock), other);
        assert!(other.whole(&whole).is_none());
        assert!(other.keep_whole(&kept.contents[0]).await.unwrap());
        assert!(other.whole(&whole).is_some());
        std::fs::remove_file(kept.path(0)).unwrap();
        assert!(other.whole(&whole).is_none());
    });
}

#[test]
fn whole_files_keep_to_the_budget_of_the_cache() {
    run(async {
        const BUDGET: u64 = 8 << 20;
        let kept = Kept::new(4, BUDGET).await;
        for content in &kept.contents {
            assert!(kept.blobs.keep_whole(content).await.unwrap());
            // Parts of it that are kept meanwhile are counted before they make room.
            let within = async || {
                while kept.blobs.cache_stats().disk_bytes > BUDGET {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), within()).await.expect("in its budget");
        }
        assert!(kept.blobs.whole(&kept.whole(0)).is_none() && !kept.path(0).exists());
        assert!(kept.blobs.whole(&kept.whole(3)).is_some());
        let small = Kept::new(1, SIZE as u64 * 2 - 1).await;
        assert!(!small.blobs.keep_whole(&small.contents[0]).await.unwrap());
        assert!(!small.path(0).exists(), "more than half of it");
    });
}

#[test]
fn a_whole_file_that_was_not_finished_is_nothing() {
    run(async {
        let kept = Kept::new(1, 1 << 30).await;
        let disk =
            Arc::new(DiskCache::open(kept.dir.path(), 1 << 30, Arc::new(SystemClock)).unwrap());
        let mut fresh = disk.begin_whole(&kept.whole(0)).unwrap().unwrap();
        fresh.write(b"begun").unwrap();
        assert_eq!(kept.names(), [""; 0], "it has no name before it is finished");
        assert_eq!(disk.used(), SIZE as u64);
        assert!(fresh.finish().is_err());
        drop(disk.begin_whole(&kept.whole(0)).unwrap());
        assert_eq!((kept.names().len(), disk.used()), (0, 0));
        // What another process has put there meanwhile, this one has not compared.
        let mut fresh = disk.begin_whole(&kept.whole(0)).unwrap().unwrap();
        std::fs::write(kept.path(0), "of another").unwrap();
        fresh.write(&noise(0, SIZE)).unwrap();
        fresh.finish().unwrap();
        assert!(std::fs::read(kept.path(0)).unwrap() == noise(0, SIZE));
        assert_eq!(disk.used(), SIZE as u64);
    });
}
