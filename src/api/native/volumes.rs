//! Which volumes a pod gets.

use super::{Native, repo};
use crate::api::proto::pfs_v1 as pb;
use crate::api::status::{Result, denied, refused};
use crate::controller::identity::{Caller, Pod, Token, VolumeRequest};
use crate::model::Repo;
use crate::repo::RepoError;

impl Native {
    pub(super) async fn authorize_volume(
        &self,
        caller: &Caller,
        request: pb::AuthorizeVolumeRequest,
    ) -> Result<pb::AuthorizeVolumeResponse> {
        let asked = asked(request)?;
        self.services.gate.volume(caller, &asked).await.map_err(|error| denied(&error))?;
        if let Some(repo) = &asked.repo
            && let Err(error) = self.services.repos.inspect_repo(repo).await
        {
            return Err(refused(self.discreet(error, &asked)));
        }
        Ok(pb::AuthorizeVolumeResponse {})
    }

    /// Tells nobody the names of repos that they may not read.
    fn discreet(&self, error: RepoError, asked: &VolumeRequest) -> RepoError {
        let RepoError::NotFound { kind, name, nearest } = error else { return error };
        let (gate, namespace) = (&self.services.gate, &asked.pod.namespace);
        let nearest = nearest.filter(|text| match kind {
            "repo" => named(text).is_some_and(|near| gate.may_know(namespace, &near)),
            _ => gate.is_open(),
        });
        RepoError::NotFound { kind, name, nearest }
    }
}

/// A repo as messages name it: `NAME` or `PROJECT/NAME`.
fn named(text: &str) -> Option<Repo> {
    let (project, name) = text.split_once('/').unwrap_or(("", text));
    let (project, name) = (project.to_owned(), name.to_owned());
    repo(Some(&pb::RepoName { project, repo: name, kind: String::new() })).ok()
}

fn asked(request: pb::AuthorizeVolumeRequest) -> Result<VolumeRequest> {
    let token = Some(request.token).filter(|token| !token.is_empty()).map(Token::new);
    let repo = request.repo.map(|name| repo(Some(&name))).transpose()?;
    let pod = Pod {
        namespace: request.pod_namespace,
        name: request.pod_name,
        uid: request.pod_uid,
        account: request.service_account,
    };
    Ok(VolumeRequest { pod, token, repo, write: request.write })
}
