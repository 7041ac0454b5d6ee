use super::*;

#[test]
fn repos_are_read_with_ref_and_path() {
    let project = ProjectName::default_project();
    let read = |text: &str| Wanted::parse(text, &project).unwrap().targets[0].to_string();
    assert_eq!(read("images"), "images:/");
    assert_eq!(read("images@master:/train/"), "images@master:/train");
    assert_eq!(read("vision/images@dev^:a"), "vision/images@dev^:/a");
    assert!(Wanted::parse("/", &project).unwrap_err().message.contains("not mounted by pfs"));
    assert!(Wanted::parse("./no-such-directory", &project).is_err());
    assert!(Wanted::parse("a b", &project).is_err());
}
