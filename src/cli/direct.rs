//! The server's object store, reached without the server in between.

use std::sync::Arc;
use std::time::Duration;

use super::prelude::*;
use crate::api::client::Client;
use crate::chunk::{BlobConfig, Blobs};
use crate::model::SystemClock;
use crate::store::{self, Store, StoreOptions};

/// How long to try to reach the store.
const TRY: Duration = Duration::from_secs(2);

/// The store when this process may read and write it itself; the server's
/// token object proves that both see the same one.
pub async fn store(client: &Client) -> Outcome<Option<Store>> {
    Ok(find(client).await?.map(|(_, store)| store))
}

/// The same, and the URL at which [`open`] finds it again.
pub async fn find(client: &Client) -> Outcome<Option<(String, Store)>> {
    let info = client.native().store_info(v1::StoreInfoRequest {}).await?.into_inner();
    let direct = async {
        let store = open(&info.url)?;
        let token = store.get(&info.token_key).await.ok()?;
        (token == info.token && may_write(&info.url)).then_some(store)
    };
    let found = tokio::time::timeout(TRY, direct).await.ok().flatten();
    tracing::debug!(direct = found.is_some(), url = %info.url, "store");
    Ok(found.map(|store| (info.url, store)))
}

/// The store at `url`, which was found before.
pub fn open(url: &str) -> Option<Store> {
    let options = StoreOptions { read_only: true, ..StoreOptions::default() };
    store::open(url, &options).ok()
}

/// The contents in that store.
pub async fn blobs(client: &Client) -> Outcome<Option<Blobs>> {
    let store = store(client).await?;
    Ok(store.map(|store| Blobs::new(store, Arc::new(SystemClock), BlobConfig::default())))
}

/// Whether this user may write to a directory store; others say so themselves.
fn may_write(url: &str) -> bool {
    let Some(dir) = store::directory_of(url) else { return true };
    nix::unistd::access(&dir, nix::unistd::AccessFlags::W_OK).is_ok()
}
