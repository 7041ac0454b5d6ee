//! Reading trees and contents of a server's commits, within a budget.

use std::path::Path;
use std::sync::Arc;

use super::remote::ServerStore;
use crate::api::client::Client;
use crate::chunk::{BlobConfig, Blobs};
use crate::cli::direct;
use crate::cli::failure::Outcome;
use crate::model::Clock;
use crate::store::{RetryPolicy, Store};
use crate::tree::{NodeCache, Nodes};

/// What reads trees and contents of a server with `memory` bytes; `cache` is a
/// directory that keeps them, and how many bytes of them.
pub async fn server_nodes(
    client: &Client,
    cache: Option<(&Path, u64)>,
    memory: u64,
    clock: Arc<dyn Clock>,
) -> Outcome<Nodes> {
    let (_, store) = reach(client).await?;
    Ok(nodes(store, cache, memory, clock))
}

/// The same for a store that is known.
pub fn nodes(
    store: Store,
    cache: Option<(&Path, u64)>,
    memory: u64,
    clock: Arc<dyn Clock>,
) -> Nodes {
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let config = BlobConfig {
        memory: memory / 2,
        write_buffer: memory / 4,
        disk: cache.map(|(dir, budget)| (dir.join("content"), budget)),
        ..BlobConfig::default()
    };
    let blobs = Blobs::new(store, clock, config);
    Nodes::new(blobs, NodeCache::new(memory / 4))
}

/// The object store itself, and its URL, when it can be reached, else through
/// the server.
pub async fn reach(client: &Client) -> Outcome<(Option<String>, Store)> {
    Ok(match direct::find(client).await? {
        Some((url, store)) => (Some(url), store),
        None => (None, through(client)),
    })
}

/// The object store by way of the server.
pub fn through(client: &Client) -> Store {
    // About as long as a file operation waits for the server.
    let retry = RetryPolicy { attempts: 9, ..RetryPolicy::default() };
    Store::new(Arc::new(ServerStore(client.clone())), retry)
}
