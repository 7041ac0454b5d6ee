//! What messages with secrets show of themselves.

use std::fmt;

use super::proto::pfs_v1::AuthorizeVolumeRequest;

impl fmt::Debug for AuthorizeVolumeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { token: _, pod_namespace, pod_name, pod_uid, service_account, repo, write } =
            self;
        f.debug_struct("AuthorizeVolumeRequest")
            .field("pod_namespace", pod_namespace)
            .field("pod_name", pod_name)
            .field("pod_uid", pod_uid)
            .field("service_account", service_account)
            .field("repo", repo)
            .field("write", write)
            .finish_non_exhaustive()
    }
}
