//! A CSI driver: the services Identity, Controller and Node, and kubelet's
//! registration.
//!
//! It knows the rules of the Container Storage Interface and of Linux mounts,
//! and nothing of what a volume holds: [`Volumes`] makes volumes, an [`Agent`]
//! serves them, both implemented elsewhere.

mod agent;
mod capability;
mod controller;
mod identity;
mod limits;
mod mount;
mod node;
mod probing;
pub mod proto;
mod refusal;
mod registration;
mod server;
mod service;
mod socket;
mod token;
mod volumes;

pub use agent::{Access, Agent, Device, Place, Pod, Prepared, Publication, Session, Stats, Usage};
pub use probing::probe;
pub use refusal::{Refusal, Result};
pub use server::{Config, serve};
pub use token::Token;
pub use volumes::{CapacityRange, NewSnapshot, NewVolume, Snapshot, Source, Volume, Volumes};

/// What the driver is called.
pub const DRIVER: &str = "csi.pfs.internal";
