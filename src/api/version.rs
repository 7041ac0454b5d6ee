//! `versionpb_v2.API` and `admin_v2.API`: what is serving.

use super::convert::project;
use super::proto::admin_v2::{self, api_server::Api as Admin};
use super::proto::versionpb_v2::{self, api_server::Api as Version};
use super::service::{Services, service};
use super::status::{Result, refused};

/// The version whose API this server speaks; clients compare it with theirs.
const API: (u32, u32, u32) = (2, 12, 2);

/// The service behind both.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) services: Services,
}

service! {
    impl Version as Server;
    reads {
        get_version: () => versionpb_v2::Version,
    }
    unary {}
    streaming {}
}

service! {
    impl Admin as Server;
    reads {
        inspect_cluster: admin_v2::InspectClusterRequest => admin_v2::ClusterInfo,
    }
    unary {}
    streaming {}
}

impl Server {
    #[expect(clippy::unused_async, reason = "the shape of a method")]
    async fn get_version(&self, (): ()) -> Result<versionpb_v2::Version> {
        Ok(versionpb_v2::Version {
            major: API.0,
            minor: API.1,
            micro: API.2,
            additional: format!("+pfs.{}", env!("CARGO_PKG_VERSION")),
            platform: format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
            ..Default::default()
        })
    }

    async fn inspect_cluster(
        &self,
        request: admin_v2::InspectClusterRequest,
    ) -> Result<admin_v2::ClusterInfo> {
        if request.current_project.as_ref().is_some_and(|project| !project.name.is_empty()) {
            let name = project(request.current_project.as_ref())?;
            self.services.repos.inspect_project(&name).await.map_err(refused)?;
        }
        let id = self.services.installation.clone();
        Ok(admin_v2::ClusterInfo {
            deployment_id: id.clone(),
            id,
            warnings_ok: true,
            ..Default::default()
        })
    }
}
