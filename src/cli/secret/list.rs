//! `list secret`.

use crate::cli::prelude::*;

/// List the secrets, without their values
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs list secret")]
pub struct Args {
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per secret.
    pub async fn run(self, cx: &Context) -> Outcome {
        let infos = cx.client().await?.pps().list_secret(()).await?.into_inner();
        let mut printer = cx.printer(&self.format, &["NAME", "TYPE", "CREATED"]);
        for info in infos.secret_info {
            printer.entity(&info, || {
                let name = info.secret.as_ref().map_or("", |secret| secret.name.as_str());
                let created = cx.age(&self.format, info.creation_timestamp.as_ref());
                vec![name.into(), info.r#type.as_str().into(), created.into()]
            })?;
        }
        printer.finish()
    }
}
