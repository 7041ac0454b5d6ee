//! How much is in a volume, and how it is: what the agent has in memory.

use std::path::PathBuf;

use super::{Node, resolved};
use crate::agent::{Place, Stats, Usage};
use crate::limits;
use crate::proto::csi::volume_health::VolumeHealthEntry;
use crate::proto::csi::volume_usage::Unit;
use crate::proto::csi::{
    NodeGetVolumeHealthRequest, NodeGetVolumeHealthResponse, NodeGetVolumeStatsRequest,
    NodeGetVolumeStatsResponse, VolumeCondition, VolumeHealth, VolumeHealthErrorType, VolumeUsage,
};
use crate::refusal::{Refusal, Result};

impl Node {
    /// Never looks at the volume itself.
    pub(super) async fn stats(
        &self,
        request: NodeGetVolumeStatsRequest,
    ) -> Result<NodeGetVolumeStatsResponse> {
        let place = self.published(&request.volume_id, &request.volume_path).await?;
        let (usage, trouble) = match self.agent.stats(&place).await {
            Ok(Stats { bytes, inodes, trouble }) => {
                (vec![usage(Unit::Bytes, bytes), usage(Unit::Inodes, inodes)], trouble)
            }
            Err(Refusal::Unavailable(why)) => (Vec::new(), Some(why)),
            Err(refusal) => return Err(refusal),
        };
        let condition = VolumeCondition {
            abnormal: trouble.is_some(),
            message: trouble.unwrap_or_else(|| "served".to_owned()),
        };
        Ok(NodeGetVolumeStatsResponse { usage, volume_condition: Some(condition) })
    }

    /// The same, for those who ask by way of later versions.
    pub(super) async fn health(
        &self,
        request: NodeGetVolumeHealthRequest,
    ) -> Result<NodeGetVolumeHealthResponse> {
        let volume_id = limits::required("volume_id", &request.volume_id)?.to_owned();
        let at = PathBuf::from(&request.volume_publish_path);
        let wanted = match at.as_os_str().is_empty() {
            true => None,
            false => {
                Some(resolved(Place { volume_id: volume_id.clone(), target: at }).await?.target)
            }
        };
        let sessions = self.agent.sessions().await?;
        let mine = sessions.into_iter().filter(|session| {
            session.place.volume_id == volume_id
                && wanted.as_ref().is_none_or(|target| *target == session.place.target)
        });
        let mut found = false;
        let mut health_statuses = Vec::new();
        for session in mine {
            found = true;
            let trouble = self.agent.stats(&session.place).await?.trouble;
            health_statuses.extend(trouble.map(|message| VolumeHealthEntry {
                status: VolumeHealthErrorType::Degraded.into(),
                reason: "NotServed".to_owned(),
                message,
            }));
        }
        match found {
            true => {
                let volume_health = Some(VolumeHealth { volume_id, health_statuses });
                Ok(NodeGetVolumeHealthResponse { volume_health })
            }
            false => Err(Refusal::NotFound(format!("volume {volume_id} is not published here"))),
        }
    }

    /// The place, if something of ours is mounted there.
    async fn published(&self, volume_id: &str, path: &str) -> Result<Place> {
        let volume_id = limits::required("volume_id", volume_id)?.to_owned();
        let target = PathBuf::from(limits::path("volume_path", path)?);
        let place = resolved(Place { volume_id, target }).await?;
        let mounts = self.mounts(&place.target).await?;
        match mounts.iter().any(|mounted| mounted.connection().is_some()) {
            true => Ok(place),
            false => {
                let (id, at) = (&place.volume_id, place.target.display());
                Err(Refusal::NotFound(format!("volume {id} is not published at {at}")))
            }
        }
    }
}

fn usage(unit: Unit, usage: Usage) -> VolumeUsage {
    let count = |value| i64::try_from(value).unwrap_or(i64::MAX);
    VolumeUsage {
        available: count(usage.available),
        total: count(usage.total),
        used: count(usage.used),
        unit: unit.into(),
    }
}
