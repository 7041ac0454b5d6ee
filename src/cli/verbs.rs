//! The nouns of each verb.

use clap::Subcommand;

use super::prelude::*;
use super::{
    branch, cluster, commit, datum, defaults, delete_all, file, job, pipeline, project, repo,
    secret, transaction,
};

/// A verb, its nouns, and what each does.
macro_rules! verb {
    (
        $(#[$doc:meta])*
        $verb:ident { $($noun:ident, $plural:literal $(| $alias:literal)*, $args:ty, $run:ident $(, $flag:literal)?;)+ }
    ) => {
        $(#[$doc])*
        #[derive(Debug, Subcommand)]
        pub enum $verb {
            $(
                #[command(alias = $plural $(, alias = $alias)*)]
                #[allow(missing_docs, reason = "the noun says it")]
                $noun($args),
            )+
        }

        impl $verb {
            /// Does it.
            pub async fn run(self, cx: &Context) -> Outcome {
                match self {
                    $(Self::$noun(args) => args.$run(cx $(, $flag)?).await,)+
                }
            }
        }
    };
}

verb!(
    /// What can be created.
    Create {
        Project, "projects", project::create::Args, run, false;
        Repo, "repos", repo::create::Args, run, false;
        Branch, "branches", branch::create::Args, run;
        Pipeline, "pipelines", pipeline::create::Create, run;
        Secret, "secrets", secret::create::Args, run;
        Defaults, "default", defaults::set::Args, run;
    }
);

verb!(
    /// What can be changed.
    Update {
        Project, "projects", project::create::Args, run, true;
        Repo, "repos", repo::create::Args, run, true;
        Branch, "branches", branch::create::Args, run;
        Pipeline, "pipelines", pipeline::create::Update, run;
        Defaults, "default", defaults::set::Args, run;
    }
);

verb!(
    /// What can be shown in full.
    Inspect {
        Project, "projects", project::inspect::Args, run;
        Repo, "repos", repo::inspect::Args, run;
        Branch, "branches", branch::inspect::Args, run;
        Commit, "commits", commit::inspect::Args, run;
        File, "files", file::inspect::Args, run;
        Pipeline, "pipelines", pipeline::inspect::Args, run;
        Job, "jobs", job::inspect::Args, run;
        Datum, "datums", datum::inspect::Args, run;
        Secret, "secrets", secret::inspect::Args, run;
        Transaction, "transactions", transaction::inspect::Args, run;
        Defaults, "default", defaults::inspect::Args, run;
        Cluster, "clusters", cluster::Inspect, run;
    }
);

verb!(
    /// What can be listed.
    List {
        Project, "projects", project::list::Args, run;
        Repo, "repos", repo::list::Args, run;
        Branch, "branches", branch::list::Args, run;
        Commit, "commits", commit::list::Args, run;
        File, "files", file::list::Args, run;
        Pipeline, "pipelines", pipeline::list::Args, run;
        Job, "jobs", job::list::Args, run;
        Datum, "datums", datum::list::Args, run;
        Secret, "secrets", secret::list::Args, run;
        Transaction, "transactions", transaction::list::Args, run;
    }
);

verb!(
    /// What can be deleted.
    Delete {
        All, "everything", delete_all::Args, run;
        Project, "projects", project::delete::Args, run;
        Repo, "repos", repo::delete::Args, run;
        Branch, "branches", branch::delete::Args, run;
        Commit, "commits" | "commitV2", commit::delete::Args, run;
        File, "files", file::delete::Args, run;
        Pipeline, "pipelines", pipeline::delete::Args, run;
        Job, "jobs", job::delete::Args, run;
        Secret, "secrets", secret::delete::Args, run;
        Transaction, "transactions", transaction::delete::Args, run;
        Defaults, "default", defaults::delete::Args, run;
    }
);

verb!(
    /// What can be started.
    Start {
        Commit, "commits", commit::start::Args, run;
        Pipeline, "pipelines", pipeline::start::Args, run;
        Transaction, "transactions", transaction::start::Args, run;
    }
);

verb!(
    /// What can be finished.
    Finish {
        Commit, "commits", commit::finish::Args, run;
        Transaction, "transactions", transaction::finish::Args, run;
    }
);

verb!(
    /// What can be stopped.
    Stop {
        Pipeline, "pipelines", pipeline::stop::Args, run;
        Job, "jobs", job::stop::Args, run;
        Transaction, "transactions", transaction::stop::Args, run;
    }
);

verb!(
    /// What can be taken up again.
    Resume {
        Transaction, "transactions", transaction::resume::Args, run;
    }
);

verb!(
    /// What can be put.
    Put {
        File, "files", file::put::Args, run;
    }
);

verb!(
    /// What can be got.
    Get {
        File, "files", file::get::Args, run;
    }
);

verb!(
    /// What can be copied.
    Copy {
        File, "files", file::copy::Args, run;
    }
);

verb!(
    /// What can be found by pattern.
    Glob {
        File, "files", file::glob::Args, run;
    }
);

verb!(
    /// What can be compared.
    Diff {
        File, "files", file::diff::Args, run;
    }
);

verb!(
    /// What can be waited for.
    Wait {
        Commit, "commits", commit::wait::Args, wait;
        Job, "jobs", job::wait::Args, wait;
    }
);

verb!(
    /// What can be waited for with all that follows.
    Flush {
        Commit, "commits", commit::wait::Args, flush;
        Job, "jobs", job::wait::Args, flush;
    }
);

verb!(
    /// What can be watched.
    Subscribe {
        Commit, "commits", commit::subscribe::Args, run;
    }
);

verb!(
    /// What can be squashed.
    Squash {
        Commit, "commits" | "commitV2", commit::squash::Args, run;
    }
);

verb!(
    /// What can be found.
    Find {
        Commit, "commits", commit::find::Args, run;
    }
);

verb!(
    /// What can be edited.
    Edit {
        Pipeline, "pipelines", pipeline::edit::Args, run;
    }
);

verb!(
    /// What can be extracted.
    Extract {
        Pipeline, "pipelines", pipeline::extract::Args, run;
    }
);

verb!(
    /// What can be validated.
    Validate {
        Pipeline, "pipelines", pipeline::validate::Args, run;
    }
);

verb!(
    /// What can be run.
    Run {
        Cron, "crons", pipeline::run::Cron, run;
        Pipeline, "pipelines", pipeline::run::Once, run;
    }
);

verb!(
    /// What can be checked.
    Check {
        Status, "statuses", pipeline::check::Args, run;
    }
);

verb!(
    /// What can be run again.
    Rerun {
        Pipeline, "pipelines", pipeline::run::Rerun, run;
    }
);

verb!(
    /// What can be restarted.
    Restart {
        Datum, "datums", datum::restart::Args, run;
    }
);
