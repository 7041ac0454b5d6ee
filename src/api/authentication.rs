//! Finds out who calls before a call is looked at.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::header::AUTHORIZATION;
use http::{HeaderMap, Request, Response};
use tower::{Layer, Service};

use super::status::denied;
use crate::controller::identity::{Gate, Token};

/// Where Pachyderm's clients send their token.
const AUTHN_TOKEN: &str = "authn-token";

/// Lets calls through the gate. Who calls is in the request's extensions then,
/// and the token no more in its headers.
#[derive(Clone)]
pub(super) struct Authentication(pub Gate);

impl<S> Layer<S> for Authentication {
    type Service = Authenticated<S>;

    fn layer(&self, inner: S) -> Authenticated<S> {
        Authenticated { inner, gate: self.0.clone() }
    }
}

/// A service behind a gate.
#[derive(Clone)]
pub(super) struct Authenticated<S> {
    inner: S,
    gate: Gate,
}

impl<S, B, R> Service<Request<B>> for Authenticated<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send + 'static,
    B: Send + 'static,
    R: Default,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        if self.gate.is_open() {
            return Box::pin(self.inner.call(request));
        }
        let token = token(request.headers_mut());
        // The one that is ready goes with the call.
        let next = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, next);
        let gate = self.gate.clone();
        Box::pin(async move {
            match gate.admit(request.uri().path(), token.as_ref()).await {
                Ok(caller) => {
                    request.extensions_mut().insert(caller);
                    inner.call(request).await
                }
                Err(error) => Ok(denied(&error).into_http()),
            }
        })
    }
}

/// Takes the token out of the headers.
fn token(headers: &mut HeaderMap) -> Option<Token> {
    let bearer = headers.remove(AUTHORIZATION);
    let plain = headers.remove(AUTHN_TOKEN);
    let bearer = bearer.as_ref().and_then(|value| value.to_str().ok()).and_then(|value| {
        let (scheme, token) = value.split_once(' ')?;
        scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
    });
    let plain = plain.as_ref().and_then(|value| value.to_str().ok()).map(str::trim);
    bearer.or(plain).filter(|token| !token.is_empty()).map(Token::new)
}
