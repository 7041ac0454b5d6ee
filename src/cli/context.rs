//! What a command knows besides its arguments: global flags, era, server.

use std::io;

use prost::{Message, Name};
use serde_json::Value;
use tokio::sync::OnceCell;

use super::config::Config;
use super::failure::{Failure, Outcome};
use super::grammar::Globals;
use super::output::{Cell, Encoding, Fields, Format, Sink, Table, ago, flat, rfc3339};
use crate::api::client::{Address, Client, Streaming, connect};
use crate::api::json::{Keys, to_json};
use crate::api::proto::pfs_v2 as pfs;
use crate::model::{
    BranchName, Clock, FileRef, ProjectName, Ref, Repo, RepoRef, SystemClock, Timestamp,
};

/// Whose grammar was typed; decides columns and spellings of the output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Era {
    /// `create-repo`, tables as of 1.7.
    Dash,
    /// `create repo`, tables as of 2.x.
    Native,
}

impl Era {
    fn keys(self) -> Keys {
        match self {
            Self::Dash => Keys::Camel,
            Self::Native => Keys::Snake,
        }
    }

    /// An entity in the shape and spelling of the era.
    pub fn json<M: Message + Name>(self, entity: &M) -> Value {
        match self {
            Self::Dash => flat(to_json(entity, self.keys())),
            Self::Native => to_json(entity, self.keys()),
        }
    }
}

/// What a command knows besides its arguments.
#[derive(Debug)]
pub struct Context {
    /// The flags every command takes.
    pub globals: Globals,
    /// Whose grammar was typed.
    pub era: Era,
    config: Config,
    client: OnceCell<Client>,
}

impl Context {
    /// For one command line.
    #[must_use]
    pub fn new(globals: Globals, era: Era, config: Config) -> Self {
        Self { globals, era, config, client: OnceCell::new() }
    }

    /// The settings of the user.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Where the server is: flag, environment, settings, default.
    pub fn address(&self) -> Outcome<Address> {
        let set = |name| std::env::var(name).ok().filter(|value: &String| !value.is_empty());
        let text = self.globals.address.clone();
        let text = text.or_else(|| set("PFS_ADDRESS")).or_else(|| set("PACHD_ADDRESS"));
        match text.or_else(|| self.config.address.clone()) {
            Some(text) => text.parse().map_err(|error| Failure::usage(format!("{error}"))),
            None => Address::from_env().map_err(|error| Failure::usage(error.to_string())),
        }
    }

    /// The server, connected to on first use.
    pub async fn client(&self) -> Outcome<&Client> {
        let open = || async {
            let address = self.address()?;
            let client = connect(&address).await.map_err(|error| {
                let said = error.to_string();
                let refused = said.contains("os error") || said.contains("timed out");
                let hint = match &address {
                    Address::Tls(place) if !refused => {
                        format!("a server without TLS is reached at grpc://{place}")
                    }
                    _ => super::failure::UNREACHABLE.to_owned(),
                };
                Failure::new(said).hint(hint)
            })?;
            let client = match self.globals.rpc_timeout {
                Some(timeout) => client.with_timeout(timeout),
                None => client,
            };
            Ok(match self.config.transaction {
                Some(id) => client.within(id),
                None => client,
            })
        };
        self.client.get_or_try_init(open).await
    }

    /// How JSON keys are spelled.
    #[must_use]
    pub fn keys(&self) -> Keys {
        self.era.keys()
    }

    /// Standard output.
    #[must_use]
    pub fn sink(&self) -> Sink {
        Sink::stdout(self.globals.no_color)
    }

    /// Prints one line.
    pub fn say(&self, line: &str) -> Outcome {
        let mut sink = self.sink();
        sink.line(line)?;
        Ok(sink.flush()?)
    }

    /// Tells the user something that is no result, on standard error.
    pub fn notice(&self, text: &str) {
        use std::io::Write as _;
        // Nobody is left to tell when standard error is gone.
        let _ = writeln!(anstream::stderr(), "{text}");
    }

    /// The project that unqualified names belong to.
    pub fn project_name(&self) -> Outcome<ProjectName> {
        match self.globals.project.as_ref().or(self.config.project.as_ref()) {
            Some(name) => Ok(name.parse()?),
            None => Ok(ProjectName::default_project()),
        }
    }

    /// The same, for a request.
    pub fn project(&self) -> Outcome<pfs::Project> {
        Ok(pfs::Project { name: self.project_name()?.to_string() })
    }

    /// `[project/]repo[.type]`.
    pub fn repo(&self, text: &str) -> Outcome<pfs::Repo> {
        match self.repo_ref(text)? {
            (repo, None) => Ok(repo),
            (_, Some(_)) => Err(Failure::usage(format!("{text:?} names a commit, not a repo"))
                .hint(format!("leave out {:?}", &text[text.find('@').unwrap_or(0)..]))),
        }
    }

    /// `[project/]repo[@ref]`.
    pub fn repo_ref(&self, text: &str) -> Outcome<(pfs::Repo, Option<pfs::Commit>)> {
        let RepoRef { repo, reference } = RepoRef::parse(text, &self.project_name()?)?;
        let repo = wire_repo(&repo);
        let commit = reference.map(|reference| wire_commit(&repo, &reference));
        Ok((repo, commit))
    }

    /// `repo@branch`.
    pub fn branch(&self, text: &str) -> Outcome<pfs::Branch> {
        let RepoRef { repo, reference } = RepoRef::parse(text, &self.project_name()?)?;
        let name = match &reference {
            None => BranchName::master(),
            Some(reference) => reference.as_branch().cloned().ok_or_else(|| {
                Failure::usage(format!("{text:?} names a commit where a branch is needed"))
            })?,
        };
        Ok(pfs::Branch { repo: Some(wire_repo(&repo)), name: name.to_string() })
    }

    /// `repo@ref`; `master` when there is no ref.
    pub fn commit(&self, text: &str) -> Outcome<pfs::Commit> {
        let (repo, commit) = self.repo_ref(text)?;
        Ok(commit.unwrap_or_else(|| wire_commit(&repo, &Ref::branch(BranchName::master()))))
    }

    /// `ref` within `repo`; `repo@ref` when it names that same repo.
    pub fn commit_of(&self, repo: &pfs::Repo, text: &str) -> Outcome<pfs::Commit> {
        if !text.contains('@') {
            return Ok(wire_commit(repo, &text.parse::<Ref>()?));
        }
        match self.commit(text)? {
            commit if commit.repo.as_ref() == Some(repo) => Ok(commit),
            _ => Err(Failure::usage(format!("{text:?} lies in another repo"))),
        }
    }

    /// `repo@ref:path`; the root when there is no path.
    pub fn file(&self, text: &str) -> Outcome<pfs::File> {
        let FileRef { repo, reference, path } = FileRef::parse(text, &self.project_name()?)?;
        let reference = reference.unwrap_or_else(|| Ref::branch(BranchName::master()));
        let commit = wire_commit(&wire_repo(&repo), &reference);
        let path = path.filter(|path| !path.is_empty()).unwrap_or_else(|| "/".to_owned());
        Ok(pfs::File { commit: Some(commit), path, datum: String::new() })
    }

    /// An age, or the timestamp where those are asked for; `-` for none.
    #[must_use]
    pub fn age(&self, format: &Format, time: Option<&prost_types::Timestamp>) -> String {
        self.when(format, time).unwrap_or_else(|| "-".to_owned())
    }

    /// An age, or the timestamp where those are asked for.
    #[must_use]
    pub fn when(&self, format: &Format, time: Option<&prost_types::Timestamp>) -> Option<String> {
        time.map(|time| match format.full_timestamps {
            true => rfc3339(time),
            false => ago(moment(time), SystemClock.now()),
        })
    }

    /// What the size of a repo is called.
    #[must_use]
    pub fn size_title(&self) -> &'static str {
        match self.era {
            Era::Dash => "Size",
            Era::Native => "Size of HEAD on Master",
        }
    }

    /// Prints one entity as text or encoded.
    pub fn print_one<M: Message + Name>(
        &self,
        format: &Format,
        entity: &M,
        text: impl FnOnce(Fields<'_>) -> io::Result<()>,
    ) -> Outcome {
        let mut sink = self.sink();
        match format.encoding() {
            Some(encoding) => encoding.write(&mut sink, &self.era.json(entity))?,
            None => text(Fields::new(&mut sink))?,
        }
        Ok(sink.flush()?)
    }

    /// Prints a stream of entities as a table or encoded.
    pub async fn print_all<M: Message + Name + Default + 'static>(
        &self,
        format: &Format,
        columns: &[&str],
        mut stream: Streaming<M>,
        row: impl Fn(&M) -> Vec<Cell>,
    ) -> Outcome {
        let mut printer = self.printer(format, columns);
        while let Some(entity) = stream.message().await? {
            printer.entity(&entity, || row(&entity))?;
        }
        printer.finish()
    }

    /// For entities that come one by one.
    #[must_use]
    pub fn printer(&self, format: &Format, columns: &[&str]) -> Printer {
        let sink = self.sink();
        let repeat = self.era == Era::Dash || sink.is_terminal();
        let table = Table::new(columns).repeat_header(repeat);
        Printer { sink, table, encoding: format.encoding(), era: self.era }
    }
}

/// Prints entities that come one by one.
#[derive(Debug)]
pub struct Printer {
    sink: Sink,
    table: Table,
    encoding: Option<Encoding>,
    era: Era,
}

impl Printer {
    /// Prints one more.
    pub fn entity<M: Message + Name>(
        &mut self,
        entity: &M,
        row: impl FnOnce() -> Vec<Cell>,
    ) -> Outcome {
        let era = self.era;
        self.value(|| era.json(entity), row)
    }

    /// Prints one more that is no message of the API.
    pub fn value(
        &mut self,
        json: impl FnOnce() -> Value,
        row: impl FnOnce() -> Vec<Cell>,
    ) -> Outcome {
        match self.encoding {
            Some(encoding) => encoding.write(&mut self.sink, &json())?,
            None => self.table.row(&mut self.sink, row())?,
        }
        Ok(())
    }

    /// Shows what was printed so far.
    pub fn flush(&mut self) -> Outcome {
        self.table.flush(&mut self.sink)?;
        Ok(self.sink.flush()?)
    }

    /// Shows the rest.
    pub fn finish(mut self) -> Outcome {
        if self.encoding.is_none() {
            self.table.finish(&mut self.sink)?;
        }
        Ok(self.sink.flush()?)
    }
}

/// Whether `text` is a full commit id.
#[must_use]
pub fn is_id(text: &str) -> bool {
    text.parse::<crate::model::CommitId>().is_ok()
}

/// Sizes travel as signed numbers; a negative one means none.
#[must_use]
pub fn unsigned(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

fn moment(time: &prost_types::Timestamp) -> Timestamp {
    Timestamp::from_parts(time.seconds, u32::try_from(time.nanos).unwrap_or(0))
}

fn wire_repo(repo: &Repo) -> pfs::Repo {
    pfs::Repo {
        name: repo.name.to_string(),
        r#type: repo.kind.as_str().to_owned(),
        project: Some(pfs::Project { name: repo.project.to_string() }),
    }
}

/// A plain branch travels as one; whatever may be (part of) an id, and steps
/// from it, travel as text that the server resolves.
fn wire_commit(repo: &pfs::Repo, reference: &Ref) -> pfs::Commit {
    let branch = reference.as_branch().filter(|name| !may_be_id(name.as_str()));
    match branch {
        Some(name) => pfs::Commit {
            repo: Some(repo.clone()),
            id: String::new(),
            branch: Some(pfs::Branch { repo: Some(repo.clone()), name: name.to_string() }),
        },
        None => pfs::Commit { repo: Some(repo.clone()), id: reference.to_string(), branch: None },
    }
}

/// Whether `name` may be the first digits of a commit's id.
#[must_use]
pub fn may_be_id(name: &str) -> bool {
    name.len() >= 8 && name.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}
