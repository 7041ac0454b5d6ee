//! File-system semantics without a kernel.
//!
//! [`Files`] answers what a mount is asked: repos at their heads, time travel
//! by `@ref`, transactions, views of datums. It knows no wire protocol and no
//! error numbers; `mount` translates.

mod base;
mod cursor;
mod error;
mod inode;
pub mod transaction;
pub mod types;
mod view;

pub use base::{Content, Entry, EntryKind, Tree};
pub use error::VfsError;
pub use transaction::TransactionView;
pub use types::*;
pub use view::Filter;

#[cfg(test)]
mod tests;
