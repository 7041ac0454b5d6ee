//! `edit pipeline`.

use std::env;
use std::fs;
use std::path::PathBuf;

use tokio::process::Command;

use super::create::{Asked, one_by_one, specs};
use super::extract::spec_text;
use crate::cli::output::Encoding;
use crate::cli::prelude::*;

/// Change the spec of a pipeline in an editor
#[derive(Debug, clap::Args)]
#[command(after_help = "Example:\n  EDITOR=nano pfs edit pipeline train")]
pub struct Args {
    /// The pipeline
    #[arg(value_name = "PIPELINE")]
    name: String,
    /// The editor, with its arguments; else $VISUAL, $EDITOR or vi
    #[arg(long, value_name = "COMMAND")]
    editor: Option<String>,
    /// Edit it in this encoding
    #[arg(short, long, value_name = "ENCODING", default_value = "json")]
    output: Encoding,
    /// Run every datum again, also those whose inputs have not changed
    #[arg(long)]
    reprocess: bool,
}

impl Args {
    /// Updates the pipeline when the editor has changed anything.
    pub async fn run(self, cx: &Context) -> Outcome {
        let before = spec_text(cx, &self.name, self.output).await?;
        let file = Draft::new(&self.name, self.output, &before)?;
        self.edit(&file).await?;
        let after = fs::read_to_string(&file.path)?;
        if after == before {
            cx.notice("notice: nothing changed");
            return Ok(());
        }
        let edited = specs(cx, &file.path.display().to_string(), &after);
        let name = file.path.display().to_string();
        let asked = |parsed| Asked::new(&name, parsed, true, self.reprocess);
        let edited = edited.map_err(|failure| file.keep(failure))?;
        let edited: Vec<_> = edited.into_iter().map(asked).collect();
        let done = one_by_one(cx, &edited, false).await;
        done.map_err(|failure| file.keep(failure))?;
        file.discard();
        Ok(())
    }

    async fn edit(&self, file: &Draft) -> Outcome {
        let set = |name| env::var(name).ok().filter(|value: &String| !value.is_empty());
        let editor = self.editor.clone().or_else(|| set("VISUAL")).or_else(|| set("EDITOR"));
        let editor = editor.unwrap_or_else(|| "vi".to_owned());
        let mut words = editor.split_whitespace();
        let program = words.next().ok_or_else(|| Failure::usage("--editor is empty"))?;
        let status = Command::new(program).args(words).arg(&file.path).status().await;
        match status {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(Failure::new(format!("{program:?} ended with {status}"))),
            Err(error) => Err(Failure::new(format!("cannot run {program:?}: {error}"))
                .hint("name another editor with --editor or EDITOR")),
        }
    }
}

/// The text being edited.
struct Draft {
    path: PathBuf,
}

impl Draft {
    fn new(name: &str, encoding: Encoding, text: &str) -> Outcome<Self> {
        let suffix = match encoding {
            Encoding::Json => "json",
            Encoding::Yaml => "yaml",
        };
        let name = name.replace('/', ".");
        let file = format!("pfs-{name}-{}.{suffix}", std::process::id());
        let path = env::temp_dir().join(file);
        fs::write(&path, text)?;
        Ok(Self { path })
    }

    /// Work is not thrown away because it has a mistake.
    fn keep(&self, failure: Failure) -> Failure {
        let place = self.path.display();
        match failure.hint.clone() {
            Some(hint) => failure.hint(format!("{hint}; your text is in {place}")),
            None => failure.hint(format!("your text is in {place}")),
        }
    }

    fn discard(self) {
        // A file for temporary use that nobody needs any more.
        let _ = fs::remove_file(self.path);
    }
}
