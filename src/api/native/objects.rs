//! The objects of the store, for clients that reach only the server.

use async_stream::try_stream;
use bytes::Bytes;
use tonic::codegen::BoxStream;
use tonic::{Status, Streaming};

use super::Native;
use crate::api::client::MESSAGE_MAX;
use crate::api::proto::pfs_v1 as pb;
use crate::api::status::{Result, invalid, store};
use crate::store::StoreError;

/// Holds random bytes: who reads the same ones reads the same store.
pub(in crate::api) const TOKEN_KEY: &str = "token";

/// Bytes read from the store at once.
const READ: u64 = 4 << 20;

/// Bytes in one message of an answer.
const PIECE: usize = 1 << 20;

impl Native {
    #[expect(clippy::unused_async, reason = "the shape of a method")]
    pub(super) async fn store_info(
        &self,
        _: pb::StoreInfoRequest,
    ) -> Result<pb::StoreInfoResponse> {
        Ok(pb::StoreInfoResponse {
            url: self.services.store_url.clone(),
            token_key: TOKEN_KEY.to_owned(),
            token: self.services.token.to_vec(),
        })
    }

    pub(super) async fn head_object(
        &self,
        request: pb::HeadObjectRequest,
    ) -> Result<pb::HeadObjectResponse> {
        let key = readable(&request.key)?;
        let size = self.services.blobs.store().head(key).await.map_err(|e| store(&e))?;
        Ok(pb::HeadObjectResponse { size })
    }

    pub(super) async fn get_object(
        &self,
        request: pb::GetObjectRequest,
    ) -> Result<BoxStream<pb::ObjectData>> {
        let key = readable(&request.key)?.to_owned();
        let objects = self.services.blobs.store().clone();
        let end = match request.end {
            0 => objects.head(&key).await.map_err(|e| store(&e))?,
            end => end,
        };
        Ok(Box::pin(try_stream! {
            let mut at = request.start;
            while at < end {
                let until = end.min(at.saturating_add(READ));
                let mut bytes = objects.get_range(&key, at..until).await.map_err(|e| store(&e))?;
                let short = (bytes.len() as u64) < until - at;
                while !bytes.is_empty() {
                    let data = bytes.split_to(bytes.len().min(PIECE));
                    yield pb::ObjectData { data };
                }
                // The object ends before the range does.
                if short {
                    break;
                }
                at = until;
            }
        }))
    }

    pub(super) async fn put_object(
        &self,
        mut pieces: Streaming<pb::PutObjectRequest>,
    ) -> Result<pb::PutObjectResponse> {
        let first = pieces.message().await?.ok_or_else(|| invalid("request names no object"))?;
        let key = writable(&first.key)?.to_owned();
        let mut body: Vec<Bytes> = vec![first.data];
        let mut size = body[0].len();
        while let Some(piece) = pieces.message().await? {
            size += piece.data.len();
            if size > MESSAGE_MAX {
                return Err(invalid(format!("object {key} is larger than {MESSAGE_MAX} bytes")));
            }
            body.push(piece.data);
        }
        self.put(&key, body.concat().into()).await?;
        Ok(pb::PutObjectResponse { size: size as u64 })
    }

    async fn put(&self, key: &str, body: Bytes) -> Result<()> {
        let objects = self.services.blobs.store();
        match objects.put_new(key, body.clone()).await {
            Ok(()) => Ok(()),
            Err(StoreError::AlreadyExists { .. }) => {
                let there = objects.get(key).await.map_err(|e| store(&e))?;
                match there == body {
                    true => Ok(()),
                    false => Err(Status::already_exists(format!("object {key} already exists"))),
                }
            }
            Err(error) => Err(store(&error)),
        }
    }

    #[expect(clippy::unused_async, reason = "the shape of a method")]
    pub(super) async fn server_stats(
        &self,
        _: pb::ServerStatsRequest,
    ) -> Result<pb::ServerStatsResponse> {
        let stats = self.services.blobs.store().stats();
        Ok(pb::ServerStatsResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            started: Some(crate::api::convert::time(self.services.started)),
            store_gets: stats.get,
            store_puts: stats.put,
            store_lists: stats.list,
            store_deletes: stats.delete,
            store_bytes_in: stats.bytes_in,
            store_bytes_out: stats.bytes_out,
            resident_bytes: crate::web::resident_bytes(),
        })
    }
}

/// A key that clients may read.
fn readable(key: &str) -> Result<&str> {
    match key == TOKEN_KEY || key.starts_with("packs/") || key.starts_with("commits/") {
        true => Ok(key),
        false => Err(invalid(format!("object {key:?} is not served"))),
    }
}

/// A key that clients may write: a pack's, `packs/<2 hex>/<32 hex>`.
fn writable(key: &str) -> Result<&str> {
    let hex = |text: &str| text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let pack = key.strip_prefix("packs/").and_then(|rest| rest.split_once('/'));
    match pack {
        Some((dir, id)) if dir.len() == 2 && id.len() == 32 && hex(dir) && hex(id) => Ok(key),
        _ => Err(invalid(format!("object {key:?} cannot be put: it is no pack"))),
    }
}
