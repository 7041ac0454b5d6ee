//! `list transaction`.

use super::{mounted, txn};
use crate::cli::prelude::*;

/// List transactions that are not finished
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs list transaction
  pfs list transaction --mounts")]
pub struct Args {
    /// List those behind writable mounts instead, also those that ended
    #[arg(long)]
    mounts: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per transaction.
    pub async fn run(self, cx: &Context) -> Outcome {
        if self.mounts {
            return mounted::list(cx, &self.format).await;
        }
        let mut client = cx.client().await?.transactions();
        let answer = client.list_transaction(txn::ListTransactionRequest {}).await?;
        let mut printer = cx.printer(&self.format, &["TRANSACTION", "STARTED", "OPS"]);
        for info in answer.into_inner().transaction_info {
            printer.entity(&info, || {
                vec![
                    info.transaction.clone().unwrap_or_default().id.into(),
                    cx.age(&self.format, info.started.as_ref()).into(),
                    info.requests.len().to_string().into(),
                ]
            })?;
        }
        printer.finish()
    }
}
