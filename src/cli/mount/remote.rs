//! The store of a server that is reached only through the server.

use std::fmt;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream, StreamExt as _};

use crate::api::client::{Client, Code, Status};
use crate::api::proto::pfs_v1 as v1;
use crate::store::{Backend, ByteRange, ObjectInfo, PutKind, StoreError};

/// Bytes in one message of a put.
const PIECE: usize = 1 << 20;

/// Objects by way of the server's API.
#[derive(Debug)]
pub struct ServerStore(pub Client);

impl fmt::Display for ServerStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server's store")
    }
}

impl ServerStore {
    fn error(&self, key: &str, status: &Status) -> StoreError {
        let (store, key) = (self.to_string(), key.to_owned());
        match status.code() {
            Code::NotFound => StoreError::NotFound { store, key },
            Code::AlreadyExists => StoreError::AlreadyExists { store, key },
            Code::ResourceExhausted => StoreError::NoSpace { store, key },
            Code::PermissionDenied | Code::Unauthenticated | Code::InvalidArgument => {
                StoreError::Denied { store, key, reason: status.message().to_owned() }
            }
            // Whatever else a server answers may be over at the next attempt.
            _ => StoreError::Unavailable { store, key, reason: status.message().to_owned() },
        }
    }

    fn unsupported(&self, key: &str) -> StoreError {
        let reason = "the server does not offer this".to_owned();
        StoreError::Denied { store: self.to_string(), key: key.to_owned(), reason }
    }
}

#[async_trait]
impl Backend for ServerStore {
    async fn put(&self, key: &str, parts: &[Bytes], _kind: PutKind) -> Result<(), StoreError> {
        let mut pieces = vec![v1::PutObjectRequest { key: key.to_owned(), data: Bytes::new() }];
        for part in parts {
            let mut rest = part.clone();
            while !rest.is_empty() {
                let data = rest.split_to(rest.len().min(PIECE));
                pieces.push(v1::PutObjectRequest { key: String::new(), data });
            }
        }
        let sent = self.0.native().put_object(stream::iter(pieces)).await;
        sent.map(drop).map_err(|status| self.error(key, &status))
    }

    async fn get(&self, key: &str, range: ByteRange) -> Result<Bytes, StoreError> {
        let (start, end) = match range {
            ByteRange::All => (0, 0),
            ByteRange::Span(span) if span.is_empty() => return Ok(Bytes::new()),
            ByteRange::Span(span) => (span.start, span.end),
            ByteRange::Last(count) => (self.head(key).await?.saturating_sub(count), 0),
        };
        let request = v1::GetObjectRequest { key: key.to_owned(), start, end };
        let answer = self.0.native().get_object(request).await;
        let mut pieces = answer.map_err(|status| self.error(key, &status))?.into_inner();
        let mut bytes = BytesMut::new();
        while let Some(piece) = pieces.message().await.map_err(|s| self.error(key, &s))? {
            bytes.extend_from_slice(&piece.data);
        }
        Ok(bytes.freeze())
    }

    async fn head(&self, key: &str) -> Result<u64, StoreError> {
        let request = v1::HeadObjectRequest { key: key.to_owned() };
        let answer = self.0.native().head_object(request).await;
        Ok(answer.map_err(|status| self.error(key, &status))?.into_inner().size)
    }

    fn list(&self, prefix: &str) -> BoxStream<'static, Result<ObjectInfo, StoreError>> {
        stream::iter([Err(self.unsupported(prefix))]).boxed()
    }

    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        Err(self.unsupported(key))
    }
}
