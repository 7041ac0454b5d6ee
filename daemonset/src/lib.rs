//! The node agent: one process that serves the volumes of a node, and one that
//! keeps their connections to the kernel when that one dies or is replaced.
//!
//! [`keeper`] is the one that keeps, [`Keeping`] what the one that serves says to
//! it. [`Node`] looks after the sessions of all volumes; what a volume shows is
//! for whoever implements [`Volumes`]. [`agent`] is how a driver talks to it.
//! Nothing here knows what a repo is.

pub mod agent;
pub mod cgroup;
pub mod keeper;
pub mod limits;
mod node;
mod packets;
mod pods;
mod publish;

pub use agent::backing::{Ask, Openers, open_for};
pub use agent::client::AgentClient;
pub use keeper::hands::{Held, Keep, Keeping};
pub use node::{Device, Listed, Mounting, Node, Prepared, Session, Stats, Usage, Volumes};
pub use packets::{DESCRIPTORS, Listener, Packets};
pub use pods::{KubePods, NoPods, Outcome, PodRef, Pods, Unconnected};
pub use publish::{Code, Key, Publish, Refusal, Token};
