//! Names and short forms of things as tables show them.

use crate::api::proto::{pfs_v2 as pfs, pps_v2 as pps};
use crate::cli::failure::{Failure, Outcome};
use crate::cli::output::span;

/// `project/` in front of a name, unless it is the default project.
fn qualified(project: Option<&pfs::Project>, name: &str) -> String {
    match project.map(|project| project.name.as_str()) {
        None | Some("" | "default") => name.to_owned(),
        Some(project) => format!("{project}/{name}"),
    }
}

/// `repo`, with its type unless that is `user`.
pub fn typed_repo(repo: &pfs::Repo) -> String {
    match repo.r#type.as_str() {
        "" | "user" => repo.name.clone(),
        kind => format!("{}.{kind}", repo.name),
    }
}

/// `[project/]repo[.type]`.
pub fn repo(repo: &pfs::Repo) -> String {
    qualified(repo.project.as_ref(), &typed_repo(repo))
}

/// A repo as the dash commands name it: all specs live in `__spec__`.
pub fn dash_repo(repo: &pfs::Repo) -> String {
    match repo.r#type.as_str() {
        "spec" => "__spec__".to_owned(),
        _ => typed_repo(repo),
    }
}

/// `repo@branch`.
pub fn branch(branch: &pfs::Branch) -> String {
    format!("{}@{}", repo(&branch.repo.clone().unwrap_or_default()), branch.name)
}

/// `repo@id`.
pub fn commit(commit: &pfs::Commit) -> String {
    format!("{}@{}", repo(&commit.repo.clone().unwrap_or_default()), commit.id)
}

/// `repo/id`, as the dash commands write it.
pub fn dash_commit(commit: &pfs::Commit) -> String {
    format!("{}/{}", dash_repo(&commit.repo.clone().unwrap_or_default()), commit.id)
}

/// `[project/]pipeline`.
pub fn pipeline(pipeline: &pps::Pipeline) -> String {
    qualified(pipeline.project.as_ref(), &pipeline.name)
}

/// `pipeline@job`.
pub fn job(job: &pps::Job) -> String {
    format!("{}@{}", pipeline(&job.pipeline.clone().unwrap_or_default()), job.id)
}

/// Why a commit exists.
pub fn origin(info: &pfs::CommitInfo) -> &'static str {
    let kind = info.origin.as_ref().map_or(0, |origin| origin.kind);
    match pfs::OriginKind::try_from(kind) {
        Ok(pfs::OriginKind::Unknown) | Err(_) => "-",
        Ok(kind) => kind.as_str_name(),
    }
}

/// `branch on condition or condition`.
pub fn trigger(trigger: &pfs::Trigger) -> String {
    let named = |name: &str, value: &str| (!value.is_empty()).then(|| format!("{name}({value})"));
    let commits = (trigger.commits > 0).then(|| format!("Commits({})", trigger.commits));
    let all = [
        named("Cron", &trigger.cron_spec),
        named("RateLimit", &trigger.rate_limit_spec),
        named("Size", &trigger.size),
        commits,
    ];
    let conditions: Vec<_> = all.into_iter().flatten().collect();
    let between = if trigger.all { " and " } else { " or " };
    format!("{} on {}", trigger.branch, conditions.join(between))
}

/// How long it took, or `-` while it goes on.
pub fn took(from: Option<&prost_types::Timestamp>, to: Option<&prost_types::Timestamp>) -> String {
    match (from, to) {
        (Some(from), Some(to)) => {
            let whole = to.seconds - from.seconds - i64::from(to.nanos < from.nanos);
            span(u64::try_from(whole).unwrap_or(0))
        }
        _ => "-".to_owned(),
    }
}

/// A bar of eight cells, filled as far as things are done.
pub fn bar(done: usize, total: usize) -> String {
    const CELLS: usize = 8;
    let filled = (done * CELLS).checked_div(total).unwrap_or(CELLS);
    format!("{}{}", "▇".repeat(filled), "-".repeat(CELLS - filled))
}

/// The state word of a job.
pub fn job_state(state: i32) -> &'static str {
    use pps::JobState as S;
    match S::try_from(state).unwrap_or(S::Unknown) {
        S::Unknown => "-",
        S::JobCreated => "created",
        S::JobStarting => "starting",
        S::JobRunning => "running",
        S::JobFailure => "failure",
        S::JobSuccess => "success",
        S::JobKilled => "killed",
        S::JobEgressing => "egressing",
        S::JobFinishing => "finishing",
        S::JobUnrunnable => "unrunnable",
    }
}

/// Refuses words that are no state, by the words that are.
pub fn check_states<'w>(typed: &[String], known: impl Iterator<Item = &'w str> + Clone) -> Outcome {
    match typed.iter().find(|word| !known.clone().any(|known| known == *word)) {
        None => Ok(()),
        Some(word) => {
            let known: Vec<_> = known.filter(|known| *known != "-").collect();
            Err(Failure::usage(format!("there is no state {word:?}"))
                .hint(format!("the states are {}", known.join(", "))))
        }
    }
}

/// The state words of jobs.
pub fn job_states() -> impl Iterator<Item = &'static str> + Clone {
    (0..=i32::from(u8::MAX)).filter(|n| pps::JobState::try_from(*n).is_ok()).map(job_state)
}

/// The state words of pipelines.
pub fn pipeline_states() -> impl Iterator<Item = &'static str> + Clone {
    let known = |n: &i32| pps::PipelineState::try_from(*n).is_ok();
    (0..=i32::from(u8::MAX)).filter(known).map(pipeline_state)
}

/// The state word of a job as the dash commands know it.
pub fn dash_job_state(state: i32) -> &'static str {
    match job_state(state) {
        "created" => "starting",
        "finishing" | "egressing" => "running",
        "unrunnable" => "failure",
        word => word,
    }
}

/// The state word of a pipeline.
pub fn pipeline_state(state: i32) -> &'static str {
    use pps::PipelineState as S;
    match S::try_from(state).unwrap_or(S::Unknown) {
        S::Unknown => "-",
        S::PipelineStarting => "starting",
        S::PipelineRunning => "running",
        S::PipelineRestarting => "restarting",
        S::PipelineFailure => "failure",
        S::PipelinePaused => "paused",
        S::PipelineStandby => "standby",
        S::PipelineCrashing => "crashing",
    }
}

/// The state word of a datum.
pub fn datum_state(state: i32) -> &'static str {
    use pps::DatumState as S;
    match S::try_from(state).unwrap_or(S::Unknown) {
        S::Unknown => "-",
        S::Failed => "failed",
        S::Success => "success",
        S::Skipped => "skipped",
        S::Starting => "starting",
        S::Recovered => "recovered",
    }
}

/// What a pipeline reads: `repo:glob`, `(a ⨯ b)`, `(a ∪ b)`, `name:cron`.
pub fn input(input: Option<&pps::Input>) -> String {
    let Some(input) = input else { return "none".to_owned() };
    let group = |inputs: &[pps::Input], sign: &str| {
        let parts: Vec<_> = inputs.iter().map(|part| self::input(Some(part))).collect();
        parts.join(sign)
    };
    match input {
        pps::Input { pfs: Some(pfs), .. } => format!("{}:{}", pfs.repo, pfs.glob),
        pps::Input { cron: Some(cron), .. } => format!("{}:{}", cron.name, cron.spec),
        _ if !input.cross.is_empty() => format!("({})", group(&input.cross, " ⨯ ")),
        _ if !input.union.is_empty() => format!("({})", group(&input.union, " ∪ ")),
        _ if !input.join.is_empty() => format!("({})", group(&input.join, " ⋈ ")),
        _ if !input.group.is_empty() => format!("(Group: {})", group(&input.group, ", ")),
        _ => "none".to_owned(),
    }
}

/// `processed + skipped / total`, with recovered ones where there are any.
pub fn progress(info: &pps::JobInfo) -> String {
    let recovered = match info.data_recovered {
        0 => String::new(),
        n => format!(" + {n}"),
    };
    format!("{} + {}{recovered} / {}", info.data_processed, info.data_skipped, info.data_total)
}
