//! Projects and repos.

use tonic::codegen::BoxStream;

use super::Pfs;
use crate::api::convert::{self, count, project_message, repo_message};
use crate::api::info;
use crate::api::proto::pfs_v2 as pb;
use crate::api::service::all;
use crate::api::status::{Result, catalog, invalid, missing, refused};
use crate::model::{ProjectName, Repo, RepoKind};
use crate::repo::{RepoError, RepoInfo, project_defaults_key};

impl Pfs {
    pub(super) async fn create_project(&self, request: pb::CreateProjectRequest) -> Result<()> {
        let name = named_project(request.project.as_ref())?;
        let repos = &self.services.repos;
        let outcome = match repos.create_project(&name, &request.description).await {
            Err(RepoError::Exists { .. }) if request.update => {
                repos.update_project(&name, &request.description).await
            }
            outcome => outcome,
        };
        outcome.map_err(refused)
    }

    pub(super) async fn inspect_project(
        &self,
        request: pb::InspectProjectRequest,
    ) -> Result<pb::ProjectInfo> {
        let name = named_project(request.project.as_ref())?;
        let row = self.services.repos.inspect_project(&name).await.map_err(refused)?;
        Ok(info::project(&row))
    }

    pub(super) async fn inspect_project_v2(
        &self,
        request: pb::InspectProjectV2Request,
    ) -> Result<pb::InspectProjectV2Response> {
        let name = named_project(request.project.as_ref())?;
        let row = self.services.repos.inspect_project(&name).await.map_err(refused)?;
        let info = Some(info::project(&row));
        let kept = self.services.repos.catalog().setting(&project_defaults_key(&name)).await;
        let kept = kept.map_err(|e| catalog(&e))?;
        let defaults_json =
            kept.map_or_else(|| "{}".to_owned(), |json| String::from_utf8_lossy(&json).into());
        Ok(pb::InspectProjectV2Response { info, defaults_json })
    }

    pub(super) async fn list_project(
        &self,
        _: pb::ListProjectRequest,
    ) -> Result<BoxStream<pb::ProjectInfo>> {
        let rows = self.services.repos.list_projects().await.map_err(refused)?;
        Ok(all(rows.iter().map(info::project).collect::<Vec<_>>()))
    }

    pub(super) async fn delete_project(&self, request: pb::DeleteProjectRequest) -> Result<()> {
        let name = named_project(request.project.as_ref())?;
        self.services.repos.delete_project(&name, request.force).await.map_err(refused)
    }

    pub(in crate::api) async fn create_repo(&self, request: pb::CreateRepoRequest) -> Result<()> {
        let repo = convert::repo(request.repo.as_ref())?;
        let outcome = self.services.repos.create_repo(&repo, &request.description, request.update);
        outcome.await.map_err(refused)
    }

    pub(super) async fn inspect_repo(
        &self,
        request: pb::InspectRepoRequest,
    ) -> Result<pb::RepoInfo> {
        let repo = convert::repo(request.repo.as_ref())?;
        let info = self.services.repos.inspect_repo(&repo).await.map_err(refused)?;
        Ok(info::repo(&info))
    }

    pub(super) async fn list_repo(
        &self,
        request: pb::ListRepoRequest,
    ) -> Result<BoxStream<pb::RepoInfo>> {
        let kind = match request.r#type.as_str() {
            "" => None,
            kind => Some(convert::repo_kind(kind)?),
        };
        let projects = convert::projects(&request.projects)?;
        let found = self.services.repos.list_repos(only(&projects), kind).await.map_err(refused)?;
        let found: Vec<_> = found.iter().filter(|info| within(info, &projects)).collect();
        let page = match &request.page {
            None => found,
            Some(page) => paged(found, page)?,
        };
        Ok(all(page.into_iter().map(info::repo).collect::<Vec<_>>()))
    }

    pub(in crate::api) async fn delete_repo(
        &self,
        request: pb::DeleteRepoRequest,
    ) -> Result<pb::DeleteRepoResponse> {
        let repo = convert::repo(request.repo.as_ref())?;
        match self.services.repos.delete_repo(&repo, request.force).await {
            Ok(()) => Ok(pb::DeleteRepoResponse { deleted: true }),
            Err(RepoError::NotFound { kind: "repo", .. }) => {
                Ok(pb::DeleteRepoResponse { deleted: false })
            }
            Err(error) => Err(refused(error)),
        }
    }

    pub(super) async fn delete_repos(
        &self,
        request: pb::DeleteReposRequest,
    ) -> Result<pb::DeleteReposResponse> {
        let projects = convert::projects(&request.projects)?;
        if projects.is_empty() && !request.all {
            return Err(missing("project"));
        }
        let repos = &self.services.repos;
        let chosen = if request.all { &[][..] } else { &projects };
        let found = repos.list_repos(only(chosen), Some(RepoKind::User)).await.map_err(refused)?;
        let mut deleted = Vec::new();
        // Newest first: what derives from a repo was created after it.
        for info in found.iter().filter(|info| within(info, chosen)) {
            repos.delete_repo(&info.row.repo, request.force).await.map_err(refused)?;
            deleted.push(repo_message(&info.row.repo));
        }
        Ok(pb::DeleteReposResponse { repos: deleted })
    }

    pub(super) async fn repos_summary(
        &self,
        request: pb::ReposSummaryRequest,
    ) -> Result<pb::ReposSummaryResponse> {
        let mut summaries = Vec::new();
        for name in request.projects.iter().map(super::pick::project) {
            let name = name?;
            let repos = self.services.repos.list_repos(Some(&name), Some(RepoKind::User));
            let repos = repos.await.map_err(refused)?;
            summaries.push(pb::ReposSummary {
                project: Some(project_message(&name)),
                user_repo_count: count(repos.len() as u64),
                size_bytes: count(repos.iter().map(|info| info.bytes).sum()),
            });
        }
        Ok(pb::ReposSummaryResponse { summaries })
    }

    /// Deletes every project with everything in it; the default one stays.
    pub(super) async fn delete_all(&self, (): ()) -> Result<()> {
        let repos = &self.services.repos;
        for project in repos.list_projects().await.map_err(refused)? {
            repos.delete_project(&project.name, true).await.map_err(refused)?;
        }
        Ok(())
    }
}

/// The project a request is about; one must be named.
fn named_project(message: Option<&pb::Project>) -> Result<ProjectName> {
    match message {
        Some(message) if !message.name.is_empty() => convert::project(Some(message)),
        Some(_) | None => Err(missing("project")),
    }
}

/// The one project asked for, if it is one.
fn only(projects: &[ProjectName]) -> Option<&ProjectName> {
    match projects {
        [one] => Some(one),
        _ => None,
    }
}

fn within(info: &RepoInfo, projects: &[ProjectName]) -> bool {
    projects.is_empty() || projects.contains(&info.row.repo.project)
}

/// One page of repos by project and name.
fn paged<'i>(mut found: Vec<&'i RepoInfo>, page: &pb::RepoPage) -> Result<Vec<&'i RepoInfo>> {
    let natural = |value: i64| usize::try_from(value).map_err(|_| invalid("a page is negative"));
    let (size, index) = (natural(page.page_size)?, natural(page.page_index)?);
    let key = |info: &&RepoInfo| {
        let Repo { project, name, kind } = &info.row.repo;
        (project.clone(), name.clone(), *kind)
    };
    found.sort_by_key(key);
    let size = if size == 0 { found.len() } else { size };
    Ok(found.into_iter().skip(index.saturating_mul(size)).take(size).collect())
}
