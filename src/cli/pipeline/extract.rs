//! `extract pipeline`.

use serde_json::Value;

use super::fetch;
use crate::cli::output::Encoding;
use crate::cli::prelude::*;
use crate::pipeline::spec::KeyStyle;

/// Print the spec that a pipeline was made from
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  pfs extract pipeline train > train.json")]
pub struct Args {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
    /// Print it in this encoding
    #[arg(short, long, value_name = "ENCODING", default_value = "json")]
    output: Encoding,
}

impl Args {
    /// Prints the spec.
    pub async fn run(self, cx: &Context) -> Outcome {
        let text = spec_text(cx, &self.name, self.output).await?;
        let mut sink = cx.sink();
        sink.text(&text)?;
        Ok(sink.flush()?)
    }
}

/// The spec of a pipeline, laid out for people.
pub async fn spec_text(cx: &Context, name: &str, encoding: Encoding) -> Outcome<String> {
    let info = fetch(cx, name).await?;
    let invalid = |error: &dyn std::fmt::Display| {
        Failure::new(format!("the server sent a spec that cannot be read: {error}"))
    };
    // What somebody wrote may lean on defaults, and be in any spelling.
    let text = match cx.era {
        Era::Native if !info.user_spec_json.is_empty() => &info.user_spec_json,
        Era::Native | Era::Dash => &info.effective_spec_json,
    };
    let spec = match cx.era {
        Era::Native => serde_json::from_str(text).map_err(|error| invalid(&error))?,
        Era::Dash => {
            let spec = crate::pipeline::spec::PipelineSpec::from_json(text);
            spec.map_err(|error| invalid(&error))?.to_json(KeyStyle::Camel)
        }
    };
    layout(&spec, encoding).map_err(|error| invalid(&error))
}

fn layout(spec: &Value, encoding: Encoding) -> Result<String, String> {
    match encoding {
        Encoding::Json => serde_json::to_string_pretty(spec)
            .map(|text| text + "\n")
            .map_err(|error| error.to_string()),
        Encoding::Yaml => serde_yaml_ng::to_string(spec).map_err(|error| error.to_string()),
    }
}
