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
        let secret = Some(pps::Secret { name: self.name.clone() });
        cx.client().await?.pps().delete_secret(pps::DeleteSecretRequest { secret }).await?;
        for pipeline in self.users(cx).await? {
            cx.notice(&format!(
                "notice: pipeline {pipeline} uses it: its jobs fail until the secret is there again"
            ));
        }
        Ok(())
    }

    /// The pipelines whose programs need the secret.
    async fn users(&self, cx: &Context) -> Outcome<Vec<String>> {
        let request = pps::ListPipelineRequest { details: true, ..Default::default() };
        let mut stream = cx.client().await?.pps().list_pipeline(request).await?.into_inner();
        let mut users = Vec::new();
        while let Some(info) = stream.message().await? {
            let transform = info.details.and_then(|details| details.transform);
            let secrets = transform.map(|transform| transform.secrets).unwrap_or_default();
            if secrets.iter().any(|secret| secret.name == self.name) {
                users.extend(info.pipeline.as_ref().map(show::pipeline));
            }
        }
        Ok(users)
    }
}
