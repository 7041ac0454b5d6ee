//! Metrics of mounts and servers, as `/metrics` shows them.

mod agent;
mod layers;
mod mounted;
mod server;

pub use agent::AgentPages;
pub use mounted::MountPages;
pub use server::ServerPages;

#[cfg(test)]
mod tests;
