//! How a driver and a node agent talk to each other: a connection for each
//! request, so that one that takes long keeps nobody else waiting.

pub mod backing;
pub mod client;
mod protocol;
pub mod server;
#[cfg(test)]
mod tests;
