//! Spec text, JSON or YAML, as values that know where they stood.

mod json;
mod yaml;

#[cfg(test)]
mod tests;

use std::fmt;

use serde_json::Value as Json;

/// A place in a text, both counted from 1; the column counts characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The character in the line.
    pub column: usize,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// A value and where it starts.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// The first character of the value.
    pub at: Position,
    /// The value.
    pub value: Value,
}

/// What a JSON or YAML document can hold.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// `null`, or nothing at all in YAML.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as written.
    Number(String),
    /// A string.
    Text(String),
    /// A list.
    List(Vec<Node>),
    /// Keys and values, in the order written; keys are distinct.
    Map(Vec<(Key, Node)>),
}

impl Value {
    /// What the value is, for error messages.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }
}

/// A key of a map and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// The first character of the key.
    pub at: Position,
    /// The key as written.
    pub text: String,
}

/// Text that is neither JSON nor YAML.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {message}")]
pub struct SyntaxError {
    /// Where it went wrong.
    pub at: Position,
    /// What was found or missing.
    pub message: String,
}

/// How deep values may nest: deeper than any spec, shallower than the stack.
const MAX_DEPTH: usize = 64;

/// How many values one text may hold, aliases expanded.
const MAX_NODES: usize = 200_000;

/// Parses every document of `text`.
///
/// Text that starts with `[` or with `{` and a quoted key is one or several
/// JSON values one after another. Everything else is YAML, one or several
/// documents. Empty documents are left out.
///
/// # Errors
/// The first offence, with its position.
pub fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let start = text.trim_start();
    let quoted_key = start.strip_prefix('{').is_some_and(|rest| {
        let rest = rest.trim_start();
        rest.is_empty() || rest.starts_with(['"', '}'])
    });
    match quoted_key || start.starts_with('[') {
        true => json::parse(text),
        false => yaml::parse(text),
    }
}

/// The node as plain JSON.
#[must_use]
pub fn plain(node: &Node) -> Json {
    match &node.value {
        Value::Null => Json::Null,
        Value::Bool(flag) => Json::Bool(*flag),
        // A number is kept as written; the parser has checked that it is one.
        Value::Number(text) => serde_json::from_str(text).unwrap_or(Json::Null),
        Value::Text(text) => Json::String(text.clone()),
        Value::List(nodes) => nodes.iter().map(plain).collect(),
        Value::Map(entries) => {
            entries.iter().map(|(key, node)| (key.text.clone(), plain(node))).collect()
        }
    }
}

/// The one document in `text`, JSON or YAML, as JSON; an empty object when
/// there is none.
///
/// # Errors
/// The first offence, with its position; a second document is one.
pub fn to_json(text: &str) -> Result<Json, SyntaxError> {
    match parse(text)?.as_slice() {
        [] => Ok(Json::Object(serde_json::Map::new())),
        [one] => Ok(plain(one)),
        [_, second, ..] => {
            Err(SyntaxError { at: second.at, message: "expected one document only".to_owned() })
        }
    }
}

/// Adds an entry to a map under construction; a key given twice is refused.
fn insert(map: &mut Vec<(Key, Node)>, key: Key, value: Node) -> Result<(), SyntaxError> {
    match map.iter().find(|(known, _)| known.text == key.text) {
        Some((known, _)) => Err(SyntaxError {
            at: key.at,
            message: format!("key {:?} is given twice, first at {}", key.text, known.at),
        }),
        None => {
            map.push((key, value));
            Ok(())
        }
    }
}
