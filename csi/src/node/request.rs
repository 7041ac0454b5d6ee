//! What a publish asks for, taken apart.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde_json::Value;

use crate::agent::{Place, Pod, Publication};
use crate::capability::{Capability, MountFlags};
use crate::limits;
use crate::proto::csi::NodePublishVolumeRequest;
use crate::refusal::{Refusal, Result};
use crate::token::Token;

/// Whom tokens are made out to.
const AUDIENCE: &str = "pfs";

/// What the orchestrator puts among the attributes of a volume begins so.
const ORCHESTRATOR: [&str; 2] = ["csi.storage.k8s.io/", "storage.kubernetes.io/"];

const TOKENS: &str = "csi.storage.k8s.io/serviceAccount.tokens";

/// A publish, understood.
#[derive(Debug)]
pub(super) struct Asked {
    /// What the agent is to prepare; the target is as the request has it.
    pub publication: Publication,
    /// How it is to be mounted.
    pub flags: MountFlags,
}

/// Takes what the orchestrator added out of a map of attributes or parameters.
pub(crate) fn authored(map: &BTreeMap<String, String>) -> BTreeMap<String, String> {
    let added = |key: &str| ORCHESTRATOR.iter().any(|prefix| key.starts_with(prefix));
    let own = map.iter().filter(|(key, _)| !added(key));
    own.map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Volume and target of a request, where both must be there.
pub(super) fn place(volume_id: &str, target: &str) -> Result<Place> {
    let volume_id = limits::required("volume_id", volume_id)?.to_owned();
    let target = PathBuf::from(limits::path("target_path", target)?);
    match target.is_absolute() {
        true => Ok(Place { volume_id, target }),
        false => Err(Refusal::Invalid(format!("{} is no absolute path", target.display()))),
    }
}

impl Asked {
    /// Understands a request, or says what is wrong with it.
    pub fn parse(request: &NodePublishVolumeRequest) -> Result<Self> {
        let place = place(&request.volume_id, &request.target_path)?;
        let capability = Capability::parse(request.volume_capability.as_ref())?;
        let context = &request.volume_context;
        let attributes = authored(context);
        limits::map("volume_context", &attributes)?;
        limits::map("publish_context", &request.publish_context)?;
        let flags = capability.flags.clone();
        let reading = request.readonly || flags.read_only || capability.access.is_reading();
        let mut publication = Publication {
            place,
            attributes,
            pod: pod(context),
            token: token(context.get(TOKENS).or_else(|| request.secrets.get(TOKENS)))?,
            is_ephemeral: said(context, "ephemeral") == "true",
            read_only: reading,
            access: capability.access,
            fs_group: capability.fs_group,
            fingerprint: String::new(),
        };
        publication.fingerprint = fingerprint(&publication, &flags, &request.publish_context);
        Ok(Self { publication, flags })
    }
}

/// What the orchestrator says of the pod.
fn said<'c>(context: &'c BTreeMap<String, String>, what: &str) -> &'c str {
    context.get(&format!("{}{what}", ORCHESTRATOR[0])).map_or("", String::as_str)
}

fn pod(context: &BTreeMap<String, String>) -> Option<Pod> {
    let text = |what| said(context, what).to_owned();
    let pod = Pod {
        namespace: text("pod.namespace"),
        name: text("pod.name"),
        uid: text("pod.uid"),
        service_account: text("serviceAccount.name"),
    };
    (!pod.uid.is_empty()).then_some(pod)
}

/// The token for our audience among the tokens of a pod. What is wrong with
/// them is said without showing any.
fn token(tokens: Option<&String>) -> Result<Option<Token>> {
    let Some(tokens) = tokens.filter(|text| !text.is_empty()) else { return Ok(None) };
    let garbled = || Refusal::Invalid(format!("{TOKENS} cannot be understood"));
    let tokens: Value = serde_json::from_str(tokens).map_err(|_| garbled())?;
    let Some(ours) = tokens.as_object().ok_or_else(garbled)?.get(AUDIENCE) else { return Ok(None) };
    let text = ours.get("token").and_then(Value::as_str).ok_or_else(garbled)?;
    Ok(Some(Token::new(text.to_owned())))
}

/// A digest of all that must be the same when a publish is repeated: neither
/// token nor secrets.
fn fingerprint(
    publication: &Publication,
    flags: &MountFlags,
    publish_context: &BTreeMap<String, String>,
) -> String {
    let mut hasher = blake3::Hasher::new();
    let mut part = |text: &str| {
        hasher.update(&(text.len() as u64).to_le_bytes());
        hasher.update(text.as_bytes());
    };
    for map in [&publication.attributes, publish_context] {
        part(&map.len().to_string());
        map.iter().for_each(|(key, value)| {
            part(key);
            part(value);
        });
    }
    part(&format!("{:?} {:?}", publication.pod, flags));
    part(&format!("{:?} {:?}", publication.access, publication.fs_group));
    part(&format!("{} {}", publication.is_ephemeral, publication.read_only));
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests;
