//! YAML documents with positions, from the parser's events.

use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput};

use super::{Key, MAX_DEPTH, MAX_NODES, Node, Position, SyntaxError, Value, insert};

/// Parses every document of `text` that holds something.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let mut loader =
        Loader { parser: Parser::new_from_str(text), anchors: HashMap::new(), nodes: 0 };
    let mut documents = Vec::new();
    loop {
        let (event, _) = loader.next()?;
        match event {
            Event::DocumentStart(_) => {
                let (event, span) = loader.next()?;
                let node = loader.node(event, span, 0)?;
                if node.value != Value::Null {
                    documents.push(node);
                }
            }
            Event::StreamEnd => return Ok(documents),
            _ => {}
        }
    }
}

struct Loader<'t> {
    parser: Parser<'t, StrInput<'t>>,
    anchors: HashMap<usize, Node>,
    nodes: usize,
}

impl<'t> Loader<'t> {
    fn next(&mut self) -> Result<(Event<'t>, Span), SyntaxError> {
        match self.parser.next_event() {
            Some(event) => event.map_err(|error| scan_error(&error)),
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, SyntaxError> {
        let at = position(&span.start);
        if depth > MAX_DEPTH {
            return fail(at, format!("values nest deeper than {MAX_DEPTH} levels"));
        }
        self.count(at, 1)?;
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let forced =
                    tag.as_ref().is_some_and(|t| t.is_yaml_core_schema() && t.suffix == "str");
                let plain = style == ScalarStyle::Plain && !forced;
                (if plain { plain_scalar(&text) } else { Value::Text(text.into_owned()) }, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.map(depth)?, anchor),
            Event::Alias(anchor) => return self.alias(at, anchor),
            _ => return fail(at, "expected a value".to_owned()),
        };
        let node = Node { at, value };
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        Ok(node)
    }

    /// Counts values, so that aliases of aliases cannot fill the memory.
    fn count(&mut self, at: Position, more: usize) -> Result<(), SyntaxError> {
        self.nodes += more;
        match self.nodes > MAX_NODES {
            true => fail(at, format!("the text holds more than {MAX_NODES} values")),
            false => Ok(()),
        }
    }

    fn alias(&mut self, at: Position, anchor: usize) -> Result<Node, SyntaxError> {
        match self.anchors.get(&anchor).cloned() {
            Some(node) => {
                self.count(at, size(&node))?;
                Ok(node)
            }
            None => fail(at, "the alias refers to itself or to nothing".to_owned()),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut list = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(Value::List(list)),
                (event, span) => list.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn map(&mut self, depth: usize) -> Result<Value, SyntaxError> {
        let mut map = Vec::new();
        let mut merged = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if matches!(event, Event::MappingEnd) {
                break;
            }
            let key = key(event, span)?;
            let (event, span) = self.next()?;
            let value = self.node(event, span, depth + 1)?;
            match key.text.as_str() {
                "<<" => merged.push(value),
                _ => insert(&mut map, key, value)?,
            }
        }
        for node in merged {
            merge(&mut map, node)?;
        }
        Ok(Value::Map(map))
    }
}

/// Adds what `<<` names: keys given beside it win.
fn merge(map: &mut Vec<(Key, Node)>, node: Node) -> Result<(), SyntaxError> {
    match node.value {
        Value::Map(entries) => {
            for (key, value) in entries {
                if !map.iter().any(|(known, _)| known.text == key.text) {
                    map.push((key, value));
                }
            }
            Ok(())
        }
        Value::List(nodes) => nodes.into_iter().try_for_each(|node| merge(map, node)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => {
            fail(node.at, "'<<' takes an object or a list of objects".to_owned())
        }
    }
}

fn key(event: Event<'_>, span: Span) -> Result<Key, SyntaxError> {
    let at = position(&span.start);
    match event {
        Event::Scalar(text, ..) => Ok(Key { at, text: text.into_owned() }),
        _ => fail(at, "a key must be a plain word or a string".to_owned()),
    }
}

fn size(node: &Node) -> usize {
    match &node.value {
        Value::List(nodes) => 1 + nodes.iter().map(size).sum::<usize>(),
        Value::Map(entries) => 1 + entries.iter().map(|(_, node)| size(node)).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Text(_) => 1,
    }
}

/// A scalar without quotes, by YAML 1.2's core schema.
fn plain_scalar(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if serde_json::from_str::<serde_json::Number>(text).is_ok() => {
            Value::Number(text.to_owned())
        }
        _ => Value::Text(text.to_owned()),
    }
}

fn position(marker: &Marker) -> Position {
    Position { line: marker.line().max(1), column: marker.col() + 1 }
}

fn scan_error(error: &ScanError) -> SyntaxError {
    SyntaxError { at: position(error.marker()), message: error.info().to_owned() }
}

fn fail<T>(at: Position, message: String) -> Result<T, SyntaxError> {
    Err(SyntaxError { at, message })
}
