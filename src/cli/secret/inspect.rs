//! `inspect secret`.

use crate::cli::prelude::*;

/// Show one secret, without its values
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect secret registry")]
pub struct Args {
    /// The secret
    #[arg(value_name = "SECRET")]
    name: String,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints the secret.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = pps::InspectSecretRequest { secret: Some(pps::Secret { name: self.name }) };
        let info = cx.client().await?.pps().inspect_secret(request).await?.into_inner();
        cx.print_one(&self.format, &info, |mut fields| {
            fields
                .line("Name", info.secret.as_ref().map_or("", |secret| &secret.name))?
                .line("Type", &info.r#type)?
                .some("Created", cx.when(&self.format, info.creation_timestamp.as_ref()))?;
            Ok(())
        })
    }
}
