//! What a mount fetches before anybody asks for it.

use std::collections::HashMap;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use tokio::task::JoinHandle;

use super::plan::MountPlan;
use super::source::{Following, ServerSource};
use crate::chunk::{Pace, Warming};
use crate::cli::failure::{Failure, Outcome};
use crate::model::{Ref, Repo, TreePath};
use crate::pipeline::glob::{Glob, InvalidGlob};
use crate::tree::{Root, Tree};
use crate::vfs::{Moved, Source as _, VfsError, Warmth, warm, warm_changes};

/// What is fetched ahead: `none`, `meta`, `all`, or what matches a pattern.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Prefetch {
    /// Nothing.
    #[default]
    None,
    /// What a [`Warmth`] says.
    Some(Warmth),
}

impl FromStr for Prefetch {
    type Err = InvalidGlob;

    fn from_str(text: &str) -> Result<Self, InvalidGlob> {
        Ok(match text {
            "none" => Self::None,
            "meta" => Self::Some(Warmth::Metadata),
            "all" => Self::Some(Warmth::Content(Glob::root())),
            glob => Self::Some(Warmth::Content(glob.parse()?)),
        })
    }
}

impl Prefetch {
    /// The same where what is shown is the directory `dir` of a repo: patterns
    /// are of paths in there.
    pub fn below(self, dir: &TreePath) -> Result<Self, InvalidGlob> {
        Ok(match self {
            Self::Some(Warmth::Content(glob)) => Self::Some(Warmth::Content(glob.below(dir)?)),
            Self::None | Self::Some(Warmth::Metadata) => self,
        })
    }
}

impl fmt::Display for Prefetch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Some(Warmth::Metadata) => f.write_str("meta"),
            Self::Some(Warmth::Content(glob)) if glob.is_root() => f.write_str("all"),
            Self::Some(Warmth::Content(glob)) => f.write_str(glob.as_str()),
        }
    }
}

/// Refuses to fetch content that could not be kept.
pub fn check(plan: &MountPlan) -> Outcome {
    match (&plan.prefetch, &plan.cache) {
        (Prefetch::Some(Warmth::Content(_)), None) => {
            Err(Failure::usage(format!("--prefetch {} needs a place to keep it", plan.prefetch))
                .hint("name a directory with --cache DIR"))
        }
        (Prefetch::None | Prefetch::Some(_), _) => Ok(()),
    }
}

/// How soon what could not be fetched is tried again, and how late at most.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_AT_MOST: Duration = Duration::from_secs(30);

/// Begins to fetch what `plan` wants, and goes on when heads move. Reads of
/// programs go first; what goes wrong is logged, and tried again.
pub fn begin(plan: &MountPlan, source: &Arc<ServerSource>) {
    let named: Vec<_> =
        plan.repos.iter().map(|repo| (repo.repo.clone(), repo.reference.clone())).collect();
    // For as long as this process runs.
    drop(fetch(plan.prefetch.clone(), (named, TreePath::root()), source));
}

/// The same for a directory of the repos `named`, or of all, until the task is
/// aborted.
pub fn fetch(
    prefetch: Prefetch,
    (named, dir): (Vec<(Repo, Option<Ref>)>, TreePath),
    source: &Arc<ServerSource>,
) -> Option<JoinHandle<()>> {
    let Prefetch::Some(warmth) = prefetch else { return None };
    let source = Following(Arc::clone(source));
    Some(tokio::spawn(async move {
        let mut fetching = Fetching { source, named, dir, warmth, done: HashMap::new() };
        // From before the first look on, so that nothing moves unnoticed.
        let mut moves = fetching.source.watch();
        let mut moved = Some(Moved::Everything);
        let mut pause = AGAIN;
        while let Some(what) = moved {
            match fetching.fetch(&what).await {
                Ok(()) => {}
                Err(error) => {
                    tracing::warn!(%error, "not everything could be fetched ahead; trying again");
                    // Whatever moves meanwhile, it may have been about anything.
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN_AT_MOST);
                    moved = Some(Moved::Everything);
                    continue;
                }
            }
            pause = AGAIN;
            moved = moves.next().await;
        }
    }))
}

/// What is to be fetched ahead, and what has been.
struct Fetching {
    source: Following,
    /// The repos to fetch, all heads of `master` when there is none.
    named: Vec<(Repo, Option<Ref>)>,
    /// What of each.
    dir: TreePath,
    warmth: Warmth,
    /// The trees that are here, as far as they fit.
    done: HashMap<(Repo, Option<String>), Root>,
}

impl Fetching {
    /// Fetches what is new in the repos that `moved` names. What goes wrong with
    /// one does not keep the others from being fetched.
    async fn fetch(&mut self, moved: &Moved) -> Result<(), VfsError> {
        let mut repos = self.named.clone();
        if repos.is_empty() {
            let heads = self.source.heads().await?;
            repos = heads.into_iter().map(|(repo, _)| (repo, None)).collect();
        }
        repos.retain(|(repo, _)| match moved {
            Moved::Head(moved) => moved == repo,
            Moved::Everything => true,
        });
        let (warming, mut outcome) = (Warming::new(Pace::Background), Ok(()));
        for (repo, reference) in repos {
            let fetched = self.fetch_one(&repo, reference.as_ref(), &warming).await;
            outcome = outcome.and(fetched);
        }
        outcome
    }

    async fn fetch_one(
        &mut self,
        repo: &Repo,
        reference: Option<&Ref>,
        warming: &Warming,
    ) -> Result<(), VfsError> {
        let commit = match self.source.resolve(repo, reference).await {
            Ok(Some(commit)) => commit,
            // One that comes moves the head.
            Ok(None) | Err(VfsError::NotFound) => return Ok(()),
            Err(error) => return Err(error),
        };
        let tree = Tree::new(self.source.nodes(), commit.root);
        let key = (repo.clone(), reference.map(ToString::to_string));
        let warmed = match self.done.get(&key) {
            Some(old) if old == tree.root() => return Ok(()),
            Some(old) => warm_changes((old, &tree), &self.dir, &self.warmth, warming).await?,
            None => warm(&tree, &self.dir, &self.warmth, warming, &|_| {}).await?,
        };
        tracing::info!(%repo, ?warmed, "fetched ahead");
        if warmed.stats.full {
            // What changes from here on takes the place of what is older.
            tracing::warn!(%repo, "not everything fits into the cache directory");
        }
        self.done.insert(key, *tree.root());
        Ok(())
    }
}
