//! `delete secret`.

use crate::cli::prelude::*;

/// Delete a secret
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs delete secret registry")]
pub struct Args {
    /// The secret
    #[arg(value_name = "SECRET")]
    name: String,
}

impl Args {
    /// Deletes the secret.
    pub async fn run(self, cx: &Context) -> Outcome {
        let secret = Some(pps::Secret { name: self.name });
        cx.client().await?.pps().delete_secret(pps::DeleteSecretRequest { secret }).await?;
        Ok(())
    }
}
