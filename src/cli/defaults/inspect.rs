//! `inspect defaults`.

use super::Scope;
use crate::cli::prelude::*;

/// Show what pipeline specs leave out
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs inspect defaults --cluster
  pfs inspect defaults --project vision")]
pub struct Args {
    #[command(flatten)]
    scope: Scope,
}

impl Args {
    /// Prints defaults as they were set.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut client = cx.client().await?.pps();
        let json = match self.scope.project(cx)? {
            None => {
                let answer = client.get_cluster_defaults(pps::GetClusterDefaultsRequest {}).await?;
                answer.into_inner().cluster_defaults_json
            }
            Some(project) => {
                let request = pps::GetProjectDefaultsRequest { project: Some(project) };
                let answer = client.get_project_defaults(request).await?;
                answer.into_inner().project_defaults_json
            }
        };
        cx.say(&json)
    }
}
