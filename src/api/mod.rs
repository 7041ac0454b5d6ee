//! The gRPC API: Pachyderm's services and `pfs.v1`, thin adapters over
//! [`crate::repo`].

pub mod client;
mod convert;
mod info;
pub mod json;
mod pfs;
pub mod proto;
pub mod server;
mod service;
pub mod status;
mod unimplemented;
