//! Which names are looked for at all.

use super::*;
use crate::vfs::{DatumViews, Files, InodeNo};

#[tokio::test]
async fn a_name_that_no_repo_holds_is_too_long_and_not_absent() {
    let views = DatumViews::new(base().await.0.nodes().clone());
    let files = Files::of_datums(views, Timestamp::default());
    let (fits, long) = ("n".repeat(255), "n".repeat(256));
    assert!(files.lookup(InodeNo::ROOT, &fits).await.unwrap().attr.is_none());
    let refused = files.lookup(InodeNo::ROOT, &long).await;
    assert!(matches!(refused, Err(VfsError::NameTooLong)), "{refused:?}");
}
