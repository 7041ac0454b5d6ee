//! The node agent of a driver.

use std::path::Path;
use std::sync::Arc;

use pfs_csi::Agent;

use crate::cli::prelude::*;

/// The agent at a socket, or one in this process.
pub(super) async fn open(_: Option<&Path>, _: &Context) -> Outcome<Arc<dyn Agent>> {
    Err(Failure::new("this build has no node agent"))
}
