//! How often each call was made, how it ended, how long it took.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Instant;

use http::{Request, Response};
use tonic::Code;
use tower::{Layer, Service};

use crate::model::{Histogram, Latency};

/// What calls to methods that do not exist are counted as.
const UNKNOWN: &str = "unknown";

/// Counters of the calls to a server. A cheap clone of the same counters.
#[derive(Debug, Clone, Default)]
pub struct Calls(Arc<Mutex<BTreeMap<String, Arc<Call>>>>);

#[derive(Debug, Default)]
struct Call {
    latency: Histogram,
    codes: Mutex<BTreeMap<i32, u64>>,
}

/// The calls of one method.
#[derive(Debug, Clone)]
pub struct CallStats {
    /// `/package.Service/Method`.
    pub method: String,
    /// How many began to be answered with each code: a stream may fail later.
    pub codes: BTreeMap<String, u64>,
    /// How long that took.
    pub latency: Latency,
}

impl Calls {
    /// Every method that was called.
    #[must_use]
    pub fn read(&self) -> Vec<CallStats> {
        let calls = lock(&self.0).clone();
        let read = |(method, call): (String, Arc<Call>)| {
            let codes = lock(&call.codes);
            let named = codes.iter().map(|(code, n)| (format!("{:?}", Code::from(*code)), *n));
            CallStats { method, codes: named.collect(), latency: call.latency.read() }
        };
        calls.into_iter().map(read).collect()
    }

    fn ended(&self, path: &str, code: i32, began: Instant) {
        // Names that clients make up must not fill the memory.
        let call = {
            let mut calls = lock(&self.0);
            let method = match Code::from(code) {
                Code::Unimplemented => UNKNOWN,
                // Who is not let in may ask for anything.
                Code::Unauthenticated | Code::PermissionDenied if !calls.contains_key(path) => {
                    UNKNOWN
                }
                _ => path,
            };
            match calls.get(method) {
                Some(call) => Arc::clone(call),
                None => Arc::clone(calls.entry(method.to_owned()).or_default()),
            }
        };
        call.latency.add(began.elapsed());
        *lock(&call.codes).entry(code).or_default() += 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<S> Layer<S> for Calls {
    type Service = Counted<S>;

    fn layer(&self, inner: S) -> Counted<S> {
        Counted { inner, calls: self.clone() }
    }
}

/// A service whose calls are counted.
#[derive(Debug, Clone)]
pub struct Counted<S> {
    inner: S,
    calls: Calls,
}

impl<S, B, R> Service<Request<B>> for Counted<S>
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
        let (path, began) = (request.uri().path().to_owned(), Instant::now());
        let (calls, answer) = (self.calls.clone(), self.inner.call(request));
        Box::pin(async move {
            let response = answer.await?;
            let status = response.headers().get("grpc-status");
            let code = status.and_then(|code| code.to_str().ok()?.parse().ok());
            calls.ended(&path, code.unwrap_or(Code::Ok as i32), began);
            Ok(response)
        })
    }
}
