//! A secret that says who somebody is.

use std::fmt;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;

use crate::model::Timestamp;

/// A bearer token. Neither `Debug` nor anything else shows it.
#[derive(Clone)]
pub struct Token(String);

/// What is read of a token; a float, because that is what numbers of JSON are.
#[derive(Deserialize)]
struct Claims {
    exp: f64,
}

impl Token {
    /// The token as it was sent.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The secret itself, for whoever verifies it.
    pub(super) fn secret(&self) -> &str {
        &self.0
    }

    /// `text` without the secret, should it be in there.
    pub(super) fn blot(&self, text: &str) -> String {
        match self.0.is_empty() {
            true => text.to_owned(),
            false => text.replace(&self.0, "[token]"),
        }
    }

    /// When it says that it expires. Nothing is verified: a token that somebody
    /// else has found valid is not taken for valid longer.
    pub(super) fn expires(&self) -> Option<Timestamp> {
        let mut parts = self.0.split('.');
        let (_, claims, _) = (parts.next()?, parts.next()?, parts.next()?);
        let claims = BASE64_URL_SAFE_NO_PAD.decode(claims).ok()?;
        let claims: Claims = serde_json::from_slice(&claims).ok()?;
        // Saturates, which is far enough away.
        Some(Timestamp::from_parts(claims.exp as i64, 0))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token")
    }
}
