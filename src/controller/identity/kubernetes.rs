//! Tokens are verified by the API server of Kubernetes.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use kube::client::Body;
use kube::{Client, Config};
use serde::Deserialize;

use super::{AUDIENCE, Account, BoundPod, Identity, ReviewError, Reviewer, Token};

/// Where reviews are asked for.
const PATH: &str = "/apis/authentication.k8s.io/v1/tokenreviews";

/// What an account of Kubernetes is called as a user.
const ACCOUNT: &str = "system:serviceaccount:";

/// Where a review names the pod that a token is bound to.
const POD_NAME: &str = "authentication.kubernetes.io/pod-name";
const POD_UID: &str = "authentication.kubernetes.io/pod-uid";

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// There is no way to the API server.
#[derive(Debug, thiserror::Error)]
#[error("cannot find the API server of Kubernetes: {reason}")]
pub struct Unconnected {
    reason: String,
}

/// TokenReview: the account that asks needs the rights of the cluster role
/// `system:auth-delegator`.
#[derive(Clone)]
pub struct TokenReviews {
    client: Client,
}

impl TokenReviews {
    /// Asks the API server of the cluster this process is in, else the one that
    /// `KUBECONFIG` names.
    pub async fn connect() -> Result<Self, Unconnected> {
        let failed = |reason: String| Unconnected { reason };
        // Harmless when the process has one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut config = Config::infer().await.map_err(|error| failed(error.to_string()))?;
        config.connect_timeout = Some(PATIENCE);
        config.read_timeout = Some(PATIENCE);
        let client = Client::try_from(config).map_err(|error| failed(error.to_string()))?;
        Ok(Self { client })
    }

    /// Asks through a client that is there.
    #[must_use]
    pub const fn through(client: Client) -> Self {
        Self { client }
    }

    /// Asks without the client's own decoding, which logs an answer that it
    /// cannot decode: answers repeat the token.
    async fn ask(&self, token: &Token) -> Result<Response<Bytes>, ReviewError> {
        let unavailable = |reason: String| ReviewError::Unavailable { reason: token.blot(&reason) };
        let spec = TokenReviewSpec {
            audiences: Some(vec![AUDIENCE.to_owned()]),
            token: Some(token.secret().to_owned()),
        };
        let review = TokenReview { spec, ..TokenReview::default() };
        let body = serde_json::to_vec(&review).map_err(|error| unavailable(error.to_string()))?;
        let request = Request::post(PATH)
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(Body::from(body))
            .map_err(|error| unavailable(error.to_string()))?;
        let answer = self.client.send(request).await;
        let (head, body) = answer.map_err(|error| unavailable(chain(&error)))?.into_parts();
        let body = body.collect_bytes().await;
        let body = body.map_err(|error| unavailable(error.to_string()))?;
        Ok(Response::from_parts(head, body))
    }
}

#[async_trait]
impl Reviewer for TokenReviews {
    async fn review(&self, token: &Token) -> Result<Identity, ReviewError> {
        let answer = match tokio::time::timeout(PATIENCE, self.ask(token)).await {
            Ok(answer) => answer?,
            Err(_) => {
                let reason = "the API server of Kubernetes does not answer".to_owned();
                return Err(ReviewError::Unavailable { reason });
            }
        };
        decode(answer.status(), answer.body(), token)
    }
}

/// What of an error of the API server is of interest.
#[derive(Deserialize, Default)]
struct Failed {
    #[serde(default)]
    message: String,
}

/// Only of the status: the rest of the answer repeats the token.
#[derive(Deserialize)]
struct Answer {
    status: Option<TokenReviewStatus>,
}

fn decode(code: StatusCode, body: &[u8], token: &Token) -> Result<Identity, ReviewError> {
    let unavailable = |reason: String| ReviewError::Unavailable { reason: token.blot(&reason) };
    if !code.is_success() {
        let said: Failed = serde_json::from_slice(body).unwrap_or_default();
        let said = format!("the API server answers {code} to a TokenReview: {}", said.message);
        return Err(unavailable(said));
    }
    // What the decoder says may show what it has read.
    let answer: Result<Answer, _> = serde_json::from_slice(body);
    match answer {
        Ok(Answer { status: Some(status) }) => identity(status, token),
        Ok(Answer { status: None }) | Err(_) => {
            Err(unavailable("the API server's answer is no TokenReview".to_owned()))
        }
    }
}

fn identity(status: TokenReviewStatus, token: &Token) -> Result<Identity, ReviewError> {
    let refused = |reason: &str| Err(ReviewError::Refused { reason: token.blot(reason) });
    if status.authenticated != Some(true) {
        return refused(status.error.as_deref().unwrap_or("it is not valid, or no more"));
    }
    // An API server that knows no audiences has verified the token for itself.
    if !status.audiences.is_some_and(|audiences| audiences.iter().any(|one| one == AUDIENCE)) {
        return refused("it was not made for the audience \"pfs\"");
    }
    let user = status.user.unwrap_or_default();
    let username = user.username.unwrap_or_default();
    let account = username.strip_prefix(ACCOUNT).and_then(|account| account.split_once(':'));
    let Some((namespace, name)) = account else {
        return refused(&format!("it is of {username:?}, who is no service account"));
    };
    let extra = user.extra.unwrap_or_default();
    let bound = |key| extra.get(key).and_then(|values| values.first()).cloned();
    let pod = match (bound(POD_NAME), bound(POD_UID)) {
        (Some(name), Some(uid)) => Some(BoundPod { name, uid }),
        (None, _) | (_, None) => None,
    };
    let account = Account { namespace: namespace.to_owned(), name: name.to_owned() };
    Ok(Identity { account, pod })
}

fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
