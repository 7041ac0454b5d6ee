//! The node agent. So far what it knows of pods.

mod pods;

pub use pods::{KubePods, NoPods, Outcome, PodRef, Pods, Unconnected};
