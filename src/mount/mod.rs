//! The kernel's side of a mount: FUSE requests to [`vfs`](crate::vfs) calls.
//!
//! The only module that knows fuser. It unpacks, calls and replies; what the
//! answers mean is decided below.

mod adapter;
mod attr;
mod backing;
pub mod control;
mod device;
mod errno;
mod gate;
pub mod holder;
mod once;
mod options;
mod passthrough;
mod push;
mod queue;
mod reads;
mod reply;
mod session;
mod standby;
pub mod stats;
mod table;
mod writes;

pub use backing::{Backing, Privileged};
pub use device::{MountError, detach, is_connected, unmount};
pub use errno::errno;
pub use options::MountOptions;
pub use session::Mounted;
pub use standby::Standby;
