use std::collections::BTreeMap;
use std::path::PathBuf;

use async_trait::async_trait;
use pfs_daemonset::{Key, Outcome, PodRef, Publish};

use super::*;
use crate::model::{BranchName, ProjectName, RepoRef, TransactionId};

/// Pods whose names say how they are.
struct Named;

#[async_trait]
impl Pods for Named {
    async fn outcome(&self, _pod: &PodRef) -> Outcome {
        panic!("nobody asks for that");
    }

    async fn has_ended(&self, namespace: &str, name: &str) -> Option<bool> {
        assert_eq!(namespace, "team");
        match name {
            "ended" => Some(true),
            "runs" => Some(false),
            _ => None,
        }
    }
}

fn branch() -> Branch {
    let repo = RepoRef::parse("shared", &ProjectName::default_project()).unwrap().repo;
    repo.branch(BranchName::master())
}

/// Who writes a volume of the pod `name`.
fn owner(name: &str) -> String {
    writing::owner(&Publish {
        key: Key { volume: "volume, of a/claim".into(), target: PathBuf::from("/t") },
        attributes: BTreeMap::new(),
        pod: Some(PodRef {
            namespace: "team".into(),
            name: name.into(),
            uid: "1".into(),
            service_account: "default".into(),
        }),
        token: None,
        read_only: false,
        ephemeral: false,
        fs_group: None,
        access: String::new(),
        fingerprint: String::new(),
    })
}

async fn found(given: &[(&str, Stage)]) -> Option<Earlier> {
    let unfinished = given.iter().map(|(owner, stage)| Unfinished {
        id: TransactionId::new([7; 16]),
        owner: (*owner).to_owned(),
        stage: *stage,
    });
    first(unfinished.collect(), &branch(), &Named).await
}

#[tokio::test]
async fn what_pods_wrote_that_have_ended_is_waited_for_and_nobody_else() {
    let (ended, runs, unknown) = (owner("ended"), owner("runs"), owner("unknown"));
    let mount = "host:/mnt/out";
    let table = [
        (&*ended, Stage::Open, Some(false)),
        (&*ended, Stage::Sealing, Some(true)),
        (&*ended, Stage::Sealed, Some(true)),
        (&*runs, Stage::Open, None),
        (&*runs, Stage::Sealing, Some(true)),
        // It has committed now and then, and goes on.
        (&*runs, Stage::Sealed, None),
        (&*unknown, Stage::Open, None),
        (&*unknown, Stage::Sealing, Some(true)),
        (&*unknown, Stage::Sealed, Some(true)),
        (mount, Stage::Open, None),
        (mount, Stage::Sealed, Some(true)),
    ];
    for (owner, stage, expected) in table {
        let found = found(&[(owner, stage)]).await;
        assert_eq!(found.as_ref().map(|found| found.is_decided), expected, "{owner} {stage:?}");
        let named = found.is_none_or(|found| found.what.contains(owner));
        assert!(named, "{owner} {stage:?}");
    }
    let both = [(&*ended, Stage::Open), (&*runs, Stage::Open), (&*unknown, Stage::Sealed)];
    assert!(found(&both).await.unwrap().is_decided);
    assert_eq!(found(&[]).await, None);
}
