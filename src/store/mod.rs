//! Objects by key, wherever they are kept: a directory, memory, or a cloud.
//!
//! [`open`] turns a URL into a [`Store`]; [`Backend`] is the seam behind it,
//! implemented for every `object_store` and by whoever reaches the objects
//! another way. Nothing here knows what the objects hold.

mod backend;
mod error;
mod fault;
mod handle;
mod location;
mod retry;
pub mod waits;

pub use backend::{Backend, ByteRange, ObjectBackend, ObjectInfo, PutKind, Upload};
pub use error::StoreError;
pub use fault::{Fault, FaultStore, Operation};
pub use handle::{Store, StoreStats};
pub use location::{StoreOptions, directory_of, install_crypto, open, remove_stale_uploads};
pub use retry::RetryPolicy;

#[cfg(test)]
mod tests;
