//! Taking known fields out of a map, and refusing what is left.

use std::str::FromStr;
use std::time::Duration;

use super::super::document::{Key, Node, Position, Value};
use super::duration::parse_duration;

/// An offence at a place of a text whose name the caller knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadError {
    pub at: Position,
    pub message: String,
    pub hint: Option<String>,
}

pub(super) fn fail<T>(at: Position, message: impl Into<String>) -> Result<T, ReadError> {
    Err(ReadError { at, message: message.into(), hint: None })
}

/// `mountPath` and `mount_path` are the same field, so are `URL` and `url`.
pub(super) fn snake_case(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 4);
    let mut after_lower = false;
    for c in name.chars() {
        if c.is_ascii_uppercase() && after_lower {
            snake.push('_');
        }
        after_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// The entries of one object, taken one field at a time.
pub(super) struct Fields<'n> {
    what: String,
    at: Position,
    left: Vec<(String, &'n Key, &'n Node)>,
    known: Vec<&'static str>,
}

impl<'n> Fields<'n> {
    /// The fields of `node`, which describes `what`.
    pub fn of(node: &'n Node, what: &str) -> Result<Self, ReadError> {
        let Value::Map(entries) = &node.value else {
            return fail(node.at, format!("{what} must be an object, not {}", node.value.kind()));
        };
        let mut left: Vec<(String, &Key, &Node)> = Vec::with_capacity(entries.len());
        for (key, value) in entries {
            let name = snake_case(&key.text);
            if left.iter().any(|(other, ..)| *other == name) {
                return fail(key.at, format!("field {name:?} is given twice, in two spellings"));
            }
            left.push((name, key, value));
        }
        Ok(Self { what: what.to_owned(), at: node.at, left, known: Vec::new() })
    }

    /// Where the object starts.
    pub const fn at(&self) -> Position {
        self.at
    }

    /// The value of `name`; null counts as absent.
    pub fn take(&mut self, name: &'static str) -> Option<&'n Node> {
        self.known.push(name);
        let index = self.left.iter().position(|(field, ..)| field == name)?;
        let (_, _, node) = self.left.remove(index);
        (node.value != Value::Null).then_some(node)
    }

    pub fn text(&mut self, name: &'static str) -> Result<Option<String>, ReadError> {
        self.take(name).map(|node| text(node, name)).transpose()
    }

    pub fn flag(&mut self, name: &'static str) -> Result<bool, ReadError> {
        self.take(name).map_or(Ok(false), |node| flag(node, name))
    }

    pub fn texts(&mut self, name: &'static str) -> Result<Vec<String>, ReadError> {
        items(self.take(name), name)?.iter().map(|node| text(node, name)).collect()
    }

    pub fn list(&mut self, name: &'static str) -> Result<&'n [Node], ReadError> {
        items(self.take(name), name)
    }

    pub fn duration(&mut self, name: &'static str) -> Result<Option<Duration>, ReadError> {
        let Some(node) = self.take(name) else { return Ok(None) };
        match parse_duration(&text(node, name)?) {
            Some(duration) if duration.is_zero() => Ok(None),
            Some(duration) => Ok(Some(duration)),
            None => {
                fail(node.at, format!("{name} must be a duration such as \"1h30m\" or \"90s\""))
            }
        }
    }

    /// A string that must parse as `T`.
    pub fn parsed<T>(&mut self, name: &'static str) -> Result<Option<T>, ReadError>
    where
        T: FromStr,
        T::Err: std::fmt::Display,
    {
        let Some(node) = self.take(name) else { return Ok(None) };
        match text(node, name)?.as_str() {
            "" => Ok(None),
            text => match text.parse() {
                Ok(value) => Ok(Some(value)),
                Err(error) => fail(node.at, format!("{name}: {error}")),
            },
        }
    }

    /// A map of strings to strings; numbers and booleans count as their text.
    pub fn text_map(&mut self, name: &'static str) -> Result<Vec<(String, String)>, ReadError> {
        let Some(node) = self.take(name) else { return Ok(Vec::new()) };
        let Value::Map(entries) = &node.value else {
            return fail(node.at, format!("{name} must be an object, not {}", node.value.kind()));
        };
        entries.iter().map(|(key, node)| Ok((key.text.clone(), loose_text(node, name)?))).collect()
    }

    /// The error for a required field that is not there: its misspelling, when
    /// one is left over.
    pub fn missing(&self, name: &'static str) -> ReadError {
        let alike = |(_, key, _): &&(String, &Key, &Node)| nearest(&key.text, &[name]).is_some();
        match self.left.iter().find(alike) {
            Some((_, key, _)) => self.unknown(key, &[name]),
            None => ReadError {
                at: self.at,
                message: format!("{name} is missing in the {}", self.what),
                hint: None,
            },
        }
    }

    fn unknown(&self, key: &Key, known: &[&str]) -> ReadError {
        let hint = nearest(&key.text, known).map(|known| format!("did you mean {known:?}?"));
        let message = format!("unknown field {:?} in {}", key.text, self.what);
        ReadError { at: key.at, message, hint }
    }

    /// Refuses fields nobody asked for.
    pub fn finish(self) -> Result<(), ReadError> {
        match self.left.first() {
            Some((_, key, _)) => Err(self.unknown(key, &self.known)),
            None => Ok(()),
        }
    }
}

/// The known name most like `text`, if any is alike at all.
pub(super) fn nearest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    let text = snake_case(text);
    let score = |name: &str| strsim::jaro_winkler(&text, name);
    let best = known.iter().max_by(|a, b| score(a).total_cmp(&score(b)))?;
    (score(best) > 0.7).then_some(*best)
}

pub(super) fn text(node: &Node, name: &str) -> Result<String, ReadError> {
    match &node.value {
        Value::Text(text) => Ok(text.clone()),
        other => fail(node.at, format!("{name} must be a string, not {}", other.kind())),
    }
}

fn loose_text(node: &Node, name: &str) -> Result<String, ReadError> {
    match &node.value {
        Value::Text(text) | Value::Number(text) => Ok(text.clone()),
        Value::Bool(flag) => Ok(flag.to_string()),
        Value::Null => Ok(String::new()),
        Value::List(_) | Value::Map(_) => text(node, name),
    }
}

fn flag(node: &Node, name: &str) -> Result<bool, ReadError> {
    match &node.value {
        Value::Bool(flag) => Ok(*flag),
        Value::Text(text) if text == "true" => Ok(true),
        Value::Text(text) if text == "false" => Ok(false),
        other => fail(node.at, format!("{name} must be true or false, not {}", other.kind())),
    }
}

/// A whole number of zero or more, as a number or as a string.
pub(super) fn uint(node: &Node, name: &str) -> Result<u64, ReadError> {
    let written = match &node.value {
        Value::Number(text) | Value::Text(text) => text,
        other => {
            return fail(node.at, format!("{name} must be a whole number, not {}", other.kind()));
        }
    };
    let whole = written.strip_suffix(".0").unwrap_or(written);
    match whole.parse() {
        Ok(number) => Ok(number),
        Err(_) => {
            fail(node.at, format!("{name} must be a whole number of zero or more, not {written:?}"))
        }
    }
}

pub(super) fn float(node: &Node, name: &str) -> Result<f64, ReadError> {
    match &node.value {
        Value::Number(text) | Value::Text(text) => match text.parse::<f64>() {
            Ok(number) if number.is_finite() => Ok(number),
            Ok(_) | Err(_) => fail(node.at, format!("{name} must be a number, not {text:?}")),
        },
        other => fail(node.at, format!("{name} must be a number, not {}", other.kind())),
    }
}

fn items<'n>(node: Option<&'n Node>, name: &str) -> Result<&'n [Node], ReadError> {
    match node {
        None => Ok(&[]),
        Some(Node { value: Value::List(nodes), .. }) => Ok(nodes),
        Some(node) => fail(node.at, format!("{name} must be a list, not {}", node.value.kind())),
    }
}
