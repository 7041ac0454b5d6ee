//! What of an API server of Kubernetes answers TokenReviews, and tells of pods:
//! it knows the tokens and pods it was told of. The real one has its turn on the
//! cluster.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Who a token is of.
#[derive(Clone)]
pub struct Holder {
    pub account: (&'static str, &'static str),
    pub audience: &'static str,
    /// Name and uid of the pod that it is bound to.
    pub pod: Option<(&'static str, &'static str)>,
}

/// The service account `name` in `namespace`, for calls.
pub fn account(namespace: &'static str, name: &'static str) -> Holder {
    Holder { account: (namespace, name), audience: "pfs", pod: None }
}

/// The pod `name` in `namespace`, whose uid is `uid`.
pub fn pod(namespace: &'static str, name: &'static str, uid: &'static str) -> Holder {
    Holder { account: (namespace, "default"), audience: "pfs", pod: Some((name, uid)) }
}

#[derive(Default)]
struct State {
    tokens: Mutex<HashMap<String, Holder>>,
    /// By namespace and name.
    pods: Mutex<HashMap<(String, String), Value>>,
    asked: AtomicUsize,
    /// Answers nonsense that repeats the token.
    broken: Mutex<bool>,
}

/// Listens on loopback until dropped.
pub struct ApiServer {
    state: Arc<State>,
    url: String,
    task: JoinHandle<()>,
}

impl ApiServer {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::new(State::default());
        let serving = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                tokio::spawn(async move {
                    let answer = service_fn(|request| answer(Arc::clone(&state), request));
                    let _ =
                        http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
                });
            }
        });
        Self { state, url, task }
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    /// A token that expires at `expires`, in seconds since the epoch.
    pub fn token_until(&self, expires: i64, holder: Holder) -> String {
        let mut tokens = self.state.tokens.lock().unwrap();
        let claims = format!("{{\"exp\":{expires},\"jti\":\"{}\"}}", tokens.len());
        let claims = BASE64_URL_SAFE_NO_PAD.encode(claims);
        let token = format!("eyJhbGciOiJub25lIn0.{claims}.c2VjcmV0LXNpZ25hdHVyZQ");
        tokens.insert(token.clone(), holder);
        token
    }

    /// A token that does not expire soon.
    pub fn token(&self, holder: Holder) -> String {
        self.token_until(4_000_000_000, holder)
    }

    /// Forgets a token, as when its pod is deleted.
    pub fn revoke(&self, token: &str) {
        self.state.tokens.lock().unwrap().remove(token);
    }

    /// The pod `name` of `namespace` is in `phase` from now on.
    pub fn set_pod(&self, (namespace, name, uid): (&str, &str, &str), phase: &str) {
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "namespace": namespace, "name": name, "uid": uid, "resourceVersion": "1",
            },
            "spec": {"restartPolicy": "Never", "containers": [{"name": "main"}]},
            "status": {"phase": phase},
        });
        let named = (namespace.to_owned(), name.to_owned());
        self.state.pods.lock().unwrap().insert(named, pod);
    }

    /// How many reviews were asked for.
    pub fn asked(&self) -> usize {
        self.state.asked.load(Ordering::Relaxed)
    }

    /// Answers what is no TokenReview from now on.
    pub fn break_down(&self) {
        *self.state.broken.lock().unwrap() = true;
    }
}

impl Drop for ApiServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    if let Some(rest) = head.uri.path().strip_prefix("/api/v1/namespaces/") {
        return Ok(told_of(&state, rest));
    }
    let path = "/apis/authentication.k8s.io/v1/tokenreviews";
    if head.method != "POST" || head.uri.path() != path {
        return Ok(reply(StatusCode::NOT_FOUND, json!({"message": "no such thing"}).to_string()));
    }
    state.asked.fetch_add(1, Ordering::Relaxed);
    let body = body.collect().await.unwrap().to_bytes();
    let mut review: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(review["kind"], "TokenReview");
    assert_eq!(review["apiVersion"], "authentication.k8s.io/v1");
    let token = review["spec"]["token"].as_str().unwrap().to_owned();
    if *state.broken.lock().unwrap() {
        return Ok(reply(StatusCode::CREATED, format!("{{\"status\": {token:?}}}")));
    }
    let audiences: Vec<_> = review["spec"]["audiences"].as_array().unwrap().clone();
    let holder = state.tokens.lock().unwrap().get(&token).cloned();
    review["status"] = match holder {
        None => json!({"user": {}, "error": format!("[invalid bearer token {token}]")}),
        Some(holder) if !audiences.contains(&json!(holder.audience)) => json!({
            "user": {},
            "error": format!("token audiences [{:?}] are invalid", holder.audience),
        }),
        Some(holder) => status(&holder),
    };
    Ok(reply(StatusCode::CREATED, review.to_string()))
}

/// The answer about `NAMESPACE/pods/NAME`; news of pods never come.
fn told_of(state: &State, path: &str) -> Response<Full<Bytes>> {
    let parts: Vec<_> = path.split('/').collect();
    let [namespace, "pods", name] = parts[..] else { return reply(StatusCode::OK, String::new()) };
    let named = (namespace.to_owned(), name.to_owned());
    match state.pods.lock().unwrap().get(&named) {
        Some(pod) => reply(StatusCode::OK, pod.to_string()),
        None => {
            let absent = json!({
                "apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 404,
                "reason": "NotFound", "message": format!("pods {name:?} not found"),
            });
            reply(StatusCode::NOT_FOUND, absent.to_string())
        }
    }
}

fn status(holder: &Holder) -> Value {
    let (namespace, name) = holder.account;
    let mut extra = json!({"authentication.kubernetes.io/credential-id": ["JTI=1"]});
    if let Some((name, uid)) = holder.pod {
        extra["authentication.kubernetes.io/pod-name"] = json!([name]);
        extra["authentication.kubernetes.io/pod-uid"] = json!([uid]);
    }
    let user = json!({
        "username": format!("system:serviceaccount:{namespace}:{name}"),
        "uid": "0",
        "groups": ["system:serviceaccounts", "system:authenticated"],
        "extra": extra,
    });
    json!({"authenticated": true, "audiences": [holder.audience], "user": user})
}

fn reply(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    response.headers_mut().insert("content-type", "application/json".parse().unwrap());
    response
}
