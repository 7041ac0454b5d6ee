//! What all services share: the state behind them and the shape of a method.

use bytes::Bytes;
use futures::{Stream, StreamExt};
use tokio_util::sync::CancellationToken;
use tonic::codegen::BoxStream;
use tonic::{Request, Status};

use super::convert::{self, parse};
use super::proto::pfs_v2::CommitSet;
use super::proto::pps_v2;
use super::status::{Result, missing, refused, with_hint};
use crate::catalog::Job;
use crate::chunk::Blobs;
use crate::controller::Controller;
use crate::controller::identity::Gate;
use crate::model::{CommitId, Timestamp};
use crate::repo::Repos;

/// Names a transaction that calls are to be made in.
pub(super) const TRANSACTION: &str = "pach-transaction";

/// What the services are adapters of. A cheap clone.
#[derive(Clone)]
pub(super) struct Services {
    /// Use cases.
    pub repos: Repos,
    /// Pipelines.
    pub controller: Controller,
    /// Content.
    pub blobs: Blobs,
    /// The store's URL, without credentials.
    pub store_url: String,
    /// The bytes of the store's token object.
    pub token: Bytes,
    /// Names this installation for good.
    pub installation: String,
    /// When the server started.
    pub started: Timestamp,
    /// Which volumes a pod gets.
    pub gate: Gate,
    /// Ends calls that would listen for ever, when the server drains.
    pub stop: CancellationToken,
}

impl Services {
    /// The id of a commit set, given in full or by its first digits.
    pub(super) async fn commit_set(&self, message: Option<&CommitSet>) -> Result<CommitId> {
        let message = message.ok_or_else(|| missing("commit set"))?;
        self.repos.resolve_set(&message.id).await.map_err(refused)
    }

    /// A job by its id, its first digits, or a ref to its output commit.
    pub(super) async fn job(&self, message: Option<&pps_v2::Job>) -> Result<Job> {
        let message = message.ok_or_else(|| missing("job"))?;
        let pipeline = convert::pipeline(message.pipeline.as_ref())?;
        self.repos.resolve_job(&pipeline, &message.id).await.map_err(refused)
    }

    /// What `answer` comes to, unless the server drains first.
    pub(super) async fn until_stopped<T>(
        &self,
        answer: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        tokio::select! {
            answer = answer => answer,
            () = self.stop.cancelled() => Err(Status::unavailable("the server is shutting down")),
        }
    }

    /// The items, until the server drains, which is no proper end.
    pub(super) fn while_running<T: Send + 'static>(
        &self,
        items: impl Stream<Item = Result<T>> + Send + 'static,
    ) -> BoxStream<T> {
        let stop = self.stop.clone();
        let cut = futures::stream::once(async move {
            let stopped = Status::unavailable("the server is shutting down");
            stop.is_cancelled().then_some(Err(stopped))
        });
        let until = items.take_until(self.stop.clone().cancelled_owned());
        Box::pin(until.chain(cut.filter_map(std::future::ready)))
    }
}

/// A list as a stream of answers.
pub(super) fn all<T, I>(items: I) -> BoxStream<T>
where
    T: Send + 'static,
    I: IntoIterator<Item = T>,
    I::IntoIter: Send + 'static,
{
    Box::pin(futures::stream::iter(items.into_iter().map(Ok)))
}

/// The transaction that a call is to be made in.
pub(super) fn transaction<T>(request: &Request<T>) -> Result<Option<CommitId>> {
    let named = request.metadata().get(TRANSACTION).filter(|id| !id.is_empty());
    named.map(|id| parse(&String::from_utf8_lossy(id.as_bytes()))).transpose()
}

/// Refuses a call within a transaction that cannot be made there.
pub(super) fn outside_transaction<T>(request: &Request<T>, method: &str) -> Result<()> {
    match transaction(request)? {
        None => Ok(()),
        Some(id) => Err(with_hint(
            tonic::Code::Unimplemented,
            format!("{} cannot be part of a transaction", camel_case(method)),
            Some(format!("finish transaction {id} first, or leave it with 'stop transaction'")),
        )),
    }
}

/// `create_repo` as the protocol calls it.
fn camel_case(method: &str) -> String {
    let words = method.split('_').filter_map(|word| {
        let mut letters = word.chars();
        Some(letters.next()?.to_ascii_uppercase().to_string() + letters.as_str())
    });
    words.collect()
}

/// Implements a generated service trait by the methods of the same names on
/// the type itself. Methods that are not listed answer UNIMPLEMENTED.
///
/// `queued` methods wait when they are called within a transaction, `reads`
/// answer with what is there without it, `attributed` ones as well, and know
/// who calls; all others are refused there.
macro_rules! service {
    (
        impl $service:path as $name:ty;
        $(queued { $($queued:ident: $call:ty => $outcome:ty,)* })?
        $(reads { $($read:ident: $question:ty => $reply:ty,)* })?
        $(attributed { $($attributed:ident: $plea:ty => $verdict:ty,)* })?
        unary { $($unary:ident: $ask:ty => $answer:ty,)* }
        streaming { $($stream:ident: $stream_ask:ty => $item:ty,)* }
        $(uploads { $($upload:ident: $piece:ty => $done:ty,)* })?
    ) => {
        #[tonic::async_trait]
        impl $service for $name {
            $($(async fn $queued(
                &self,
                request: tonic::Request<$call>,
            ) -> std::result::Result<tonic::Response<$outcome>, tonic::Status> {
                let answer = match $crate::api::service::transaction(&request)? {
                    Some(id) => self.services.queue(id, request.into_inner()).await?,
                    None => <$name>::$queued(self, request.into_inner()).await?,
                };
                Ok(tonic::Response::new(answer))
            })*)?
            $($(async fn $read(
                &self,
                request: tonic::Request<$question>,
            ) -> std::result::Result<tonic::Response<$reply>, tonic::Status> {
                let answer = <$name>::$read(self, request.into_inner()).await?;
                Ok(tonic::Response::new(answer))
            })*)?
            $($(async fn $attributed(
                &self,
                mut request: tonic::Request<$plea>,
            ) -> std::result::Result<tonic::Response<$verdict>, tonic::Status> {
                let caller = request.extensions_mut().remove().unwrap_or_default();
                let answer =
                    <$name>::$attributed(self, &caller, request.into_inner()).await?;
                Ok(tonic::Response::new(answer))
            })*)?
            $(async fn $unary(
                &self,
                request: tonic::Request<$ask>,
            ) -> std::result::Result<tonic::Response<$answer>, tonic::Status> {
                $crate::api::service::outside_transaction(&request, stringify!($unary))?;
                let answer = <$name>::$unary(self, request.into_inner()).await?;
                Ok(tonic::Response::new(answer))
            })*
            $(async fn $stream(
                &self,
                request: tonic::Request<$stream_ask>,
            ) -> std::result::Result<
                tonic::Response<tonic::codegen::BoxStream<$item>>,
                tonic::Status,
            > {
                let items = <$name>::$stream(self, request.into_inner()).await?;
                Ok(tonic::Response::new(items))
            })*
            $($(async fn $upload(
                &self,
                request: tonic::Request<tonic::Streaming<$piece>>,
            ) -> std::result::Result<tonic::Response<$done>, tonic::Status> {
                $crate::api::service::outside_transaction(&request, stringify!($upload))?;
                let answer = <$name>::$upload(self, request.into_inner()).await?;
                Ok(tonic::Response::new(answer))
            })*)?
        }
    };
}

pub(super) use service;
