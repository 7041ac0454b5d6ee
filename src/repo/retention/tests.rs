use crate::repo::tests::fixture;

#[tokio::test]
async fn events_are_kept_up_to_a_number_and_their_loss_is_told() {
    let f = fixture().await;
    for n in 0..20 {
        f.repo(&format!("r{n}")).await;
    }
    let all = f.events_after(0, 99).await.unwrap();
    let newest = all.rows.last().unwrap().seq;
    assert!(!all.missed && all.rows.len() == newest as usize);
    f.trim_events().await.unwrap();
    assert_eq!(f.events_after(0, 99).await.unwrap(), all, "there are few");
    f.trim_events_to(5).await.unwrap();
    let left = f.events_after(0, 99).await.unwrap();
    assert!(left.missed && left.rows.len() == 5);
    let next = f.events_after(newest - 5, 99).await.unwrap();
    assert!(!next.missed && next.rows == left.rows);
    f.repo("more").await;
    assert!(!f.events_after(newest, 99).await.unwrap().missed);
}
