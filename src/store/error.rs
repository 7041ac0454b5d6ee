//! What can go wrong with objects, by what the caller can do about it.

/// A failed operation on a store. Names the object or store concerned.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// There is no object under the key.
    #[error("object {key} is not in the store {store}")]
    NotFound {
        /// The store, as its URL names it.
        store: String,
        /// The missing object.
        key: String,
    },
    /// A create-only put met an object that is already there and differs.
    #[error("object {key} is already in the store {store}")]
    AlreadyExists {
        /// The store, as its URL names it.
        store: String,
        /// The object that is there.
        key: String,
    },
    /// The disk or quota behind the store is full; nothing was written.
    #[error("no space left in the store {store} for {key}")]
    NoSpace {
        /// The store, as its URL names it.
        store: String,
        /// The object that did not fit.
        key: String,
    },
    /// The store refuses to be written to or read from with these credentials.
    #[error("the store {store} refuses access to {key}: {reason}")]
    Denied {
        /// The store, as its URL names it.
        store: String,
        /// The object concerned.
        key: String,
        /// The store's own words.
        reason: String,
    },
    /// The store did not answer, or not sensibly, however often it was asked.
    ///
    /// A put that ends so may have been applied all the same.
    #[error("the store {store} is unavailable ({key}): {reason}")]
    Unavailable {
        /// The store, as its URL names it.
        store: String,
        /// The object concerned.
        key: String,
        /// The last failure seen.
        reason: String,
    },
    /// The URL names no store this program can open.
    #[error("cannot open the store {url}: {reason}")]
    InvalidUrl {
        /// The URL as given.
        url: String,
        /// What is wrong, and what would do.
        reason: String,
    },
    /// The store holds something else, or a format from a newer version.
    #[error("the store {store} cannot be used: {reason}")]
    Format {
        /// The store, as its URL names it.
        store: String,
        /// What was found where the format marker should be.
        reason: String,
    },
}

impl StoreError {
    /// What to do about it, where that is always the same.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Denied { .. } => {
                Some("let the server's user read and write there, or name another store")
            }
            Self::NoSpace { .. } => Some("make room there, and try again"),
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::Unavailable { .. }
            | Self::InvalidUrl { .. }
            | Self::Format { .. } => None,
        }
    }

    /// Whether asking again may help.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Unavailable { .. } => true,
            Self::NotFound { .. }
            | Self::AlreadyExists { .. }
            | Self::NoSpace { .. }
            | Self::Denied { .. }
            | Self::InvalidUrl { .. }
            | Self::Format { .. } => false,
        }
    }
}
