//! From a URL to a store.

use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::AmazonS3Builder;
use object_store::azure::MicrosoftAzureBuilder;
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ClientOptions, ObjectStore, RetryConfig};
use url::Url;

use super::{ObjectBackend, RetryPolicy, Store, StoreError};
use crate::model::Timestamp;

/// How to open a store, beyond its URL.
#[derive(Debug, Clone, Default)]
pub struct StoreOptions {
    /// How failures are retried.
    pub retry: RetryPolicy,
    /// Whether to only look: nothing is created for a missing directory.
    pub read_only: bool,
}

/// Makes TLS work; call it once, first thing in `main`. Further calls do
/// nothing.
pub fn install_crypto() {
    // Fails when one is installed already, which is just as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

/// Opens the store at `url`: `file://`, `memory://`, `s3://bucket/prefix`,
/// `gs://…` or `az://…`.
///
/// Credentials, regions and endpoints come from the environment variables
/// usual for each cloud. No request is made yet, except that a directory is
/// created. Every opened `memory://` is a store of its own.
pub fn open(url: &str, options: &StoreOptions) -> Result<Store, StoreError> {
    let vars = std::env::vars_os();
    let vars = vars.filter_map(|(k, v)| Some((k.into_string().ok()?, v.into_string().ok()?)));
    open_with(url, options, &vars.collect::<Vec<_>>())
}

/// [`open`] with these environment variables.
pub(super) fn open_with(
    url: &str,
    options: &StoreOptions,
    vars: &[(String, String)],
) -> Result<Store, StoreError> {
    let invalid = |reason: String| StoreError::InvalidUrl { url: url.to_owned(), reason };
    let parsed = Url::parse(url)
        .map_err(|e| invalid(format!("{e}; expected file://, memory://, s3://, gs:// or az://")))?;
    let (inner, prefix) = match parsed.scheme() {
        "file" => (directory(&parsed, options).map_err(invalid)?, Path::default()),
        "memory" => (Arc::new(InMemory::new()) as Arc<dyn ObjectStore>, prefix_of(&parsed)),
        "s3" | "s3a" | "gs" | "az" | "azure" | "abfs" | "abfss" => {
            (cloud(&parsed, vars).map_err(|e| invalid(e.to_string()))?, prefix_of(&parsed))
        }
        other => {
            return Err(invalid(format!(
                "unknown scheme {other:?}; expected file, memory, s3, gs or az"
            )));
        }
    };
    let backend = ObjectBackend::new(inner, prefix, url.trim_end_matches('/').to_owned());
    let backend = backend.in_directory(directory_of(url));
    Ok(Store::new(Arc::new(backend), options.retry))
}

fn prefix_of(url: &Url) -> Path {
    Path::from_url_path(url.path()).unwrap_or_default()
}

fn directory(url: &Url, options: &StoreOptions) -> Result<Arc<dyn ObjectStore>, String> {
    let dir: PathBuf = url
        .to_file_path()
        .map_err(|()| "expected an absolute path, as in file:///var/lib/pfs/objects".to_owned())?;
    if !options.read_only {
        std::fs::create_dir_all(&dir).map_err(|e| format!("cannot create the directory: {e}"))?;
    }
    let store = LocalFileSystem::new_with_prefix(&dir).map_err(|e| e.to_string())?;
    Ok(Arc::new(store.with_fsync(true)))
}

/// The directory behind a `file://` URL.
#[must_use]
pub fn directory_of(url: &str) -> Option<PathBuf> {
    let url = Url::parse(url).ok().filter(|url| url.scheme() == "file")?;
    url.to_file_path().ok()
}

/// How old an unfinished upload must be before it counts as left behind.
const STALE: i64 = 24 * 60 * 60 * 1_000_000_000;

/// Removes what processes that died while writing left of packs in a
/// directory; returns how many files that were. Nothing to do for other
/// stores, which have no such remains. Looks at every pack, and blocks on the
/// disk.
///
/// Files of the last day stay: somebody may still be writing them. What is not
/// ours, or goes meanwhile, is passed over.
pub fn remove_stale_uploads(url: &str, now: Timestamp) -> std::io::Result<usize> {
    let Some(dir) = directory_of(url) else { return Ok(0) };
    let mut removed = 0;
    for fan in std::fs::read_dir(dir.join("packs")).into_iter().flatten() {
        for file in there(std::fs::read_dir(fan?.path()))?.into_iter().flatten() {
            // Unfinished files are called `<name>#<number>`.
            let file = file?;
            let unfinished = file.file_name().as_encoded_bytes().contains(&b'#');
            if unfinished && let Some(found) = there(file.metadata())? {
                let written = found.modified()?.duration_since(std::time::UNIX_EPOCH);
                let written = written.map_or(0, |time| time.as_nanos()) as i64;
                if now.as_nanos().saturating_sub(written) > STALE {
                    removed += usize::from(there(std::fs::remove_file(file.path()))?.is_some());
                }
            }
        }
    }
    Ok(removed)
}

/// Nothing for what is gone, or is no directory.
fn there<T>(found: std::io::Result<T>) -> std::io::Result<Option<T>> {
    use std::io::ErrorKind::{NotADirectory, NotFound};
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.kind(), NotFound | NotADirectory) => Ok(None),
        Err(error) => Err(error),
    }
}

/// One request per call and no time limit of its own: [`RetryPolicy`] has both.
fn single_attempt() -> (RetryConfig, ClientOptions) {
    let retry = RetryConfig { max_retries: 0, ..RetryConfig::default() };
    let client = ClientOptions::new()
        .with_timeout_disabled()
        .with_connect_timeout(Duration::from_secs(5))
        .with_allow_http(true);
    (retry, client)
}

/// The settings of one cloud among environment variables.
fn settings<K: FromStr>(vars: &[(String, String)], prefixes: &[&str]) -> Vec<(K, String)> {
    let ours = vars.iter().filter(|(name, _)| prefixes.iter().any(|p| name.starts_with(p)));
    ours.filter_map(|(name, value)| Some((name.to_lowercase().parse().ok()?, value.clone())))
        .collect()
}

fn cloud(
    url: &Url,
    vars: &[(String, String)],
) -> Result<Arc<dyn ObjectStore>, object_store::Error> {
    let (retry, client) = single_attempt();
    macro_rules! build {
        ($builder:ty, $prefixes:expr) => {{
            let with = |builder: $builder, (key, value)| builder.with_config(key, value);
            settings(vars, $prefixes)
                .into_iter()
                .fold(<$builder>::new(), with)
                .with_url(url.as_str())
                .with_retry(retry)
                .with_client_options(client)
                .build()?
        }};
    }
    Ok(match url.scheme() {
        "gs" => Arc::new(build!(GoogleCloudStorageBuilder, &["GOOGLE_", "SERVICE_ACCOUNT"])),
        "s3" | "s3a" => Arc::new(build!(AmazonS3Builder, &["AWS_"])),
        _ => Arc::new(build!(MicrosoftAzureBuilder, &["AZURE_"])),
    })
}
