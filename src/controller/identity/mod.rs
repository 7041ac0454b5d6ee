//! Who calls, and what they may do: service accounts of Kubernetes.
//!
//! A [`Reviewer`] says whose a token is, [`Access`] what a namespace may read
//! and write, a [`Gate`] puts both before calls and volumes and leaves an
//! audit event of what it decided.

mod access;
mod audit;
mod gate;
mod kubernetes;
mod memory;
mod token;

use std::fmt;
use std::str::FromStr;

use async_trait::async_trait;

pub use access::{Access, AccessFile, InvalidAccess, UnreadableAccess};
pub use gate::{Caller, Denied, Gate, Pod, Trust, VolumeRequest};
pub use kubernetes::{TokenReviews, Unconnected};
pub use token::Token;

/// What tokens must be made for: the audience of `tokenRequests` and of
/// projected volumes.
pub const AUDIENCE: &str = "pfs";

/// Says whose a token is.
#[async_trait]
pub trait Reviewer: Send + Sync {
    /// Whose `token` is, when it is valid now and for [`AUDIENCE`].
    async fn review(&self, token: &Token) -> Result<Identity, ReviewError>;
}

/// Why it is not known whose a token is.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// The token counts for nothing: forged, expired, for another audience,
    /// of a pod that is gone, or of somebody who is no service account.
    #[error("the token is refused: {reason}")]
    Refused {
        /// What is wrong with it; does not show the token.
        reason: String,
    },
    /// There is no answer now.
    #[error("the token cannot be verified now: {reason}")]
    Unavailable {
        /// Why; does not show the token.
        reason: String,
    },
}

/// Whose a token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The service account.
    pub account: Account,
    /// The pod that the token was made for, where it was made for one.
    pub pod: Option<BoundPod>,
}

/// The pod that a token is bound to; it is in the namespace of the account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundPod {
    /// Its name.
    pub name: String,
    /// Its uid, which no other pod ever has.
    pub uid: String,
}

/// A service account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Account {
    /// The namespace it is in.
    pub namespace: String,
    /// Its name there.
    pub name: String,
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// Text that names no service account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no service account: expected NAMESPACE/NAME")]
pub struct InvalidAccount {
    text: String,
}

impl FromStr for Account {
    type Err = InvalidAccount;

    fn from_str(text: &str) -> Result<Self, InvalidAccount> {
        let invalid = || InvalidAccount { text: text.to_owned() };
        let (namespace, name) = text.split_once('/').ok_or_else(invalid)?;
        if !is_name(namespace) || namespace.contains('.') || !is_name(name) {
            return Err(invalid());
        }
        Ok(Self { namespace: namespace.to_owned(), name: name.to_owned() })
    }
}

/// Whether Kubernetes may call a thing by this name.
fn is_name(text: &str) -> bool {
    let inner = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.');
    !text.is_empty()
        && text.len() <= 253
        && text.bytes().all(inner)
        && !text.starts_with(['-', '.'])
        && !text.ends_with(['-', '.'])
}

#[cfg(test)]
mod tests;
