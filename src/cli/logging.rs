//! Where log lines go.

use std::fs::OpenOptions;
use std::io::IsTerminal as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::Arc;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::writer::BoxMakeWriter;

use crate::cli::prelude::*;

/// How logs look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// An object per line.
    Json,
}

/// Logs what `PFS_LOG` lets through, else `default`, to `file`, else to
/// standard error.
pub fn start(format: LogFormat, default: &str, file: Option<&Path>) -> Outcome {
    let set = std::env::var("PFS_LOG").ok().filter(|text| !text.is_empty());
    let wanted = set.as_deref().unwrap_or(default);
    // What was decided about access is told unless that is turned off by name.
    let wanted = match wanted.contains("audit") {
        true => wanted.to_owned(),
        false => format!("{wanted},audit=info"),
    };
    let filter = EnvFilter::try_new(wanted).map_err(|error| {
        Failure::usage(format!("PFS_LOG is no filter of log lines: {error}"))
            .hint("write, for example, PFS_LOG=info,pfs=debug")
    })?;
    let (writer, paint) = match file {
        None => (BoxMakeWriter::new(std::io::stderr), std::io::stderr().is_terminal()),
        Some(path) => {
            let opened = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
            let file = opened.map_err(|error| {
                Failure::new(format!("cannot log to {}: {error}", path.display()))
            })?;
            (BoxMakeWriter::new(Arc::new(file)), false)
        }
    };
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    let log = log.with_ansi(paint);
    // Fails when there is a log already, which is then used.
    let _ = match format {
        LogFormat::Text => log.try_init(),
        LogFormat::Json => log.json().try_init(),
    };
    Ok(())
}
