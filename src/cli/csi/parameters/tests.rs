use pfs_csi::{CapacityRange, NewVolume};

use super::Class;

fn wanted(parameters: &[(&str, &str)], is_written: bool) -> NewVolume {
    let pair = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    NewVolume {
        name: "pvc-1".to_owned(),
        capacity: CapacityRange::default(),
        is_written,
        parameters: parameters.iter().map(pair).collect(),
        source: None,
    }
}

#[test]
fn parameters_say_where_a_volume_begins_and_how_it_is_published() {
    let parameters = [("repo", "team/data"), ("ref", "v1"), ("commit", "explicit")];
    let class = Class::parse(&wanted(&parameters, true)).unwrap();
    assert_eq!(class.project.as_str(), "team");
    assert_eq!(class.repo.unwrap().as_str(), "data");
    assert_eq!(class.base.as_deref(), Some("v1"));
    let attributes: Vec<_> =
        class.attributes.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(attributes, [("commit", "explicit"), ("mode", "rw")]);
    let read = Class::parse(&wanted(&[], false)).unwrap();
    assert_eq!(read.attributes["mode"], "ro");
    let said = Class::parse(&wanted(&[("mode", "ro")], true)).unwrap();
    assert_eq!(said.attributes["mode"], "ro");
}

#[test]
fn parameters_that_are_not_understood_are_refused() {
    for parameters in [&[("Repo", "data")][..], &[("repo", "a b")], &[("ref", "v1")]] {
        assert!(Class::parse(&wanted(parameters, true)).is_err());
    }
}
