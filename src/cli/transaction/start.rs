//! `start transaction`.

use super::{activate, txn};
use crate::cli::prelude::*;

/// Gather changes, to make them all at once
///
/// Until 'finish transaction' or 'stop transaction', these wait: create,
/// update and delete repo, create and delete branch, start and finish commit,
/// create and update pipeline. Each is checked at once. Commands that only
/// show things show what is there without the transaction.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:
  pfs start transaction
  pfs create repo a
  pfs create repo b
  pfs finish transaction")]
pub struct Args {}

impl Args {
    /// Starts a transaction and makes it the active one.
    pub async fn run(self, cx: &Context) -> Outcome {
        if let Some(active) = cx.config().transaction {
            return Err(Failure::new(format!("transaction {active} is active"))
                .hint("finish it, or leave it with 'stop transaction'"));
        }
        let mut client = cx.client().await?.transactions();
        let started = client.start_transaction(txn::StartTransactionRequest {}).await?;
        let id = started.into_inner().id;
        activate(cx, Some(id.parse().map_err(|e| Failure::new(format!("{e}")))?))?;
        cx.say(&format!("Started new transaction: {id}"))
    }
}
