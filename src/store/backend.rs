//! The seam: what a place that keeps objects must be able to do.

use std::error::Error as _;
use std::fmt::{Debug, Display};
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt as _, PutMode, PutOptions, PutPayload,
    WriteMultipart,
};

use super::StoreError;

/// Which part of an object to read. Ends beyond the object are cut to its size.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ByteRange {
    /// The whole object.
    All,
    /// Bytes `start..end`.
    Span(Range<u64>),
    /// The last so many bytes.
    Last(u64),
}

/// What a put does when the object is already there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutKind {
    /// Replaces it.
    Overwrite,
    /// Fails with [`StoreError::AlreadyExists`].
    Create,
}

/// An object found by listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectInfo {
    /// Its key.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// When it was last written, as the store tells it; nanoseconds since the
    /// Unix epoch.
    pub modified: i64,
}

/// A place that keeps objects: one attempt per call, no retries.
///
/// A put is atomic (readers see the whole object or none) and durable when it
/// returns. Keys are `/`-separated words of `[A-Za-z0-9._-]`.
#[async_trait]
pub trait Backend: Debug + Display + Send + Sync + 'static {
    /// Writes an object from its parts in order.
    async fn put(&self, key: &str, parts: &[Bytes], kind: PutKind) -> Result<(), StoreError>;

    /// Starts to write an object of any size, piece by piece.
    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let reason = "it takes whole objects only".to_owned();
        Err(StoreError::Denied { store: self.to_string(), key: key.to_owned(), reason })
    }

    /// Reads an object or a part of it.
    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes, StoreError>;

    /// The file that holds an object, in a store that is a local directory.
    fn local_path(&self, _key: &str) -> Option<PathBuf> {
        None
    }

    /// The size of an object.
    async fn head(&self, key: &str) -> Result<u64, StoreError>;

    /// Every object whose key lies below `prefix`, in no particular order.
    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo, StoreError>>;

    /// Removes an object; one that is not there counts as removed.
    async fn delete(&self, key: &str) -> Result<(), StoreError>;
}

/// An object on its way: nothing of it is there before the end. Holds a few
/// parts in memory.
#[async_trait]
pub trait Upload: Send {
    /// Adds the next piece; waits while many are on their way.
    async fn add(&mut self, piece: Bytes) -> Result<(), StoreError>;

    /// Makes it the object, in the place of one that is there.
    async fn finish(self: Box<Self>) -> Result<(), StoreError>;

    /// Gives it up.
    async fn abort(self: Box<Self>) -> Result<(), StoreError>;
}

/// Bytes of an uploaded part: stores take at most 10,000 of them.
const PART: usize = 16 << 20;

/// Parts that are on their way at the same time.
const PARTS_UNDERWAY: usize = 2;

struct Multipart {
    write: WriteMultipart,
    store: String,
    key: String,
}

#[async_trait]
impl Upload for Multipart {
    async fn add(&mut self, piece: Bytes) -> Result<(), StoreError> {
        let room = self.write.wait_for_capacity(PARTS_UNDERWAY).await;
        room.map_err(|error| classify(&self.store, &self.key, &error))?;
        self.write.put(piece);
        Ok(())
    }

    async fn finish(self: Box<Self>) -> Result<(), StoreError> {
        let Self { write, store, key } = *self;
        let finished = write.finish().await;
        finished.map(|_| ()).map_err(|error| classify(&store, &key, &error))
    }

    async fn abort(self: Box<Self>) -> Result<(), StoreError> {
        let Self { write, store, key } = *self;
        write.abort().await.map_err(|error| classify(&store, &key, &error))
    }
}

/// A [`Backend`] over any implementation of `object_store`.
#[derive(Debug)]
pub struct ObjectBackend {
    inner: Arc<dyn ObjectStore>,
    prefix: Path,
    name: String,
    /// Where the objects are files.
    directory: Option<PathBuf>,
}

impl ObjectBackend {
    /// Keeps objects in `inner` below `prefix`; `name` is for messages.
    #[must_use]
    pub fn new(inner: Arc<dyn ObjectStore>, prefix: Path, name: String) -> Self {
        Self { inner, prefix, name, directory: None }
    }

    /// The same, with every object a file below `directory` under its key.
    #[must_use]
    pub fn in_directory(self, directory: Option<PathBuf>) -> Self {
        Self { directory, ..self }
    }

    fn path(&self, key: &str) -> Path {
        let parts = key.split('/').filter(|part| !part.is_empty());
        parts.fold(self.prefix.clone(), Path::join)
    }

    fn error(&self, key: &str, error: &object_store::Error) -> StoreError {
        classify(&self.name, key, error)
    }
}

impl Display for ObjectBackend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

/// The first operating-system error among the causes.
fn io_cause(error: &object_store::Error) -> Option<&io::Error> {
    let mut cause = error.source();
    while let Some(source) = cause {
        if let Some(found) = source.downcast_ref::<io::Error>() {
            return Some(found);
        }
        cause = source.source();
    }
    None
}

/// The texts of an error and its causes, without repeating what one includes
/// of the next.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        let next = source.to_string();
        if !text.contains(&next) {
            text = format!("{text}: {next}");
        }
        cause = source.source();
    }
    text
}

fn classify(store: &str, key: &str, error: &object_store::Error) -> StoreError {
    use object_store::Error as E;
    let (store, key) = (store.to_owned(), key.to_owned());
    match io_cause(error).map(io::Error::kind) {
        Some(io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => {
            return StoreError::NoSpace { store, key };
        }
        Some(io::ErrorKind::ReadOnlyFilesystem) => {
            let reason = "its file system is mounted read-only".to_owned();
            return StoreError::Denied { store, key, reason };
        }
        Some(io::ErrorKind::PermissionDenied) => {
            return StoreError::Denied { store, key, reason: chain(error) };
        }
        _ => {}
    }
    match error {
        E::NotFound { .. } => StoreError::NotFound { store, key },
        E::AlreadyExists { .. } | E::Precondition { .. } => {
            StoreError::AlreadyExists { store, key }
        }
        E::PermissionDenied { .. } | E::Unauthenticated { .. } => {
            StoreError::Denied { store, key, reason: chain(error) }
        }
        // The enum is open, so what it may grow counts as an outage.
        _ => StoreError::Unavailable { store, key, reason: chain(error) },
    }
}

#[async_trait]
impl Backend for ObjectBackend {
    async fn put(&self, key: &str, parts: &[Bytes], kind: PutKind) -> Result<(), StoreError> {
        let payload: PutPayload = parts.iter().cloned().collect();
        let mode = match kind {
            PutKind::Overwrite => PutMode::Overwrite,
            PutKind::Create => PutMode::Create,
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        let put = self.inner.put_opts(&self.path(key), payload, options).await;
        put.map(|_| ()).map_err(|e| self.error(key, &e))
    }

    async fn upload(&self, key: &str) -> Result<Box<dyn Upload>, StoreError> {
        let begun = self.inner.put_multipart(&self.path(key)).await;
        let upload = begun.map_err(|e| self.error(key, &e))?;
        let write = WriteMultipart::new_with_chunk_size(upload, PART);
        Ok(Box::new(Multipart { write, store: self.name.clone(), key: key.to_owned() }))
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes, StoreError> {
        let range = match range {
            ByteRange::All => None,
            ByteRange::Span(span) => Some(GetRange::Bounded(span)),
            ByteRange::Last(count) => Some(GetRange::Suffix(count)),
        };
        let options = GetOptions { range, ..GetOptions::default() };
        let read = async { self.inner.get_opts(&self.path(key), options).await?.bytes().await };
        read.await.map_err(|e| self.error(key, &e))
    }

    fn local_path(&self, key: &str) -> Option<PathBuf> {
        Some(self.directory.as_ref()?.join(key))
    }

    async fn head(&self, key: &str) -> Result<u64, StoreError> {
        let meta = self.inner.head(&self.path(key)).await;
        meta.map(|meta| meta.size).map_err(|e| self.error(key, &e))
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo, StoreError>> {
        let (base, name, what) = (self.prefix.clone(), self.name.clone(), prefix.to_owned());
        let found = self.inner.list(Some(&self.path(prefix)));
        let named = found.map(move |meta| {
            let meta = meta.map_err(|e| classify(&name, &what, &e))?;
            let key = match meta.location.prefix_match(&base) {
                Some(parts) => parts.map(|p| p.as_ref().to_owned()).collect::<Vec<_>>().join("/"),
                None => meta.location.to_string(),
            };
            let modified = meta.last_modified.timestamp_nanos_opt().unwrap_or(0);
            Ok(ObjectInfo { key, size: meta.size, modified })
        });
        named.boxed()
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        match self.inner.delete(&self.path(key)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(self.error(key, &error)),
        }
    }
}
