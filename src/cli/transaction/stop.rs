//! `stop transaction`.

use super::activate;
use crate::cli::prelude::*;

/// Leave the active transaction, without finishing it
///
/// It stays as it is; 'resume transaction' goes on with it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs stop transaction")]
pub struct Args {}

impl Args {
    /// Leaves the active transaction.
    #[expect(clippy::unused_async, reason = "the shape of a command")]
    pub async fn run(self, cx: &Context) -> Outcome {
        let Some(active) = cx.config().transaction else {
            return Err(Failure::new("no transaction is active"));
        };
        activate(cx, None)?;
        cx.say(&format!("Cleared active transaction: {active}"))
    }
}
