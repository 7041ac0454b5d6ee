//! What a spec is laid over where it leaves things out.

use serde_json::{Value as Json, json};

use super::super::document::{self, Key, Node, Position, Value};
use super::SpecError;
use super::fields::snake_case;
use super::read::parse_over;
use crate::model::ProjectName;

/// Where values stand that nobody wrote into the text.
const NOWHERE: Position = Position { line: 1, column: 1 };

/// `node` over the defaults, the later ones over the earlier.
pub(super) fn over(node: &Node, defaults: &[Json]) -> Node {
    let mut below = Node { at: node.at, value: Value::Map(Vec::new()) };
    for default in defaults {
        below = laid(&self::node(default), &below);
    }
    match &below.value {
        Value::Map(entries) if entries.is_empty() => node.clone(),
        _ => laid(node, &below),
    }
}

/// A map field by field; anything else hides what is below it, and `null`
/// leaves it out.
fn laid(upper: &Node, lower: &Node) -> Node {
    let (Value::Map(above), Value::Map(below)) = (&upper.value, &lower.value) else {
        return upper.clone();
    };
    let mut merged = above.clone();
    for (key, lower) in below {
        let name = snake_case(&key.text);
        match merged.iter_mut().find(|(key, _)| snake_case(&key.text) == name) {
            Some((_, upper)) => *upper = laid(upper, lower),
            None => merged.push((key.clone(), lower.clone())),
        }
    }
    Node { at: upper.at, value: Value::Map(merged) }
}

fn node(json: &Json) -> Node {
    let value = match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Number(number.to_string()),
        Json::String(text) => Value::Text(text.clone()),
        Json::Array(items) => Value::List(items.iter().map(node).collect()),
        Json::Object(fields) => {
            let entry = |(name, value): (&String, &Json)| {
                (Key { at: NOWHERE, text: name.clone() }, node(value))
            };
            Value::Map(fields.iter().map(entry).collect())
        }
    };
    Node { at: NOWHERE, value }
}

/// The project that the one spec in `text` names; `None` when it names none,
/// or cannot be read.
#[must_use]
pub fn project_of(text: &str) -> Option<ProjectName> {
    let documents = document::parse(text).ok()?;
    let [document] = documents.as_slice() else { return None };
    let name = field(field(field(document, "pipeline")?, "project")?, "name")?;
    match &name.value {
        Value::Text(name) => name.parse().ok(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::List(_) | Value::Map(_) => None,
    }
}

fn field<'n>(node: &'n Node, name: &str) -> Option<&'n Node> {
    let Value::Map(entries) = &node.value else { return None };
    entries.iter().find(|(key, _)| snake_case(&key.text) == name).map(|(_, node)| node)
}

/// Whether specs can be laid over `defaults`: fields of a spec, each well
/// formed, and none that only one pipeline can have.
///
/// # Errors
/// The first offence.
pub fn check_defaults(defaults: &Json) -> Result<(), SpecError> {
    let only = ["pipeline", "input", "salt", "update", "reprocess", "dry_run", "spec_commit"];
    let own = defaults.as_object().into_iter().flat_map(|fields| fields.keys());
    if let Some(name) = own.into_iter().find(|name| only.contains(&&*snake_case(name))) {
        return Err(SpecError {
            file: "defaults".to_owned(),
            at: NOWHERE,
            message: format!("{name} cannot have a default"),
            hint: Some("leave it to the specs".to_owned()),
        });
    }
    let smallest = json!({
        "pipeline": {"name": "p"},
        "transform": {"cmd": ["true"]},
        "input": {"pfs": {"repo": "r", "glob": "/"}},
    });
    let project = ProjectName::default_project();
    parse_over("defaults", &smallest.to_string(), &project, std::slice::from_ref(defaults))?;
    Ok(())
}
