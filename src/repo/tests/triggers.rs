use super::*;
use crate::catalog::Trigger;

fn cron(watched: &str) -> Trigger {
    Trigger { branch: watched.into(), cron: "@daily".into(), ..Trigger::default() }
}

impl Fixture {
    async fn trigger(&self, at: &str, trigger: Trigger) -> Result<()> {
        let spec = CreateBranch { trigger: Some(trigger), ..CreateBranch::default() };
        self.create_branch(&branch(at), &spec).await.map(drop)
    }
}

#[tokio::test]
async fn a_schedule_moves_a_branch_to_what_had_finished_by_its_tick() {
    let f = fixture().await;
    f.repo("a").await;
    f.trigger("a@nightly", cron("master")).await.unwrap();
    let every = Trigger { branch: "nightly".into(), commits: 1, ..Trigger::default() };
    f.trigger("a@after", every).await.unwrap();
    f.pipeline("p", &["a@nightly"]).await;
    f.pipeline("q", &["a@after"]).await;
    let first = f.put("a@master", 1).await;
    let second = f.put("a@master", 2).await;
    f.start("a@master").await;
    let at = branch("a@nightly");
    assert_eq!(f.head("a@nightly").await, None);
    let early = Timestamp::from_parts(1, 0);
    assert_eq!(f.move_by_schedule(&at, early).await.unwrap(), None);
    let moved = |tick: Option<Timestamp>| f.move_by_schedule(&at, tick.unwrap());
    assert_eq!(moved(first.finished).await.unwrap(), Some(first.clone()));
    assert_eq!(f.head("a@nightly").await, Some(first.clone()));
    // What watches the branch that moved goes along, and both are derived from.
    assert_eq!(f.head("a@after").await, Some(first.clone()));
    for pipeline in ["p@master", "q@master"] {
        assert!(f.head(pipeline).await.unwrap().provenance.contains(&first.commit), "{pipeline}");
    }
    f.run_jobs().await;
    assert_eq!(moved(first.finished).await.unwrap(), None);
    assert_eq!(moved(second.finished).await.unwrap(), Some(second.clone()));
    // It goes on, never back.
    assert_eq!(moved(first.finished).await.unwrap(), None);
    assert_eq!(f.head("a@nightly").await, Some(second));
    assert_eq!(f.scheduled_branches().await.unwrap().len(), 1);
}

#[tokio::test]
async fn triggers_in_a_circle_or_with_provenance_are_refused() {
    let f = fixture().await;
    f.repo("a").await;
    f.repo("b").await;
    let on = |watched: &str| Trigger { branch: watched.into(), commits: 1, ..Trigger::default() };
    f.trigger("a@one", on("master")).await.unwrap();
    f.trigger("a@two", on("one")).await.unwrap();
    let circle = f.trigger("a@master", on("two")).await.unwrap_err();
    assert!(circle.to_string().contains("cannot trigger itself"), "{circle}");
    let provenance = Some(vec![branch("b@master")]);
    let spec = CreateBranch { provenance, ..CreateBranch::default() };
    f.create_branch(&branch("a@derived"), &spec).await.unwrap();
    let derived = f.trigger("a@derived", on("master")).await.unwrap_err();
    assert!(derived.to_string().contains("derives from others"), "{derived}");
    let both = f.trigger("a@both", Trigger { commits: 2, ..cron("master") }).await.unwrap_err();
    assert!(both.hint().is_some() && both.to_string().contains("no other condition"), "{both}");
    assert!(f.catalog.branch(&branch("a@both")).await.unwrap().is_none());
}

#[tokio::test]
async fn inputs_that_wait_have_a_branch_of_their_own_while_they_do() {
    let f = fixture().await;
    f.repo("a").await;
    let waiting = |commits: u64, replaces| {
        let trigger = Trigger { branch: "master".into(), commits, ..Trigger::default() };
        let triggers = [(branch("a@p-trigger-1"), trigger)].into();
        PutPipeline { triggers, ..Fixture::pipeline_spec("p", &["a@p-trigger-1"], replaces) }
    };
    f.put_pipeline(&waiting(2, None)).await.unwrap();
    f.put("a@master", 1).await;
    assert!(f.head("p@master").await.is_none());
    let second = f.put("a@master", 2).await;
    assert_eq!(f.head("p@master").await.unwrap().commit.id, second.commit.id);
    f.run_jobs().await;
    f.put_pipeline(&waiting(1, Some(1))).await.unwrap();
    f.run_jobs().await;
    let third = f.put("a@master", 3).await;
    assert_eq!(f.head("p@master").await.unwrap().commit.id, third.commit.id);
    f.run_jobs().await;
    let hidden = branch("a@p-trigger-1");
    f.put_pipeline(&Fixture::pipeline_spec("p", &["a@master"], Some(2))).await.unwrap();
    assert!(f.catalog.branch(&hidden).await.unwrap().is_none());
    f.run_jobs().await;
    f.put_pipeline(&waiting(1, Some(3))).await.unwrap();
    assert!(f.catalog.branch(&hidden).await.unwrap().is_some());
    f.delete_pipeline(&pipeline("p"), false, false).await.unwrap();
    assert!(f.catalog.branch(&hidden).await.unwrap().is_none());
    assert_eq!(f.list_branches(&repo("a")).await.unwrap().len(), 1);
}
