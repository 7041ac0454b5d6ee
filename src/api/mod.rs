//! The gRPC API: Pachyderm's services and `pfs.v1`, thin adapters over
//! [`crate::repo`].

pub mod client;
pub mod json;
pub mod proto;
pub mod server;
mod unimplemented;
