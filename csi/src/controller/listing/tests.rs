use tonic::Code;

use super::{KEPT, Listings};
use crate::refusal::Result;

async fn numbers(range: std::ops::Range<u32>) -> Result<Vec<u32>> {
    Ok(range.collect())
}

#[tokio::test]
async fn all_pages_show_the_same_moment() {
    let lists = Listings::default();
    let (first, token) = lists.page(2, "", || numbers(0..5)).await.unwrap();
    assert_eq!(first, [0, 1]);
    let (second, token) = lists.page(2, &token, || numbers(7..9)).await.unwrap();
    assert_eq!(second, [2, 3]);
    let (last, token) = lists.page(0, &token, || numbers(7..9)).await.unwrap();
    assert_eq!((last, token), (vec![4], String::new()));
}

#[tokio::test]
async fn a_page_of_an_unknown_list_is_aborted() {
    let lists = Listings::<u32>::default();
    for token in ["invalid", "1.2", "0123456789abcdef.1", "x.-1"] {
        let refusal = lists.page(0, token, || numbers(0..3)).await.unwrap_err();
        assert_eq!(refusal.code(), Code::Aborted);
    }
    let negative = lists.page(-1, "", || numbers(0..3)).await.unwrap_err();
    assert_eq!(negative.code(), Code::InvalidArgument);
}

#[tokio::test]
async fn only_the_last_lists_are_kept() {
    let lists = Listings::default();
    let (_, token) = lists.page(1, "", || numbers(0..3)).await.unwrap();
    for other in 0..u32::try_from(KEPT).unwrap() {
        lists.page(1, "", || numbers(other + 1..other + 4)).await.unwrap();
    }
    let refusal = lists.page(1, &token, || numbers(0..3)).await.unwrap_err();
    assert_eq!(refusal.code(), Code::Aborted);
}
