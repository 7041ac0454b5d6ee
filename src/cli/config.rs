//! `config` and `connect`: settings of the user.

use std::env;
use std::fs;
use std::io;
use std::path::PathBuf;

use clap::{Subcommand, ValueEnum};
use serde::{Deserialize, Serialize};

use crate::cli::prelude::*;
use crate::model::CommitId;

/// What a user has set once for all commands.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where the server is, unless a flag or the environment says so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
    /// The project that unqualified names belong to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The transaction that changes are made in until it is left.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub transaction: Option<CommitId>,
}

impl Config {
    /// Reads the settings; without a file there are none.
    pub fn load() -> Outcome<Self> {
        let Some(path) = path() else { return Ok(Self::default()) };
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(unusable(&path, &error)),
        };
        serde_json::from_str(&text).map_err(|error| unusable(&path, &error))
    }

    /// Keeps the settings for the commands to come.
    pub fn save(&self) -> Outcome {
        let path = path().ok_or_else(|| {
            Failure::new("there is no place for settings").hint("set HOME or PFS_CONFIG")
        })?;
        let text = serde_json::to_string_pretty(self).map_err(|error| unusable(&path, &error))?;
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(|error| unusable(&path, &error))?;
        }
        fs::write(&path, text + "\n").map_err(|error| unusable(&path, &error))
    }
}

/// `PFS_CONFIG`, else `pfs/config.json` in the user's directory for settings.
fn path() -> Option<PathBuf> {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("PFS_CONFIG").or_else(|| {
        let dir = set("XDG_CONFIG_HOME").or_else(|| set("HOME").map(|home| home.join(".config")));
        dir.map(|dir| dir.join("pfs/config.json"))
    })
}

fn unusable(path: &std::path::Path, error: &dyn std::fmt::Display) -> Failure {
    Failure::new(format!("cannot use the settings in {}: {error}", path.display()))
}

/// Show or change the settings of the user
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs config
  pfs config set address grpc://pfs.example.com:30650
  pfs config set project vision")]
pub struct Args {
    #[command(subcommand)]
    action: Option<Action>,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Print one setting
    #[command(after_help = "Example:\n  pfs config get address")]
    Get {
        /// Which
        setting: Setting,
    },
    /// Change one setting
    #[command(after_help = "Example:\n  pfs config set project vision")]
    Set {
        /// Which
        setting: Setting,
        /// Its value; empty forgets it
        value: String,
    },
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Setting {
    #[value(alias = "active-context")]
    Address,
    #[value(alias = "active-project")]
    Project,
}

impl Args {
    /// Shows or changes settings.
    pub fn run(self, cx: &Context) -> Outcome {
        let address = cx.address()?.to_string();
        let project = cx.project_name()?.to_string();
        match self.action {
            None => {
                cx.say(&format!("address: {address}"))?;
                cx.say(&format!("project: {project}"))
            }
            Some(Action::Get { setting: Setting::Address }) => cx.say(&address),
            Some(Action::Get { setting: Setting::Project }) => cx.say(&project),
            Some(Action::Set { setting, value }) => set(cx, setting, value),
        }
    }
}

fn set(cx: &Context, setting: Setting, value: String) -> Outcome {
    let mut config = cx.config().clone();
    let value = Some(value).filter(|value| !value.is_empty());
    match setting {
        Setting::Address => {
            if let Some(text) = &value {
                let valid = text.parse::<crate::api::client::Address>();
                valid.map_err(|error| Failure::usage(error.to_string()))?;
            }
            config.address = value;
        }
        Setting::Project => {
            if let Some(text) = &value {
                text.parse::<crate::model::ProjectName>()?;
            }
            config.project = value;
        }
    }
    config.save()
}

/// Use this server from now on
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs connect grpc://pfs.example.com:30650")]
pub struct Connect {
    /// Where the server is
    #[arg(value_name = "ADDRESS")]
    to: String,
}

impl Connect {
    /// Keeps the address.
    pub fn run(self, cx: &Context) -> Outcome {
        set(cx, Setting::Address, self.to)
    }
}
