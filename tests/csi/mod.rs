//! The driver of volumes in Kubernetes, without a cluster.

mod handshake;
mod sanity;
mod volumes;
