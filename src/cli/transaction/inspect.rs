//! `inspect transaction`.

use super::{branch, id, json, state};
use crate::cli::prelude::*;

/// Show one write transaction, with the paths that conflict
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect transaction 5f0c1b7f5b6e4a5f8f0f6d0a5a1c9e77")]
pub struct Args {
    /// The transaction
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the transaction.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = v1::InspectTransactionRequest { id: id(&self.id)? };
        let info = cx.client().await?.native().inspect_transaction(request).await?.into_inner();
        let mut sink = cx.sink();
        if let Some(encoding) = self.format.encoding() {
            encoding.write(&mut sink, &json(&info))?;
            return Ok(sink.flush()?);
        }
        let when = |time: &Option<_>| cx.when(&self.format, time.as_ref());
        Fields::new(&mut sink)
            .line("ID", &hex::encode(&info.id))?
            .line("Branch", &branch(&info))?
            .state("State", state(info.state))?
            .some("Reason", Some(info.reason.clone()))?
            .some("Base", Some(hex::encode(&info.base)))?
            .some("Commit", Some(hex::encode(&info.commit)))?
            .some("Opened", when(&info.opened))?
            .some("Owner", Some(info.owner.clone()))?
            .some("Conflicts", Some(info.conflicts.join("  ")))?;
        Ok(sink.flush()?)
    }
}
