//! `create pipeline`, `update pipeline`.

use std::io;

use serde_json::{Value, json};

use crate::api::client::Status;
use crate::api::proto::transaction_v2::{DeleteTransactionRequest, StartTransactionRequest};
use crate::cli::file::{fetch_text, is_url};
use crate::cli::prelude::*;
use crate::model::{CommitId, ProjectName};
use crate::pipeline::spec::{Parsed, parse};

/// Create pipelines from their specs
///
/// A file may hold several specs, as JSON or YAML. All are checked before the
/// first pipeline is created: when one is refused none is.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs create pipeline -f train.json
  pfs create pipeline -f all.yaml --dry-run")]
pub struct Create {
    #[command(flatten)]
    spec: SpecArgs,
    /// Run every datum again that was processed by earlier versions
    #[arg(long, hide = true)]
    reprocess: bool,
}

/// Update pipelines to new specs
///
/// A pipeline that is not there yet is created. Datums whose inputs have not
/// changed are not run again, even when the program has, unless --reprocess
/// is given.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs update pipeline -f train.json
  pfs update pipeline -f train.json --reprocess")]
pub struct Update {
    #[command(flatten)]
    spec: SpecArgs,
    /// Run every datum again, also those whose inputs have not changed
    #[arg(long)]
    reprocess: bool,
}

/// Where specs come from, and flags about images that change nothing here.
#[derive(Debug, clap::Args)]
pub struct SpecArgs {
    /// The spec: a file, a URL, or '-' for standard input; may be repeated
    #[arg(short, long = "file", value_name = "FILE", default_value = "-")]
    #[arg(hide_default_value = true)]
    files: Vec<String>,
    /// Check the specs, change nothing, and print what would be used
    #[arg(long)]
    dry_run: bool,
    /// Accepted; images are not pushed
    #[arg(short, long, hide = true)]
    push_images: bool,
    /// Accepted; images are not pushed
    #[arg(short, long, value_name = "REGISTRY", hide = true)]
    registry: Option<String>,
    /// Accepted; images are not pushed
    #[arg(short, long, value_name = "USER", hide = true)]
    username: Option<String>,
    /// Accepted; images are not pushed
    #[arg(long, value_name = "PASSWORD", hide = true)]
    password: Option<String>,
}

impl Create {
    /// Creates every pipeline.
    pub async fn run(self, cx: &Context) -> Outcome {
        self.spec.run(cx, false, self.reprocess).await
    }
}

impl Update {
    /// Updates every pipeline.
    pub async fn run(self, cx: &Context) -> Outcome {
        self.spec.run(cx, true, self.reprocess).await
    }
}

impl SpecArgs {
    async fn run(self, cx: &Context, update: bool, reprocess: bool) -> Outcome {
        if self.push_images {
            cx.notice("notice: images are not pushed; push them to their registry yourself");
        }
        let mut specs = Vec::new();
        for file in &self.files {
            let name = called(file);
            let asked = |parsed| Asked::new(name, parsed, update, reprocess);
            specs.extend(read(cx, file).await?.into_iter().map(asked));
        }
        // In a transaction under way each sees those before it anyway.
        if let ([_, _, ..], None) = (specs.as_slice(), cx.config().transaction) {
            let effective = rehearsed(cx, &specs).await?;
            if self.dry_run {
                return effective.iter().try_for_each(|spec| cx.say(spec));
            }
        }
        one_by_one(cx, &specs, self.dry_run).await
    }
}

/// A pipeline that is asked for, and where its spec is.
#[derive(Debug)]
pub struct Asked {
    place: String,
    request: pps::CreatePipelineV2Request,
}

impl Asked {
    /// By a spec in `file`.
    #[must_use]
    pub fn new(file: &str, parsed: Parsed, update: bool, reprocess: bool) -> Self {
        let Parsed { spec, at, written, .. } = parsed;
        let update = update || spec.update;
        let request = pps::CreatePipelineV2Request {
            create_pipeline_request_json: within(written, &spec.project).to_string(),
            dry_run: false,
            update,
            reprocess: update && (reprocess || spec.reprocess),
        };
        Self { place: format!("{file}:{at}: pipeline {}", spec.name), request }
    }

    /// A refusal with its place.
    fn refused(&self, status: Status) -> Failure {
        Failure::from(status).context(&self.place)
    }
}

/// Creates or updates one pipeline after the other, or only checks them.
pub async fn one_by_one(cx: &Context, specs: &[Asked], dry_run: bool) -> Outcome {
    for asked in specs {
        let request = pps::CreatePipelineV2Request { dry_run, ..asked.request.clone() };
        let answer = cx.client().await?.pps().create_pipeline_v2(request).await;
        let answer = answer.map_err(|status| asked.refused(status))?.into_inner();
        if dry_run {
            cx.say(&answer.effective_create_pipeline_request_json)?;
        }
    }
    Ok(())
}

/// Checks pipelines each of which may read what those before it write: within
/// a transaction that is then given up. Answers what would be used.
async fn rehearsed(cx: &Context, specs: &[Asked]) -> Outcome<Vec<String>> {
    let client = cx.client().await?;
    let mut transactions = client.transactions();
    let started = transactions.start_transaction(StartTransactionRequest {}).await?;
    let transaction = started.into_inner();
    let id: CommitId = transaction.id.parse().map_err(|error| Failure::new(format!("{error}")))?;
    let mut pps = client.clone().within(id).pps();
    let (mut effective, mut refused) = (Vec::with_capacity(specs.len()), None);
    for asked in specs {
        match pps.create_pipeline_v2(asked.request.clone()).await {
            Ok(answer) => {
                effective.push(answer.into_inner().effective_create_pipeline_request_json);
            }
            Err(status) => {
                refused = Some(asked.refused(status));
                break;
            }
        }
    }
    let forgotten = DeleteTransactionRequest { transaction: Some(transaction) };
    transactions.delete_transaction(forgotten).await?;
    refused.map_or(Ok(effective), Err)
}

fn called(file: &str) -> &str {
    if file == "-" { "standard input" } else { file }
}

/// The spec as it was written, and the project where it names none.
pub fn within(mut written: Value, project: &ProjectName) -> Value {
    if let Some(pipeline) = written.get_mut("pipeline").and_then(Value::as_object_mut) {
        pipeline.entry("project").or_insert_with(|| json!({"name": project.to_string()}));
    }
    written
}

/// The specs in a file, behind a URL or on standard input; tells what the
/// author should know about them.
pub async fn read(cx: &Context, file: &str) -> Outcome<Vec<Parsed>> {
    let text = match file {
        "-" => io::read_to_string(io::stdin())?,
        _ if is_url(file) => fetch_text(file).await?,
        _ => std::fs::read_to_string(file)
            .map_err(|error| Failure::new(format!("cannot read {file}: {error}")))?,
    };
    specs(cx, called(file), &text)
}

/// The specs in `text`.
pub fn specs(cx: &Context, name: &str, text: &str) -> Outcome<Vec<Parsed>> {
    let specs = parse(name, text, &cx.project_name()?).map_err(|error| {
        let failure = Failure::new(error.to_string());
        match error.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    })?;
    for notice in specs.iter().flat_map(|parsed| &parsed.notices) {
        cx.notice(&format!("notice: {name}:{}: {}", notice.at, notice.message));
    }
    Ok(specs)
}
