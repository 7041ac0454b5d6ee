//! `finish transaction`.

use super::id;
use crate::cli::prelude::*;

/// Commit what a write transaction has staged, also one that was left behind
///
/// Prints the id of the commit.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs finish transaction 5f0c1b7f5b6e4a5f8f0f6d0a5a1c9e77")]
pub struct Args {
    /// The transaction
    #[arg(value_name = "ID")]
    id: String,
    /// What the commit is about
    #[arg(short, long, default_value = "", hide_default_value = true)]
    message: String,
}

impl Args {
    /// Commits the transaction.
    pub async fn run(self, cx: &Context) -> Outcome {
        let edits =
            v1::TransactionEdits { id: id(&self.id)?, message: self.message, edits: Vec::new() };
        let stream = tokio_stream::iter([edits]);
        let info = cx.client().await?.native().commit_transaction(stream).await?.into_inner();
        match info.state == i32::from(v1::TransactionState::Committed) {
            true => cx.say(&hex::encode(&info.commit)),
            false => Err(Failure::new(format!(
                "the transaction is {}: {}",
                super::state(info.state),
                info.reason
            ))
            .hint(format!("'inspect transaction {}' shows more", self.id))),
        }
    }
}
