//! What pipeline specs leave out: defaults of the cluster and of projects.

pub mod delete;
pub mod inspect;
pub mod set;

use crate::cli::prelude::*;

/// Whose defaults.
#[derive(Debug, clap::Args)]
pub struct Scope {
    /// The defaults of the whole cluster, below those of projects
    #[arg(long)]
    cluster: bool,
}

impl Scope {
    /// The project whose defaults are meant; `None` for the cluster.
    fn project(&self, cx: &Context) -> Outcome<Option<pfs::Project>> {
        match (self.cluster, &cx.globals.project) {
            (true, None) => Ok(None),
            (true, Some(_)) => Err(Failure::usage("--cluster and --project exclude each other")),
            (false, Some(_)) => Ok(Some(cx.project()?)),
            (false, None) => {
                Err(Failure::usage("whose defaults?").hint("give --cluster, or --project PROJECT"))
            }
        }
    }
}

/// How a change of defaults meets the pipelines there are.
#[derive(Debug, Clone, Copy, Default)]
struct Effect {
    regenerate: bool,
    reprocess: bool,
    dry_run: bool,
}

/// Sets defaults; says which pipelines they change.
async fn set_to(cx: &Context, scope: &Scope, json: String, effect: Effect) -> Outcome {
    let Effect { regenerate, reprocess, dry_run } = effect;
    let mut client = cx.client().await?.pps();
    let affected = match scope.project(cx)? {
        None => {
            let request = pps::SetClusterDefaultsRequest {
                cluster_defaults_json: json,
                regenerate,
                reprocess,
                dry_run,
            };
            client.set_cluster_defaults(request).await?.into_inner().affected_pipelines
        }
        Some(project) => {
            let request = pps::SetProjectDefaultsRequest {
                project: Some(project),
                project_defaults_json: json,
                regenerate,
                reprocess,
                dry_run,
            };
            client.set_project_defaults(request).await?.into_inner().affected_pipelines
        }
    };
    if dry_run {
        cx.notice("nothing was changed; with --regenerate these pipelines would be:");
    }
    for pipeline in affected {
        let project = pipeline.project.unwrap_or_default().name;
        cx.say(&format!("{project}/{}", pipeline.name))?;
    }
    Ok(())
}
