//! The driver of volumes in Kubernetes, without a cluster.

mod handshake;
mod health;
mod sanity;
mod volumes;
