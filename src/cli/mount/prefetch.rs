//! What a mount fetches before anybody asks for it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::plan::MountPlan;
use super::source::{Following, ServerSource};
use crate::chunk::Pace;
use crate::cli::failure::{Failure, Outcome};
use crate::model::{Ref, Repo, TreePath};
use crate::pipeline::glob::{Glob, InvalidGlob};
use crate::tree::Tree;
use crate::vfs::{Source as _, VfsError, Warmth, warm};

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

/// Begins to fetch what `plan` wants of the heads as they are now. Reads of
/// programs go first; what goes wrong is logged, and met again by whoever
/// reads.
pub fn begin(plan: &MountPlan, source: &Arc<ServerSource>) {
    let Prefetch::Some(warmth) = plan.prefetch.clone() else { return };
    let named: Vec<_> =
        plan.repos.iter().map(|repo| (repo.repo.clone(), repo.reference.clone())).collect();
    let source = Following(Arc::clone(source));
    tokio::spawn(async move {
        if let Err(error) = fetch(&source, named, &warmth).await {
            tracing::warn!(%error, "not everything could be fetched ahead");
        }
    });
}

async fn fetch(
    source: &Following,
    mut repos: Vec<(Repo, Option<Ref>)>,
    warmth: &Warmth,
) -> Result<(), VfsError> {
    if repos.is_empty() {
        repos = source.heads().await?.into_iter().map(|(repo, _)| (repo, None)).collect();
    }
    for (repo, reference) in repos {
        let Some(commit) = source.resolve(&repo, reference.as_ref()).await? else { continue };
        let tree = Tree::new(source.nodes(), commit.root);
        let root = TreePath::root();
        let warmed = warm(&tree, &root, warmth, Pace::Background, &|_| {}).await?;
        tracing::info!(%repo, ?warmed, "fetched ahead");
        if warmed.stats.full {
            tracing::warn!("the cache directory is full: no more is fetched ahead");
            break;
        }
    }
    Ok(())
}
