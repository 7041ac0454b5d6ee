//! The gRPC API: Pachyderm's services and `pfs.v1`, thin adapters over
//! [`crate::repo`].

pub mod client;
mod convert;
mod info;
pub mod json;
pub mod proto;
pub mod server;
pub mod status;
mod unimplemented;
