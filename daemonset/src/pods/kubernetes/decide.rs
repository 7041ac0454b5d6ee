//! Whether a pod has ended, and how. Reads the object and nothing else.

use k8s_openapi::api::core::v1::{Container, ContainerStateTerminated, ContainerStatus, Pod};

/// Where a pod stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Every container that counts has ended with 0.
    Succeeded,
    /// One has not, or the pod was ended by somebody: for people.
    Failed(String),
    /// One has not ended: which, for people.
    Runs(String),
}

/// Where `pod` stands. Sidecars, which are init containers that are always
/// restarted, do not count: they are ended when the others are.
///
/// The kubelet gives every pod that it has ended, deleted ones as well, the phase
/// Succeeded or Failed. Before that only what cannot happen once more counts: a
/// container that failed and may be restarted has maybe succeeded since.
pub(super) fn standing(pod: &Pod) -> Standing {
    let status = pod.status.clone().unwrap_or_default();
    let phase = status.phase.as_deref().unwrap_or_default();
    let containers = Containers {
        init: status.init_container_statuses.unwrap_or_default(),
        main: status.container_statuses.unwrap_or_default(),
    };
    match phase {
        "Succeeded" => Standing::Succeeded,
        "Failed" => {
            // Evicted, DeadlineExceeded, NodeShutdown, …: what containers say of
            // themselves, if anything, is how they took that.
            let reason = told(status.reason, status.message);
            let why = reason.or_else(|| containers.failed(pod, |_, _| true));
            let why = why.unwrap_or_else(|| "it failed, and no container says why".to_owned());
            Standing::Failed(why)
        }
        _ => match (containers.failed(pod, is_final), containers.running(pod)) {
            (Some(why), _) => Standing::Failed(why),
            (None, Some(name)) => Standing::Runs(format!("container {name:?} has not ended")),
            (None, None) => Standing::Succeeded,
        },
    }
}

/// Whether nothing of `pod` runs any more, sidecars left aside.
pub(super) fn has_ended(pod: &Pod) -> bool {
    match standing(pod) {
        Standing::Succeeded => true,
        // One container has failed; others may run still.
        Standing::Failed(_) => {
            let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
            phase == Some("Failed")
        }
        Standing::Runs(_) => false,
    }
}

fn told(reason: Option<String>, message: Option<String>) -> Option<String> {
    let reason = reason.filter(|reason| !reason.is_empty())?;
    let message = message.unwrap_or_default();
    Some(match message.trim_end_matches(['.', ' ']) {
        "" => reason,
        message => format!("{reason}: {message}"),
    })
}

struct Containers {
    init: Vec<ContainerStatus>,
    main: Vec<ContainerStatus>,
}

impl Containers {
    /// How the first container ended that has not ended well, of those whose end
    /// `counts`.
    fn failed(
        &self,
        pod: &Pod,
        counts: fn(&str, &ContainerStateTerminated) -> bool,
    ) -> Option<String> {
        let ends = |kind, containers, statuses| {
            let of = move |one| Some((kind, one, ended(statuses, one)?));
            <[Container]>::iter(containers).filter_map(of)
        };
        let init = ends("init container", init(pod), &self.init).filter(|one| !is_sidecar(one.1));
        let all = init.chain(ends("container", main(pod), &self.main));
        let bad = |(_, one, end): &(&str, &Container, &ContainerStateTerminated)| {
            end.exit_code != 0 && counts(restarts(pod, one), end)
        };
        let mut bad: Vec<_> = all.filter(bad).collect();
        // Running out of memory is the cause, what others make of it is not.
        bad.sort_by_key(|(.., end)| end.reason.as_deref() != Some("OOMKilled"));
        let (kind, container, end) = bad.first()?;
        let (name, code) = (&container.name, end.exit_code);
        Some(match end.reason.as_deref() {
            None | Some("" | "Error" | "Completed") => {
                format!("{kind} {name:?} ended with exit code {code}")
            }
            Some(reason) => format!("{kind} {name:?} ended with exit code {code}: {reason}"),
        })
    }

    /// The first container that has not ended for good. Init containers have
    /// ended before the others start.
    fn running<'p>(&self, pod: &'p Pod) -> Option<&'p str> {
        let containers = main(pod);
        let over = |one: &&Container| {
            ended(&self.main, one).is_some_and(|end| is_final(restarts(pod, one), end))
        };
        match containers.is_empty() {
            // No pod is without: what there is of this one tells nothing.
            true => Some(""),
            false => containers.iter().find(|one| !over(one)).map(|one| one.name.as_str()),
        }
    }
}

/// When a container is started once more after it has ended.
fn restarts<'p>(pod: &'p Pod, container: &'p Container) -> &'p str {
    let own = container.restart_policy.as_deref();
    let common = pod.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref());
    own.or(common).unwrap_or("Always")
}

/// Whether a container that ended so is never started again.
fn is_final(restarts: &str, end: &ContainerStateTerminated) -> bool {
    match restarts {
        "Never" => true,
        "OnFailure" => end.exit_code == 0,
        _ => false,
    }
}

fn init(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().and_then(|spec| spec.init_containers.as_deref()).unwrap_or_default()
}

fn main(pod: &Pod) -> &[Container] {
    pod.spec.as_ref().map(|spec| spec.containers.as_slice()).unwrap_or_default()
}

fn is_sidecar(container: &Container) -> bool {
    container.restart_policy.as_deref() == Some("Always")
}

/// How a container ended, if it has: not how it ended before it was restarted.
fn ended<'s>(
    statuses: &'s [ContainerStatus],
    container: &Container,
) -> Option<&'s ContainerStateTerminated> {
    let status = statuses.iter().find(|status| status.name == container.name)?;
    status.state.as_ref()?.terminated.as_ref()
}
