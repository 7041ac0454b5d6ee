//! Checking what is stored.

use tokio::sync::mpsc;
use tokio_stream::wrappers::UnboundedReceiverStream;
use tonic::Code;
use tonic::codegen::BoxStream;

use super::Native;
use crate::api::proto::pfs_v1 as pb;
use crate::api::service::Services;
use crate::api::status::{Result, refused, with_hint};
use crate::model::Timestamp;
use crate::repo::{Fsck, FsckSummary, Problem};

/// A commit object this old, in nanoseconds, belongs to no write under way.
const SETTLED: i64 = 600 * 1_000_000_000;

/// One finding: a problem, or the sum at the end.
pub(in crate::api) enum Finding {
    /// What is wrong, and whether it has been repaired.
    Problem { what: String, repaired: bool },
    /// What was looked at.
    Summary(FsckSummary),
}

impl Native {
    pub(super) async fn fsck(
        &self,
        request: pb::FsckRequest,
    ) -> Result<BoxStream<pb::FsckFinding>> {
        if request.rebuild {
            return Err(with_hint(
                Code::FailedPrecondition,
                "a catalog is rebuilt while no server runs on it".to_owned(),
                Some("stop the server, and run 'pfs fsck --rebuild' where its state is".to_owned()),
            ));
        }
        let findings = findings(&self.services, request.data, request.fix);
        Ok(Box::pin(futures::StreamExt::map(findings, |finding| finding.map(message))))
    }
}

/// Checks in the background; findings come as they are made.
pub(in crate::api) fn findings(
    services: &Services,
    deep: bool,
    repair: bool,
) -> UnboundedReceiverStream<Result<Finding>> {
    // Problems are few; those of a store that is lost altogether are as many
    // as its commits, which are in memory anyway while they are listed.
    let (told, findings) = mpsc::unbounded_channel();
    let repos = services.repos.clone();
    let now = repos.clock().now().as_nanos();
    let settled = Timestamp::from_nanos(now.saturating_sub(SETTLED));
    let how = Fsck { deep, repair, settled };
    tokio::spawn(async move {
        let tell = |problem: &Problem| {
            let repaired = repair && problem.is_repairable();
            // Nobody listens any more when the client has gone.
            let _ = told.send(Ok(Finding::Problem { what: problem.to_string(), repaired }));
        };
        let summary = repos.fsck(how, tell).await;
        let _ = told.send(summary.map(Finding::Summary).map_err(refused));
    });
    UnboundedReceiverStream::new(findings)
}

fn message(finding: Finding) -> pb::FsckFinding {
    match finding {
        Finding::Problem { what, repaired: true } => {
            pb::FsckFinding { fix: what, ..Default::default() }
        }
        Finding::Problem { what, repaired: false } => {
            pb::FsckFinding { error: what, ..Default::default() }
        }
        Finding::Summary(sum) => pb::FsckFinding {
            summary: Some(pb::FsckSummary {
                commits: sum.commits,
                objects: sum.objects + sum.blobs,
                bytes: 0,
                errors: sum.problems - sum.repaired.min(sum.problems),
            }),
            ..Default::default()
        },
    }
}
