//! Fixed-size identifiers, printed as lower-case hex.

use std::fmt;
use std::str::FromStr;

/// A string that is not the hex form of an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid {kind} {text:?}: expected {digits} lower-case hex digits")]
pub struct InvalidId {
    /// What was expected, e.g. `commit id`.
    pub kind: &'static str,
    /// The rejected text.
    pub text: String,
    /// How many hex digits the kind has.
    pub digits: usize,
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $len:literal, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; $len]);

        impl $name {
            /// How many bytes the id has.
            pub const LEN: usize = $len;

            /// Wraps raw bytes.
            #[must_use]
            pub const fn new(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }

            /// The raw bytes.
            #[must_use]
            pub const fn as_bytes(&self) -> &[u8; $len] {
                &self.0
            }

            /// The lower-case hex form.
            #[must_use]
            pub fn to_hex(&self) -> String {
                hex::encode(self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.to_hex())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({self})", stringify!($name))
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let mut bytes = [0; $len];
                let lower = !text.bytes().any(|b| b.is_ascii_uppercase());
                if !lower || hex::decode_to_slice(text, &mut bytes).is_err() {
                    return Err(InvalidId { kind: $kind, text: text.to_owned(), digits: 2 * $len });
                }
                Ok(Self(bytes))
            }
        }

        impl From<[u8; $len]> for $name {
            fn from(bytes: [u8; $len]) -> Self {
                Self(bytes)
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
                s.serialize_str(&self.to_hex())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                let text = <std::borrow::Cow<'de, str>>::deserialize(d)?;
                text.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

id!(
    /// BLAKE3-256 of a chunk's plain bytes.
    ChunkId, 32, "chunk id"
);
id!(
    /// What a file holds, whatever its name, place or time.
    ///
    /// The chunk id for a file of one chunk (or none); otherwise a hash of the
    /// chunk list. Chunk boundaries depend on content alone, so equal bytes
    /// give equal hashes.
    ContentHash, 32, "content hash"
);
id!(
    /// Logical hash of a tree node: its content without places and times.
    NodeHash, 32, "node hash"
);
id!(
    /// Names a pack object; random, chosen before the pack is written.
    PackId, 16, "pack id"
);
id!(
    /// Names a commit, and the commit set of everything derived from it.
    ///
    /// 32 hex digits without dashes: legal as an OCI image tag.
    CommitId, 16, "commit id"
);
id!(
    /// Names a datum of a pipeline: a hash of its inputs' names and paths.
    DatumId, 32, "datum id"
);
id!(
    /// Names a file set: a tree on its own, outside of any commit.
    FileSetId, 16, "file set id"
);
id!(
    /// Names a write transaction (a writable mount or volume).
    TransactionId, 16, "transaction id"
);
