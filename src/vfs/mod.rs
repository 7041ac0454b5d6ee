//! File-system semantics without a kernel.
//!
//! [`Files`] answers what a mount is asked: repos at their heads, time travel
//! by `@ref`, transactions, views of datums. It knows no wire protocol and no
//! error numbers; `mount` translates.

mod base;
mod contents;
mod cursor;
mod datum;
mod error;
mod files;
mod follow;
mod inode;
mod large;
mod patience;
mod place;
mod push;
mod repos;
pub mod request;
mod root;
mod source;
mod touches;
pub mod transaction;
mod types;
mod usage;
mod view;
mod walk;
mod warm;
mod write;
pub mod xattr;

pub use datum::{DatumViews, InputView};
pub use error::VfsError;
pub use files::Files;
pub use follow::WAITING;
pub use inode::{Handles, LARGE_FILE, Memory};
pub use large::LargeFile;
pub use patience::patiently;
pub use push::{Push, Pushed, What};
pub use repos::Shown;
pub use source::{Begin, Edits, Fate, Moved, Published, Resolved, Source, Upon};
pub use touches::Wait;
pub use transaction::{Allocate, Started, Then, TransactionView};
pub use types::{
    Attr, Found, Hold, InodeNo, Invalidation, Kind, Listed, NewBody, NewEntry, RenameMode, SetAttr,
    SetTime, Statfs, Validity, XattrMode,
};
pub use usage::Usage;
pub use view::{Filter, Owner};
pub use warm::{Warmed, Warmth, warm, warm_changes};

#[cfg(test)]
mod tests;
