//! Names the method in answers to calls this server does not implement.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{HeaderMap, HeaderValue, Request, Response};
use tonic::Code;
use tower::{Layer, Service};

/// What clients look for when no auth service runs.
pub const AUTH_NOT_ACTIVATED: &str = "the auth service is not activated";

const STATUS: &str = "grpc-status";
const MESSAGE: &str = "grpc-message";

/// Turns every bare UNIMPLEMENTED into one that says which method.
#[derive(Debug, Clone, Copy)]
pub struct NameMethods;

impl<S> Layer<S> for NameMethods {
    type Service = Named<S>;

    fn layer(&self, inner: S) -> Named<S> {
        Named { inner }
    }
}

/// A service under [`NameMethods`].
#[derive(Debug, Clone)]
pub struct Named<S> {
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Named<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let answer = self.inner.call(request);
        Box::pin(async move {
            let mut response = answer.await?;
            name_method(response.headers_mut(), &path);
            Ok(response)
        })
    }
}

fn name_method(headers: &mut HeaderMap, path: &str) {
    let unimplemented = (Code::Unimplemented as i32).to_string();
    if headers.get(STATUS).is_none_or(|status| status != unimplemented.as_str()) {
        return;
    }
    // Services that explain themselves keep their text; generated stubs and
    // the router do not.
    let explained = headers.get(MESSAGE).is_some_and(|text| text != "Not%20yet%20implemented");
    if explained {
        return;
    }
    if let Ok(text) = HeaderValue::from_str(&message(path)) {
        headers.insert(MESSAGE, text);
    }
}

fn message(path: &str) -> String {
    if path.starts_with("/auth_v2.API/") {
        return AUTH_NOT_ACTIVATED.to_owned();
    }
    match path.trim_start_matches('/').split_once('/') {
        Some((service, method)) => format!("unknown method {method} for service {service}"),
        None => format!("unknown method {path}"),
    }
}
