//! `delete transaction`.

use super::{is_unknown, leave, mounted, named, txn, wire};
use crate::cli::prelude::*;

/// Forget what waits in a transaction, or give a write transaction up
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs delete transaction
  pfs delete transaction 5f0c1b7f5b6e4a5f8f0f6d0a5a1c9e77")]
pub struct Args {
    /// The transaction; else the active one
    #[arg(value_name = "ID")]
    id: Option<String>,
}

impl Args {
    /// Deletes the transaction.
    pub async fn run(self, cx: &Context) -> Outcome {
        let id = named(cx, self.id.as_deref())?;
        let request = txn::DeleteTransactionRequest { transaction: wire(&id) };
        match cx.client().await?.transactions().delete_transaction(request).await {
            Ok(_) => leave(cx, &id),
            Err(status) if is_unknown(&status) && self.id.is_some() => {
                mounted::abort(cx, &id).await
            }
            // Whoever deleted it did not leave it here.
            Err(status) if is_unknown(&status) => leave(cx, &id),
            Err(status) => Err(status.into()),
        }
    }
}
