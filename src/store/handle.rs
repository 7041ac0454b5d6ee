//! The handle everybody above uses: retries, counters.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;

use super::{Backend, ByteRange, ObjectInfo, PutKind, RetryPolicy, StoreError, Upload};

/// Objects by key. A cheap clone; clones share counters.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

struct Shared {
    backend: Arc<dyn Backend>,
    retry: RetryPolicy,
    name: String,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    get: AtomicU64,
    put: AtomicU64,
    list: AtomicU64,
    delete: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
}

/// Requests made and bytes moved since the store was opened, attempts that
/// failed included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Reads, and questions for a size.
    pub get: u64,
    /// Writes.
    pub put: u64,
    /// Listings.
    pub list: u64,
    /// Removals.
    pub delete: u64,
    /// Bytes read from the store.
    pub bytes_in: u64,
    /// Bytes written to the store.
    pub bytes_out: u64,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Store {
    /// A store over `backend`.
    #[must_use]
    pub fn new(backend: Arc<dyn Backend>, retry: RetryPolicy) -> Self {
        let name = backend.to_string();
        let counters = Counters::default();
        Self { shared: Arc::new(Shared { backend, retry, name, counters }) }
    }

    /// A fresh, empty store in memory.
    #[must_use]
    pub fn memory() -> Self {
        let inner = Arc::new(object_store::memory::InMemory::new());
        let backend = super::ObjectBackend::new(inner, "".into(), "memory://".to_owned());
        Self::new(Arc::new(backend), RetryPolicy::default())
    }

    /// What is asked of the backend, without what is on top of it.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.shared.backend)
    }

    /// Requests and bytes so far.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let c = &self.shared.counters;
        StoreStats {
            get: read(&c.get),
            put: read(&c.put),
            list: read(&c.list),
            delete: read(&c.delete),
            bytes_in: read(&c.bytes_in),
            bytes_out: read(&c.bytes_out),
        }
    }

    /// Writes an object, replacing one that is there. Atomic; durable on return.
    pub async fn put(&self, key: &str, body: impl Into<Bytes>) -> Result<(), StoreError> {
        self.put_parts(key, &[body.into()]).await
    }

    /// Like [`Store::put`], from parts that need not be copied together.
    pub async fn put_parts(&self, key: &str, parts: &[Bytes]) -> Result<(), StoreError> {
        self.put_as(key, parts, PutKind::Overwrite).await
    }

    /// Writes an object unless there is one under the key.
    ///
    /// Finding exactly these bytes there after an attempt whose fate was
    /// unknown is success: that attempt had been applied.
    pub async fn put_new(&self, key: &str, body: impl Into<Bytes>) -> Result<(), StoreError> {
        self.put_as(key, &[body.into()], PutKind::Create).await
    }

    /// Starts to write an object of any size. Unlike the others it is tried
    /// once: only the caller has its bytes.
    pub async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        add(&self.shared.counters.put, 1);
        self.shared.backend.upload(key).await
    }

    async fn put_as(&self, key: &str, parts: &[Bytes], kind: PutKind) -> Result<(), StoreError> {
        let s = &*self.shared;
        let size = parts.iter().map(|part| part.len() as u64).sum();
        let attempt = async |number: u32| {
            add(&s.counters.put, 1);
            add(&s.counters.bytes_out, size);
            match s.backend.put(key, parts, kind).await {
                Err(StoreError::AlreadyExists { .. })
                    if number > 0 && self.holds(key, parts).await? =>
                {
                    Ok(())
                }
                outcome => outcome,
            }
        };
        s.retry.run((&s.name, key), size, attempt).await
    }

    /// Whether the object under `key` is exactly `parts`.
    async fn holds(&self, key: &str, parts: &[Bytes]) -> Result<bool, StoreError> {
        add(&self.shared.counters.get, 1);
        let there = self.shared.backend.get(key, ByteRange::All).await?;
        Ok(there == parts.concat())
    }

    /// Reads a whole object.
    pub async fn get(&self, key: &str) -> Result<Bytes, StoreError> {
        self.read(key, ByteRange::All).await
    }

    /// Reads bytes `range` of an object, fewer where it ends earlier.
    pub async fn get_range(&self, key: &str, range: Range<u64>) -> Result<Bytes, StoreError> {
        self.read(key, ByteRange::Span(range)).await
    }

    /// Reads the last `count` bytes of an object, fewer when it is smaller.
    pub async fn get_last(&self, key: &str, count: u64) -> Result<Bytes, StoreError> {
        self.read(key, ByteRange::Last(count)).await
    }

    async fn read(&self, key: &str, range: ByteRange) -> Result<Bytes, StoreError> {
        let s = &*self.shared;
        let expected = match &range {
            // Unknown in advance; what is read whole is small.
            ByteRange::All => 8 << 20,
            ByteRange::Span(span) => span.end.saturating_sub(span.start),
            ByteRange::Last(count) => *count,
        };
        let attempt = async |_| {
            add(&s.counters.get, 1);
            let bytes = s.backend.get(key, range.clone()).await?;
            add(&s.counters.bytes_in, bytes.len() as u64);
            Ok(bytes)
        };
        s.retry.run((&s.name, key), expected, attempt).await
    }

    /// The file that holds an object, in a store that is a local directory;
    /// reading it is no request.
    #[must_use]
    pub fn local_path(&self, key: &str) -> Option<PathBuf> {
        self.shared.backend.local_path(key)
    }

    /// The size of an object in bytes.
    pub async fn head(&self, key: &str) -> Result<u64, StoreError> {
        let s = &*self.shared;
        let attempt = async |_| {
            add(&s.counters.get, 1);
            s.backend.head(key).await
        };
        s.retry.run((&s.name, key), 0, attempt).await
    }

    /// Every object below `prefix`, in no particular order.
    ///
    /// Objects put or removed meanwhile may or may not be among them. A failure
    /// ends the stream; listing is not taken up again in the middle.
    #[must_use]
    pub fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo, StoreError>> {
        add(&self.shared.counters.list, 1);
        self.shared.backend.list(prefix)
    }

    /// [`Store::list`], collected and sorted by key.
    pub async fn list_sorted(&self, prefix: &str) -> Result<Vec<ObjectInfo>, StoreError> {
        let s = &*self.shared;
        let attempt = async |_| self.list(prefix).try_collect::<Vec<_>>().await;
        let mut found = s.retry.run((&s.name, prefix), 0, attempt).await?;
        found.sort_by(|a, b| a.key.cmp(&b.key));
        Ok(found)
    }

    /// Removes an object; one that is not there counts as removed.
    pub async fn delete(&self, key: &str) -> Result<(), StoreError> {
        let s = &*self.shared;
        let attempt = async |_| {
            add(&s.counters.delete, 1);
            s.backend.delete(key).await
        };
        s.retry.run((&s.name, key), 0, attempt).await
    }

    /// Writes the marker that says whose store this is and in which format, or
    /// checks the one that is there.
    pub async fn check_format(&self) -> Result<(), StoreError> {
        match self.get(FORMAT_KEY).await {
            Ok(found) if found == FORMAT => Ok(()),
            Ok(found) => Err(self.foreign(&found)),
            Err(StoreError::NotFound { .. }) => match self.put_new(FORMAT_KEY, FORMAT).await {
                // Somebody else was first; theirs must be the same.
                Err(StoreError::AlreadyExists { .. }) => {
                    let found = self.get(FORMAT_KEY).await?;
                    if found == FORMAT { Ok(()) } else { Err(self.foreign(&found)) }
                }
                outcome => outcome,
            },
            Err(error) => Err(error),
        }
    }

    fn foreign(&self, found: &[u8]) -> StoreError {
        let reason = match found.strip_prefix(FORMAT_MAGIC) {
            Some([version, ..]) => format!(
                "it has format version {version}, and this program knows up to {FORMAT_VERSION}; \
                 use a newer pfs"
            ),
            _ => format!("its object {FORMAT_KEY:?} is not ours; use an empty prefix"),
        };
        StoreError::Format { store: self.shared.name.clone(), reason }
    }
}

/// The object that says whose store this is.
const FORMAT_KEY: &str = "format";
const FORMAT_MAGIC: &[u8] = b"pfs store\n";
const FORMAT_VERSION: u8 = 1;
const FORMAT: &[u8] = b"pfs store\n\x01";

impl fmt::Display for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shared.name)
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Store({})", self.shared.name)
    }
}
