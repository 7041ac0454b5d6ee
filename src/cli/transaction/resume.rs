//! `resume transaction`.

use super::{activate, txn, wire};
use crate::cli::prelude::*;

/// Go on with a transaction that was left
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs resume transaction 5f0c1b7f5b6e4a5f8f0f6d0a5a1c9e77")]
pub struct Args {
    /// The transaction
    #[arg(value_name = "ID")]
    id: String,
}

impl Args {
    /// Makes a transaction the active one.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = txn::InspectTransactionRequest { transaction: wire(&self.id) };
        let info = cx.client().await?.transactions().inspect_transaction(request).await?;
        let calls = info.into_inner().requests.len();
        activate(cx, Some(self.id.parse().map_err(|e| Failure::usage(format!("{e}")))?))?;
        cx.say(&format!("Resuming existing transaction with {calls} requests: {}", self.id))
    }
}
