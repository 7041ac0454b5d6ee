//! The name somebody may have meant.

use crate::model::ProjectName;

/// The candidate most like `name`, if one is alike enough to be a slip.
pub fn nearest<'c>(name: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<String> {
    candidates
        .into_iter()
        .map(|candidate| (strsim::jaro_winkler(name, candidate), candidate))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate.to_owned())
}

/// The candidate most like a name in a project, those of the same project
/// first; written so that it means the same whatever project is in use.
pub fn nearest_name<'c>(
    (project, name): (&ProjectName, &str),
    candidates: impl Iterator<Item = (&'c ProjectName, &'c str)>,
) -> Option<String> {
    let (here, elsewhere): (Vec<_>, Vec<_>) = candidates.partition(|(other, _)| *other == project);
    if let Some(found) = nearest(name, here.into_iter().map(|(_, name)| name)) {
        return Some(qualified(project, &found));
    }
    let found = nearest(name, elsewhere.iter().map(|(_, name)| *name))?;
    let (project, name) = elsewhere.iter().find(|(_, name)| *name == found)?;
    Some(format!("{project}/{name}"))
}

fn qualified(project: &ProjectName, name: &str) -> String {
    match project.is_default() {
        true => name.to_owned(),
        false => format!("{project}/{name}"),
    }
}
