//! `list commit`.

use clap::ValueEnum;

use crate::cli::prelude::*;

/// Why a commit exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "UPPER")]
pub enum Origin {
    /// Written by a pipeline.
    Auto,
    /// Made by a user.
    User,
    /// Made by fsck.
    Fsck,
}

impl Origin {
    /// The origin as the API spells it.
    #[must_use]
    pub const fn kind(self) -> pfs::OriginKind {
        match self {
            Self::Auto => pfs::OriginKind::Auto,
            Self::User => pfs::OriginKind::User,
            Self::Fsck => pfs::OriginKind::Fsck,
        }
    }
}

/// List commits, newest first
///
/// Without an argument lists commit sets; with an id the commits of that set,
/// one per repo; with a repo or branch the commits there.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs list commit
  pfs list commit images@master -n 5
  pfs list commit 7f0f3c3a5ae14b0c9b4bd38a2d4b2f11")]
pub struct Args {
    /// A repo, a branch or commit to go back from, or the id of a commit set
    #[arg(value_name = "REPO[@REF]|ID")]
    of: Option<String>,
    /// Stop before this commit
    #[arg(short, long, value_name = "REF")]
    from: Option<String>,
    /// Show at most this many; 0 shows all
    #[arg(short, long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    number: i64,
    /// Show commits of every origin
    #[arg(long)]
    all: bool,
    /// Show commits of this origin
    #[arg(long, ignore_case = true)]
    origin: Option<Origin>,
    /// Show every commit of every set
    #[arg(short = 'x', long)]
    expand: bool,
    #[command(flatten)]
    format: Format,
}

impl Args {
    /// Prints a line per commit or set.
    pub async fn run(self, cx: &Context) -> Outcome {
        match self.of.as_deref() {
            None => self.sets(cx).await,
            Some(id) if is_id(id) => self.members(cx, id).await,
            // A repo may have such a name, too.
            Some(text) if may_be_id(text) && !is_repo(cx, text).await? => {
                self.members(cx, text).await
            }
            Some(text) => {
                let request = self.request(cx, text)?;
                let stream = cx.client().await?.pfs().list_commit(request).await?;
                self.commits(cx, stream.into_inner()).await
            }
        }
    }

    async fn members(&self, cx: &Context, id: &str) -> Outcome {
        let commit_set = Some(pfs::CommitSet { id: id.to_owned() });
        let request = pfs::InspectCommitSetRequest { commit_set, wait: false };
        let stream = cx.client().await?.pfs().inspect_commit_set(request).await?;
        self.commits(cx, stream.into_inner()).await
    }

    fn request(&self, cx: &Context, text: &str) -> Outcome<pfs::ListCommitRequest> {
        let (repo, to) = cx.repo_ref(text)?;
        let from = self.from.as_deref().map(|from| cx.commit_of(&repo, from)).transpose()?;
        Ok(pfs::ListCommitRequest {
            repo: Some(repo),
            from,
            to,
            number: self.number,
            all: self.all,
            origin_kind: self.origin.map_or(pfs::OriginKind::Unknown, Origin::kind).into(),
            ..Default::default()
        })
    }

    async fn commits(&self, cx: &Context, stream: Streaming<pfs::CommitInfo>) -> Outcome {
        let format = &self.format;
        cx.print_all(format, columns(cx), stream, |info| row(cx, format, info)).await
    }

    async fn sets(&self, cx: &Context) -> Outcome {
        let request = pfs::ListCommitSetRequest { project: Some(cx.project()?) };
        let mut stream = cx.client().await?.pfs().list_commit_set(request).await?.into_inner();
        let sets = ["ID", "SUBCOMMITS", "PROGRESS", "CREATED", "MODIFIED"];
        let mut printer = cx.printer(&self.format, if self.expand { columns(cx) } else { &sets });
        let mut left = if self.number > 0 { unsigned(self.number) } else { u64::MAX };
        while let (1.., Some(set)) = (left, stream.message().await?) {
            left -= 1;
            if self.expand {
                for info in &set.commits {
                    printer.entity(info, || row(cx, &self.format, info))?;
                }
            } else {
                printer.entity(&set, || set_row(cx, &self.format, &set))?;
            }
        }
        printer.finish()
    }
}

async fn is_repo(cx: &Context, name: &str) -> Outcome<bool> {
    let request = pfs::InspectRepoRequest { repo: Some(cx.repo(name)?) };
    match cx.client().await?.pfs().inspect_repo(request).await {
        Ok(_) => Ok(true),
        Err(status) if status.code() == Code::NotFound => Ok(false),
        Err(status) => Err(status.into()),
    }
}

fn set_row(cx: &Context, format: &Format, set: &pfs::CommitSetInfo) -> Vec<Cell> {
    let id = set.commit_set.as_ref().map_or("", |set| set.id.as_str());
    let done = set.commits.iter().filter(|info| info.finished.is_some()).count();
    let created = set.commits.iter().filter_map(|info| info.started.as_ref()).min_by_key(moment);
    let modified = set
        .commits
        .iter()
        .flat_map(|info| [info.finished.as_ref(), info.started.as_ref()])
        .flatten()
        .max_by_key(moment);
    vec![
        id.into(),
        set.commits.len().to_string().into(),
        show::bar(done, set.commits.len()).into(),
        cx.age(format, created).into(),
        cx.age(format, modified).into(),
    ]
}

/// For ordering moments.
fn moment(time: &&prost_types::Timestamp) -> (i64, i32) {
    (time.seconds, time.nanos)
}

/// The columns of a list of commits.
pub fn columns(cx: &Context) -> &'static [&'static str] {
    match cx.era {
        Era::Dash => &["REPO", "ID", "PARENT", "STARTED", "DURATION", "SIZE"],
        Era::Native => {
            &["PROJECT", "REPO", "COMMIT", "FINISHED", "SIZE", "ORIGIN", "CREATOR", "DESCRIPTION"]
        }
    }
}

/// One commit in a list.
pub fn row(cx: &Context, format: &Format, info: &pfs::CommitInfo) -> Vec<Cell> {
    let commit = info.commit.clone().unwrap_or_default();
    let repo = commit.repo.unwrap_or_default();
    match cx.era {
        Era::Dash => vec![
            show::dash_repo(&repo).into(),
            commit.id.into(),
            info.parent_commit.as_ref().map_or("<none>", |parent| &parent.id).into(),
            cx.age(format, info.started.as_ref()).into(),
            show::took(info.started.as_ref(), info.finished.as_ref()).into(),
            match info.finished {
                Some(_) => size_of(info).into(),
                None => "-".into(),
            },
        ],
        Era::Native => vec![
            repo.project.clone().unwrap_or_default().name.into(),
            show::typed_repo(&repo).into(),
            commit.id.into(),
            cx.age(format, info.finished.as_ref()).into(),
            size_of(info).into(),
            show::origin(info).into(),
            info.created_by.as_str().into(),
            info.description.as_str().into(),
        ],
    }
}

/// The size of a commit: exact when known, else its upper bound.
pub fn size_of(info: &pfs::CommitInfo) -> String {
    match &info.details {
        Some(details) => size(unsigned(details.size_bytes)),
        None if info.finished.is_none() && info.size_bytes_upper_bound == 0 => "-".to_owned(),
        None => format!("≤ {}", size(unsigned(info.size_bytes_upper_bound))),
    }
}
