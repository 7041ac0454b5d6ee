//! What was decided, as events of the target `audit`.
//!
//! Names come from whoever asks; as fields of type string they are escaped by
//! every format of the log.

use super::gate::{Denied, VolumeRequest};
use super::{Account, Identity};

/// An account that is not known.
const NOBODY: &str = "-";

/// Whether the volume of a pod was allowed. `holder` is who the pod's token is
/// of, `caller` who asked for the pod.
pub(super) fn volume(
    asked: &VolumeRequest,
    caller: Option<&Account>,
    holder: Option<&Identity>,
    outcome: Result<(), &Denied>,
) {
    let name = |account: Option<&Account>| account.map_or(NOBODY.to_owned(), Account::to_string);
    let (caller, holder) = (name(caller), name(holder.map(|identity| &identity.account)));
    let pod = format!("{}/{}", asked.pod.namespace, asked.pod.name);
    let repo = asked.repo.as_ref().map_or("*".to_owned(), ToString::to_string);
    let (caller, holder, pod, repo) =
        (caller.as_str(), holder.as_str(), pod.as_str(), repo.as_str());
    let pod_uid = asked.pod.uid.as_str();
    let mode = if asked.write { "rw" } else { "ro" };
    match outcome {
        Ok(()) => tracing::info!(
            target: "audit", decision = "allowed", account = holder, pod, pod_uid, repo, mode,
            caller, "volume"
        ),
        Err(denied) => tracing::warn!(
            target: "audit", decision = "denied", account = holder, pod, pod_uid, repo, mode,
            caller, reason = denied.to_string().as_str(), "volume"
        ),
    }
}

/// A call that was not let in.
pub(super) fn call(method: &str, account: Option<&Account>, denied: &Denied) {
    let account = account.map_or(NOBODY.to_owned(), Account::to_string);
    tracing::warn!(
        target: "audit", decision = "denied", account = account.as_str(), method,
        reason = denied.to_string().as_str(), "call"
    );
}
