//! `warm`.

mod wanted;

use std::io::IsTerminal as _;
use std::path::PathBuf;
use std::sync::Arc;

use crate::chunk::{Pace, Warming};
use crate::cli::mount::{Following, Prefetch, ServerSource, server_nodes};
use crate::cli::output::{bytes_bar, parse_size};
use crate::cli::prelude::*;
use crate::model::{Clock, SystemClock};
use crate::tree::Tree;
use crate::vfs::{Source as _, VfsError, Warmed, Warmth, warm};
use wanted::{Target, Wanted};

/// How large a cache directory may grow that no mount tells of.
const CACHE_SIZE: u64 = 20 << 30;

/// Fetch files into the cache of mounts before they are read
///
/// Of a mounted directory: into the cache directory of that mount, which finds
/// it there. Of a repo: into --cache, for mounts that are given the same.
/// What is there already is not fetched again.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  pfs warm /pfs/images/train
  pfs warm images@master:/train --cache /var/cache/pfs
  pfs warm images@master --prefetch '/**/*.npy' --cache /var/cache/pfs")]
pub struct Args {
    /// A directory of a mount, or what is to be fetched of a commit
    #[arg(value_name = "DIR|REPO[@REF[:PATH]]")]
    target: String,
    /// Where to keep it: what mounts are given as --cache
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// How large that directory may grow; unless given as large as the mount
    /// lets it, or 20GiB
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    cache_size: Option<u64>,
    /// How much memory to use
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_size)]
    memory: u64,
    /// What to fetch: all, meta (names and attributes), or a glob pattern
    #[arg(long, value_name = "WHAT", default_value = "all")]
    prefetch: Prefetch,
}

impl Args {
    /// Fetches.
    pub async fn run(self, cx: &Context) -> Outcome {
        let Prefetch::Some(warmth) = self.prefetch.clone() else { return Ok(()) };
        let wanted = Wanted::parse(&self.target, &cx.project_name()?)?;
        let named = self.cache.clone().map(|dir| (dir, CACHE_SIZE));
        let (cache, budget) = named.or(wanted.cache).ok_or_else(|| {
            Failure::usage("there is no cache to warm")
                .hint("name the directory with --cache DIR, and mount with the same")
        })?;
        let (cache, budget) = (std::path::absolute(cache)?, self.cache_size.unwrap_or(budget));
        let client = match wanted.address {
            Some(address) => api::client::connect(&address)
                .await
                .map_err(|error| Failure::new(error.to_string()))?,
            None => cx.client().await?.clone(),
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let kept = Some((cache.as_path(), budget));
        let nodes = server_nodes(&client, kept, self.memory, Arc::clone(&clock)).await?;
        let source = Following(ServerSource::new(client, nodes, clock, String::new()).await?);
        let warming = Warming::new(Pace::Full);
        for target in wanted.targets {
            let warmed = warm_target(&source, &target, (&warmth, &warming)).await?;
            cx.notice(&said(&target, &warmed));
            if warmed.stats.full {
                let (dir, most) = (cache.display(), size(budget));
                let what = format!("{dir} is full: not everything fits into {most}");
                return Err(Failure::new(what).hint("let it grow with --cache-size"));
            }
        }
        Ok(())
    }
}

async fn warm_target(
    source: &Following,
    target: &Target,
    (warmth, warming): (&Warmth, &Warming),
) -> Outcome<Warmed> {
    let failed = |error: VfsError| Failure::new(format!("{target}: {error}"));
    let Target { repo, reference, path } = target;
    let found = source.resolve(repo, reference.as_ref()).await.map_err(failed)?;
    let Some(commit) = found else { return Ok(Warmed::default()) };
    let tree = Tree::new(source.nodes(), commit.root);
    let totals = tree.totals(path).await.map_err(|error| failed(error.into()))?;
    let Some(totals) = totals else {
        return Err(
            Failure::new(format!("{target}: not found")).hint(format!("see: pfs list file {repo}"))
        );
    };
    let all = matches!(warmth, Warmth::Content(glob) if glob.is_root());
    let visible = std::io::stderr().is_terminal();
    let bar = bytes_bar("warming", all.then_some(totals.bytes), visible);
    let told = |warmed: &Warmed| bar.set_position(warmed.bytes);
    let warmed = warm(&tree, path, warmth, warming, &told).await;
    bar.finish_and_clear();
    warmed.map_err(failed)
}

/// What was done, for people.
fn said(target: &Target, warmed: &Warmed) -> String {
    let Warmed { entries, files, bytes, stats } = warmed;
    match files {
        0 => format!("{target}: {entries} entries"),
        _ => format!(
            "{target}: {entries} entries, {files} files of {}: {} fetched in {} requests, {} there",
            size(*bytes),
            size(stats.fetched),
            stats.requests,
            size(stats.there),
        ),
    }
}
