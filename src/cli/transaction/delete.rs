//! `delete transaction`.

use super::id;
use crate::cli::prelude::*;

/// Give a write transaction up
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs delete transaction 5f0c1b7f5b6e4a5f8f0f6d0a5a1c9e77")]
pub struct Args {
    /// The transaction
    #[arg(value_name = "ID")]
    id: String,
}

impl Args {
    /// Aborts the transaction.
    pub async fn run(self, cx: &Context) -> Outcome {
        let reason = "given up with 'delete transaction'".to_owned();
        let request = v1::AbortTransactionRequest { id: id(&self.id)?, reason };
        cx.client().await?.native().abort_transaction(request).await?;
        Ok(())
    }
}
