//! Reading trees and contents of a server's commits, within a budget.

use std::path::Path;
use std::sync::Arc;

use super::remote::ServerStore;
use crate::api::client::Client;
use crate::chunk::{BlobConfig, Blobs, Replay};
use crate::cli::direct;
use crate::cli::failure::Outcome;
use crate::model::Clock;
use crate::store::{RetryPolicy, Store};
use crate::tree::{NodeCache, Nodes};

/// The share of the cache directory's budget that the order of reads may take
/// beside it.
const ORDER: u64 = 64;

/// What reads trees and contents of a server with `memory` bytes; `cache` is a
/// directory that keeps them, and how many bytes of them.
pub async fn server_nodes(
    client: &Client,
    cache: Option<(&Path, u64)>,
    memory: u64,
    clock: Arc<dyn Clock>,
) -> Outcome<Nodes> {
    let (_, store) = reach(client).await?;
    Ok(within(store, cache, memory, (Replay::Off, clock)))
}

/// The same for a store that is known; reads that come in the order of earlier
/// ones are foreseen.
pub fn nodes(
    store: Store,
    cache: Option<(&Path, u64)>,
    memory: u64,
    clock: Arc<dyn Clock>,
) -> Nodes {
    let replay = match cache {
        Some((dir, budget)) => Replay::Kept(dir.to_owned(), budget / ORDER),
        None => Replay::Forgotten,
    };
    within(store, cache, memory, (replay, clock))
}

fn within(
    store: Store,
    cache: Option<(&Path, u64)>,
    memory: u64,
    (replay, clock): (Replay, Arc<dyn Clock>),
) -> Nodes {
    let memory = usize::try_from(memory).unwrap_or(usize::MAX);
    let config = BlobConfig {
        memory: memory / 2,
        write_buffer: memory / 4,
        replay,
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
