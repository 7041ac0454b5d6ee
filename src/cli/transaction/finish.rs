//! `finish transaction`.

use super::{is_unknown, leave, mounted, named, txn, wire};
use crate::cli::prelude::*;

/// Make everything that waits in a transaction happen, or nothing
///
/// Given the id of a write transaction, commits what a writable mount has
/// staged when its commit was interrupted, and prints the commit. Refused
/// while changes are with the mount alone: 'pfs mount --resume' goes on with
/// those.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs finish transaction
  pfs finish transaction 5f0c1b7f5b6e4a5f8f0f6d0a5a1c9e77")]
pub struct Args {
    /// The transaction; else the active one
    #[arg(value_name = "ID")]
    id: Option<String>,
    /// What the commit of a write transaction is about
    #[arg(short, long, default_value = "", hide_default_value = true)]
    message: String,
}

impl Args {
    /// Finishes the transaction.
    pub async fn run(self, cx: &Context) -> Outcome {
        let id = named(cx, self.id.as_deref())?;
        let request = txn::FinishTransactionRequest { transaction: wire(&id) };
        match cx.client().await?.transactions().finish_transaction(request).await {
            Ok(info) => {
                leave(cx, &id)?;
                let calls = info.into_inner().requests.len();
                cx.say(&format!("Completed transaction with {calls} requests: {id}"))
            }
            Err(status) if is_unknown(&status) && self.id.is_some() => {
                mounted::finish(cx, &id, self.message).await
            }
            Err(status) => Err(status.into()),
        }
    }
}
