//! Pages over HTTP: health, readiness, metrics.
//!
//! [`serve`] listens and answers with what a [`Site`] has; [`Exposition`]
//! writes metrics in the text format of Prometheus.

mod address;
mod exposition;
mod process;
mod serving;

pub use address::{HttpAddress, InvalidHttpAddress};
pub use exposition::{Exposition, Kind};
pub use process::resident_bytes;
pub use serving::{Listening, Page, Site, serve};

#[cfg(test)]
mod tests;
