//! The server as a whole; and commands that manage a cluster elsewhere and
//! have nothing to do here.

use std::ffi::OsString;

use clap::Subcommand;

use crate::api::proto::admin_v2;
use crate::cli::prelude::*;

/// Show which installation the server is
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs inspect cluster")]
pub struct Inspect {
    #[command(flatten)]
    format: Format,
}

impl Inspect {
    /// Prints the installation.
    pub async fn run(self, cx: &Context) -> Outcome {
        let request = admin_v2::InspectClusterRequest::default();
        let info = cx.client().await?.admin().inspect_cluster(request).await?.into_inner();
        cx.print_one(&self.format, &info, |mut fields| {
            fields.line("ID", &info.id)?.line("Deployment ID", &info.deployment_id)?;
            Ok(())
        })
    }
}

/// Not needed: the server listens on this machine
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs port-forward")]
pub struct PortForward {
    #[command(flatten)]
    ignored: Ignored,
}

/// Not needed: stop the server with Ctrl-C or SIGTERM
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pachctl undeploy")]
pub struct Undeploy {
    #[command(flatten)]
    ignored: Ignored,
}

/// Flags of other eras.
#[derive(Debug, clap::Args)]
pub struct Ignored {
    /// Accepted and ignored
    #[arg(value_name = "FLAGS", trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

impl Ignored {
    fn note(&self, cx: &Context) {
        if !self.rest.is_empty() {
            let rest = self.rest.join(" ".as_ref());
            cx.notice(&format!("notice: ignored: {}", rest.display()));
        }
    }
}

impl PortForward {
    /// Says where the server is.
    pub fn run(self, cx: &Context) -> Outcome {
        self.ignored.note(cx);
        let address = cx.address()?;
        cx.notice(&format!("notice: nothing to forward; commands reach the server at {address}"));
        Ok(())
    }
}

impl Undeploy {
    /// Says how to stop the server.
    pub fn run(self, cx: &Context) -> Outcome {
        self.ignored.note(cx);
        cx.notice("notice: nothing to undeploy; stop 'pfs serve' with Ctrl-C or SIGTERM");
        Ok(())
    }
}

/// Not part of pfs
#[derive(Debug, clap::Args)]
pub struct Absent {
    #[arg(value_name = "ARGS", trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<OsString>,
}

impl Absent {
    /// Says so, and what there is instead.
    pub fn run(self, name: &str, instead: Option<&str>) -> Outcome {
        drop(self.rest);
        let failure = Failure::new(format!("'{name}' is not part of pfs"));
        Err(match instead {
            Some(instead) => failure.hint(instead),
            None => failure.hint("'pfs help' lists the commands there are"),
        })
    }
}

/// Commands of other eras that are not there.
#[derive(Debug, Subcommand)]
#[allow(missing_docs, reason = "the variants are the commands")]
pub enum AbsentCommand {
    #[command(hide = true)]
    Auth(Absent),
    #[command(hide = true)]
    Idp(Absent),
    #[command(hide = true)]
    Enterprise(Absent),
    #[command(hide = true)]
    License(Absent),
    #[command(hide = true)]
    Debug(Absent),
    #[command(hide = true)]
    Draw(Absent),
    #[command(hide = true)]
    Next(Absent),
    #[command(hide = true)]
    Shell(Absent),
    #[command(hide = true)]
    Logs2(Absent),
    #[command(hide = true)]
    Loki(Absent),
    #[command(hide = true)]
    KubeEvents(Absent),
    #[command(hide = true)]
    Csi(Absent),
}

impl AbsentCommand {
    /// Says that it is not there.
    pub fn run(self) -> Outcome {
        match self {
            Self::Auth(args) => args.run("auth", None),
            Self::Idp(args) => args.run("idp", None),
            Self::Enterprise(args) => args.run("enterprise", None),
            Self::License(args) => args.run("license", None),
            Self::Debug(args) => args.run("debug", None),
            Self::Draw(args) => args.run("draw", None),
            Self::Next(args) => args.run("next", None),
            Self::Shell(args) => {
                args.run("shell", Some("shells complete commands after 'pfs completion'"))
            }
            Self::Logs2(args) => args.run("logs2", Some("use 'logs'")),
            Self::Loki(args) => args.run("loki", Some("use 'logs'")),
            Self::KubeEvents(args) => args.run("kube-events", None),
            Self::Csi(args) => args.run("csi", None),
        }
    }
}
