//! Files the server fetches by itself: from the web and from object stores.

use std::sync::OnceLock;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt as _, TryStreamExt as _};
use url::Url;

use super::change::{FileChanges, NewFile};
use crate::model::TreePath;
use crate::repo::{RepoError, Result};
use crate::store::{Store, StoreOptions, open};

/// How much of an object one request reads.
const PIECE: u64 = 8 << 20;

/// How to fetch.
#[derive(Debug, Clone, Copy, Default)]
pub struct Fetch {
    /// Every object below the URL, each at its name below the path.
    pub recursive: bool,
    /// Behind what the files hold instead of in its place.
    pub append: bool,
}

/// The name a file fetched from `url` gets where none is given; `None` when
/// the URL has none.
#[must_use]
pub fn file_name_of_url(url: &str) -> Option<String> {
    let parsed = Url::parse(url).ok()?;
    let name = parsed.path().rsplit('/').find(|part| !part.is_empty())?;
    let name = percent_encoding::percent_decode_str(name).decode_utf8().ok()?;
    Some(name.into_owned())
}

fn failed(url: &str, why: impl std::fmt::Display) -> RepoError {
    let remedy = Some("check the URL, and that the server (not the client) can reach it");
    let what = format!("cannot fetch {url}: {why}");
    RepoError::Refused { what, remedy: remedy.map(Into::into) }
}

impl FileChanges {
    /// Writes what `url` holds to `path`: `http(s)://`, or an object of
    /// `s3://bucket/…`, `gs://…`, `az://…` with the server's credentials.
    ///
    /// Files of the server itself are never read.
    pub async fn fetch(&mut self, url: &str, path: &TreePath, how: Fetch) -> Result<()> {
        let parsed = Url::parse(url).map_err(|e| failed(url, e))?;
        match parsed.scheme() {
            "http" | "https" if how.recursive => {
                Err(failed(url, "only object stores can be fetched recursively"))
            }
            "http" | "https" => self.fetch_web(url, path, how).await,
            "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => {
                self.fetch_objects(&parsed, path, how).await
            }
            other => {
                Err(failed(url, format!("unknown scheme {other:?}; use http(s), s3, gs or az")))
            }
        }
    }

    async fn fetch_web(&mut self, url: &str, path: &TreePath, how: Fetch) -> Result<()> {
        let failed = |e: reqwest::Error| failed(url, texts(&e));
        let answer = web().map_err(failed)?.get(url).send().await.map_err(failed)?;
        let mut body = answer.error_for_status().map_err(failed)?.bytes_stream();
        self.start(path, how).await?;
        while let Some(bytes) = body.try_next().await.map_err(failed)? {
            self.write(path, bytes).await?;
        }
        Ok(())
    }

    async fn start(&mut self, path: &TreePath, how: Fetch) -> Result<()> {
        match how.append {
            true => self.write(path, Bytes::new()).await,
            false => self.create(path, NewFile::default()).await,
        }
    }

    async fn fetch_objects(&mut self, url: &Url, path: &TreePath, how: Fetch) -> Result<()> {
        let key = url.path().trim_matches('/');
        let key = percent_encoding::percent_decode_str(key)
            .decode_utf8()
            .map_err(|e| failed(url.as_str(), e))?;
        let mut bucket = url.clone();
        bucket.set_path("");
        let options = StoreOptions { read_only: true, ..StoreOptions::default() };
        let store = open(bucket.as_str(), &options)?;
        self.fetch_from(&store, &key, path, how).await
    }

    /// Writes the object `key` of a store, or every object below it.
    pub(super) async fn fetch_from(
        &mut self,
        store: &Store,
        key: &str,
        path: &TreePath,
        how: Fetch,
    ) -> Result<()> {
        if !how.recursive {
            return self.fetch_object(store, key, path, how).await;
        }
        let mut found = store.list(key);
        let mut none = true;
        let unlisted = |e| failed(&format!("{store}/{key}"), e);
        while let Some(object) = found.try_next().await.map_err(unlisted)? {
            let below = object.key.strip_prefix(key).unwrap_or(&object.key);
            // Markers of empty directories, as some tools write them.
            if below.ends_with('/') || below.is_empty() {
                continue;
            }
            none = false;
            let to = path.join_path(&below.parse()?)?;
            self.fetch_object(store, &object.key, &to, how).await?;
        }
        match none {
            true => Err(failed(&format!("{store}/{key}"), "there are no objects below it")),
            false => Ok(()),
        }
    }

    async fn fetch_object(
        &mut self,
        store: &Store,
        key: &str,
        path: &TreePath,
        how: Fetch,
    ) -> Result<()> {
        let failed = |why: &dyn std::fmt::Display| failed(&format!("{store}/{key}"), why);
        let size = store.head(key).await.map_err(|e| failed(&e))?;
        self.start(path, how).await?;
        let starts = (0..size).step_by(PIECE as usize);
        let reads = starts.map(|at| store.get_range(key, at..size.min(at + PIECE)));
        let mut pieces = futures::stream::iter(reads).buffered(2);
        let mut read = 0;
        while let Some(bytes) = pieces.try_next().await.map_err(|e| failed(&e))? {
            read += bytes.len() as u64;
            self.write(path, bytes).await?;
        }
        match read == size {
            true => Ok(()),
            false => Err(failed(&"it changed while it was read")),
        }
    }
}

/// A client for the web: redirects are followed, and only silence is limited.
fn web() -> Result<reqwest::Client, reqwest::Error> {
    static CLIENT: OnceLock<reqwest::Client> = OnceLock::new();
    if let Some(client) = CLIENT.get() {
        return Ok(client.clone());
    }
    crate::store::install_crypto();
    let client = reqwest::Client::builder()
        .connect_timeout(Duration::from_secs(10))
        .read_timeout(Duration::from_secs(60))
        .build()?;
    Ok(CLIENT.get_or_init(|| client).clone())
}

/// An error with its causes.
fn texts(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}
