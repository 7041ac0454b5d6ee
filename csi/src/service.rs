//! What all services share: how a call is answered, and what is logged of it.

use std::time::Instant;

use tonic::{Code, Response, Status};

use crate::refusal::Result;

/// The response to a call, which is named in the log, with what came of it;
/// what it asked is not: it may hold secrets.
pub(crate) fn answered<T>(
    call: &str,
    began: Instant,
    answer: Result<T>,
) -> Result<Response<T>, Status> {
    let milliseconds = began.elapsed().as_millis();
    match answer {
        Ok(answer) => {
            tracing::debug!(call, milliseconds, "answered");
            Ok(Response::new(answer))
        }
        Err(refusal) => {
            match refusal.code() {
                Code::Internal => tracing::error!(call, milliseconds, %refusal, "failed"),
                code => tracing::info!(call, milliseconds, ?code, %refusal, "refused"),
            }
            Err(refusal.into())
        }
    }
}

/// Implements a generated service trait by methods of the type itself;
/// `absent` ones answer UNIMPLEMENTED with their name.
macro_rules! service {
    (
        impl $service:path as $name:ty;
        calls { $($call:ident($ask:ty) -> $answer:ty = $method:ident;)* }
        $(absent { $($absent:ident: $asked:ty => $never:ty,)* })?
    ) => {
        #[tonic::async_trait]
        impl $service for $name {
            $(async fn $call(
                &self,
                request: tonic::Request<$ask>,
            ) -> std::result::Result<tonic::Response<$answer>, tonic::Status> {
                let began = std::time::Instant::now();
                let answer = self.$method(request.into_inner()).await;
                $crate::service::answered(stringify!($call), began, answer)
            })*
            $($(async fn $absent(
                &self,
                _: tonic::Request<$asked>,
            ) -> std::result::Result<tonic::Response<$never>, tonic::Status> {
                // What CSI asks for of a call whose capability is not declared.
                let what = concat!("this driver declares no capability for ", stringify!($absent));
                Err(tonic::Status::unimplemented(what))
            })*)?
        }
    };
}
pub(crate) use service;
