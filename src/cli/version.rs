//! `version`.

use crate::api::proto::versionpb_v2::Version;
use crate::cli::prelude::*;

/// Print the versions of this program and of the server
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs version --client-only")]
pub struct Args {
    /// Do not ask the server
    #[arg(long)]
    client_only: bool,
    /// Print JSON
    #[arg(long)]
    raw: bool,
    /// Give up on the server after this time, as in 5s
    #[arg(long, value_name = "DURATION", hide = true)]
    timeout: Option<String>,
}

/// This program's version.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

impl Args {
    /// Prints the client's version, then the server's.
    pub async fn run(self, cx: &Context) -> Outcome {
        let mut sink = cx.sink();
        let (client, server) = match cx.globals.called_pachctl {
            true => ("pachctl", "pachd"),
            false => ("pfs", "server"),
        };
        if self.client_only {
            sink.line(VERSION)?;
            return Ok(sink.flush()?);
        }
        let answer = match cx.client().await {
            Ok(connection) => connection.version().get_version(()).await.map_err(Failure::from),
            Err(failure) => Err(failure),
        };
        if self.raw {
            let info = answer?.into_inner();
            sink.line(&api::json::to_json(&info, cx.keys()).to_string())?;
            return Ok(sink.flush()?);
        }
        let mut table = Table::new(&["COMPONENT", "VERSION"]).least_width(20);
        table.row(&mut sink, vec![client.into(), VERSION.into()])?;
        if let Ok(info) = &answer {
            table.row(&mut sink, vec![server.into(), text(info.get_ref()).into()])?;
        }
        table.finish(&mut sink)?;
        sink.flush()?;
        answer.map(|_| ())
    }
}

fn text(version: &Version) -> String {
    let Version { major, minor, micro, additional, .. } = version;
    format!("{major}.{minor}.{micro}{additional}")
}
