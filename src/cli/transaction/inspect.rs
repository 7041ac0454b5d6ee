//! `inspect transaction`.

use super::{is_unknown, line, mounted, named, txn, wire};
use crate::cli::prelude::*;

/// Show one transaction: what waits in it, or what a writable mount has staged
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs inspect transaction
  pfs inspect transaction 5f0c1b7f5b6e4a5f8f0f6d0a5a1c9e77")]
pub struct Args {
    /// The transaction; else the active one
    #[arg(value_name = "ID")]
    id: Option<String>,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the transaction.
    pub async fn run(self, cx: &Context) -> Outcome {
        let id = named(cx, self.id.as_deref())?;
        let request = txn::InspectTransactionRequest { transaction: wire(&id) };
        let info = match cx.client().await?.transactions().inspect_transaction(request).await {
            Ok(info) => info.into_inner(),
            Err(status) if is_unknown(&status) => {
                return mounted::inspect(cx, &self.format, &id).await;
            }
            Err(status) => return Err(status.into()),
        };
        let calls: Vec<_> = info.requests.iter().map(|call| format!("  {}", line(call))).collect();
        cx.print_one(&self.format, &info, |mut fields| {
            fields
                .line("ID", &id)?
                .some("Started", cx.when(&self.format, info.started.as_ref()))?
                .block("Requests", &calls.join("\n"))?;
            Ok(())
        })
    }
}
