//! `list transaction`.

use super::{branch, json, state};
use crate::cli::prelude::*;

/// List write transactions, also those that ended without a commit
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs list transaction")]
pub struct Args {
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per transaction.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = v1::ListTransactionsRequest::default();
        let mut stream = cx.client().await?.native().list_transactions(request).await?.into_inner();
        let columns = ["ID", "BRANCH", "STATE", "OPENED", "OWNER", "REASON"];
        let mut printer = cx.printer(&self.format, &columns);
        while let Some(info) = stream.message().await? {
            let cells = || {
                vec![
                    hex::encode(&info.id).into(),
                    branch(&info).into(),
                    Cell::state(state(info.state)),
                    cx.age(&self.format, info.opened.as_ref()).into(),
                    info.owner.as_str().into(),
                    info.reason.as_str().into(),
                ]
            };
            printer.value(|| json(&info), cells)?;
        }
        printer.finish()
    }
}
