//! A CSI driver: the services Identity, Controller and Node, and kubelet's
//! registration.
//!
//! It knows the rules of the Container Storage Interface and of Linux mounts,
//! and nothing of what a volume holds: [`Volumes`] makes volumes, an [`Agent`]
//! serves them, both implemented elsewhere.

mod agent;
mod refusal;
mod token;
mod volumes;

pub use agent::{Access, Agent, Device, Place, Pod, Prepared, Publication, Session, Stats, Usage};
pub use refusal::{Refusal, Result};
pub use token::Token;
pub use volumes::{CapacityRange, NewSnapshot, NewVolume, Snapshot, Source, Volume, Volumes};
