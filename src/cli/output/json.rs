//! JSON and YAML output, one object per entity.

use std::io;

use clap::{Args, ValueEnum};
use serde_json::Value;

use super::Sink;

/// How machine-readable output is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Encoding {
    /// One JSON object per line.
    Json,
    /// One YAML document per entity.
    Yaml,
}

/// The output flags most commands take.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct Format {
    /// Print JSON, one object per entity, instead of a table
    #[arg(long)]
    pub raw: bool,
    /// Print entities in this encoding
    #[arg(short = 'o', long, value_name = "ENCODING")]
    pub output: Option<Encoding>,
    /// Print moments as RFC 3339 timestamps instead of ages
    #[arg(long)]
    pub full_timestamps: bool,
}

impl Format {
    /// The encoding asked for; `None` means text for people.
    #[must_use]
    pub fn encoding(&self) -> Option<Encoding> {
        self.output.or(self.raw.then_some(Encoding::Json))
    }
}

impl Encoding {
    /// Writes one entity.
    pub fn write(self, sink: &mut Sink, value: &Value) -> io::Result<()> {
        match self {
            Self::Json => sink.line(&value.to_string()),
            Self::Yaml => {
                let text = serde_yaml_ng::to_string(value).map_err(io::Error::other)?;
                sink.line("---")?;
                sink.text(&text)
            }
        }
    }
}

/// A moment in RFC 3339, UTC.
#[must_use]
pub fn rfc3339(time: &prost_types::Timestamp) -> String {
    match jiff::Timestamp::new(time.seconds, time.nanos) {
        Ok(time) => time.to_string(),
        Err(_) => format!("{}.{:09}", time.seconds, time.nanos),
    }
}

/// An entity in the shape of 1.7: what is now in `details` stood beside the
/// rest, and a job beside its pipeline.
#[must_use]
pub fn flat(mut entity: Value) -> Value {
    let Some(fields) = entity.as_object_mut() else { return entity };
    if let Some(Value::Object(details)) = fields.remove("details") {
        fields.extend(details);
    }
    let pipeline = fields.get_mut("job").and_then(|job| job.as_object_mut()?.remove("pipeline"));
    if let Some(pipeline) = pipeline {
        fields.insert("pipeline".to_owned(), pipeline);
    }
    entity
}
