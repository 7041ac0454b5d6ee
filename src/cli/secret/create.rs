//! `create secret`.

use std::io;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::cli::prelude::*;

/// Create a secret, or replace one
///
/// Takes a manifest as Kubernetes does, or literal values. Values are never
/// shown again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs create secret -f docker-config.yaml
  pfs create secret registry --from-literal user=ann --from-file password=./password")]
pub struct Args {
    /// The name; a manifest brings its own
    #[arg(value_name = "SECRET", required_unless_present = "file")]
    name: Option<String>,
    /// A manifest, JSON or YAML; '-' is standard input
    #[arg(short, long, value_name = "FILE", conflicts_with = "name")]
    file: Option<String>,
    /// A key and its value; may be repeated
    #[arg(long, value_name = "KEY=VALUE")]
    from_literal: Vec<String>,
    /// A key and the file that holds its value; may be repeated
    #[arg(long, value_name = "KEY=FILE")]
    from_file: Vec<String>,
}

impl Args {
    /// Creates the secret.
    pub async fn run(self, cx: &Context) -> Outcome {
        let manifest = match (&self.file, &self.name) {
            (Some(file), _) => manifest(file)?,
            (None, name) => self.literal(name.as_deref().unwrap_or_default())?,
        };
        let request = pps::CreateSecretRequest { file: manifest.to_string().into() };
        cx.client().await?.pps().create_secret(request).await?;
        Ok(())
    }

    fn literal(&self, name: &str) -> Outcome<Value> {
        let mut data = Map::new();
        for pair in &self.from_literal {
            let (key, value) = split(pair, "--from-literal KEY=VALUE")?;
            data.insert(key.to_owned(), BASE64_STANDARD.encode(value).into());
        }
        for pair in &self.from_file {
            let (key, path) = split(pair, "--from-file KEY=FILE")?;
            let value = std::fs::read(path)
                .map_err(|error| Failure::new(format!("cannot read {path}: {error}")))?;
            data.insert(key.to_owned(), BASE64_STANDARD.encode(value).into());
        }
        if data.is_empty() {
            return Err(Failure::usage(format!("the secret {name:?} has no values"))
                .hint("give some with --from-literal KEY=VALUE or --from-file KEY=FILE"));
        }
        Ok(json!({
            "kind": "Secret",
            "apiVersion": "v1",
            "metadata": {"name": name},
            "type": "Opaque",
            "data": data,
        }))
    }
}

fn split<'t>(pair: &'t str, form: &str) -> Outcome<(&'t str, &'t str)> {
    // The value is left out of the message: it may be the secret itself.
    pair.split_once('=')
        .filter(|(key, _)| !key.is_empty())
        .ok_or_else(|| Failure::usage(format!("expected {form}")))
}

fn manifest(file: &str) -> Outcome<Value> {
    let text = match file {
        "-" => io::read_to_string(io::stdin())?,
        _ => std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?,
    };
    // JSON is YAML as well.
    let value: Value = serde_yaml_ng::from_str(&text)
        .map_err(|error| Failure::new(format!("{file} is no manifest: {error}")))?;
    match value.get("kind").and_then(Value::as_str) {
        Some("Secret") => Ok(value),
        Some(kind) => Err(Failure::new(format!("{file} describes a {kind}, not a Secret"))),
        None => Err(Failure::new(format!("{file} is no manifest: it has no kind"))),
    }
}
