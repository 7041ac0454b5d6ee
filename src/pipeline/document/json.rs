//! JSON values, one after another, with positions.

use super::{Key, MAX_DEPTH, Node, Position, SyntaxError, Value, insert};

/// Parses every value of `text`; white space between them is all they need.
pub(super) fn parse(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let mut reader = Reader { rest: text, at: Position { line: 1, column: 1 }, depth: 0 };
    let mut documents = Vec::new();
    reader.skip_space();
    while !reader.rest.is_empty() {
        documents.push(reader.value()?);
        reader.skip_space();
    }
    Ok(documents)
}

struct Reader<'t> {
    rest: &'t str,
    at: Position,
    depth: usize,
}

impl Reader<'_> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn bump(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.rest = &self.rest[next.len_utf8()..];
        match next {
            '\n' => self.at = Position { line: self.at.line + 1, column: 1 },
            _ => self.at.column += 1,
        }
        Some(next)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.bump();
        }
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T, SyntaxError> {
        Err(SyntaxError { at: self.at, message: message.into() })
    }

    fn unexpected<T>(&self, wanted: &str) -> Result<T, SyntaxError> {
        match self.peek() {
            Some(found) => self.fail(format!("expected {wanted}, found {found:?}")),
            None => self.fail(format!("expected {wanted}, but the text ends")),
        }
    }

    fn expect(&mut self, wanted: char) -> Result<(), SyntaxError> {
        match self.peek() {
            Some(found) if found == wanted => {
                self.bump();
                Ok(())
            }
            _ => self.unexpected(&format!("{wanted:?}")),
        }
    }

    fn value(&mut self) -> Result<Node, SyntaxError> {
        let at = self.at;
        let value = match self.peek() {
            Some('{') => self.nested(Self::map)?,
            Some('[') => self.nested(Self::list)?,
            Some('"') => Value::Text(self.text()?),
            Some('-' | '0'..='9') => self.number()?,
            Some('a'..='z') => self.word()?,
            _ => return self.unexpected("a value"),
        };
        Ok(Node { at, value })
    }

    fn nested(
        &mut self,
        read: fn(&mut Self) -> Result<Value, SyntaxError>,
    ) -> Result<Value, SyntaxError> {
        if self.depth == MAX_DEPTH {
            return self.fail(format!("values nest deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn map(&mut self) -> Result<Value, SyntaxError> {
        self.expect('{')?;
        let mut map = Vec::new();
        self.skip_space();
        while self.peek() != Some('}') {
            if !map.is_empty() {
                self.expect(',')?;
                self.skip_space();
            }
            let at = self.at;
            if self.peek() != Some('"') {
                return self.unexpected("a key in double quotes");
            }
            let key = Key { at, text: self.text()? };
            self.skip_space();
            self.expect(':')?;
            self.skip_space();
            let value = self.value()?;
            insert(&mut map, key, value)?;
            self.skip_space();
        }
        self.expect('}')?;
        Ok(Value::Map(map))
    }

    fn list(&mut self) -> Result<Value, SyntaxError> {
        self.expect('[')?;
        let mut list = Vec::new();
        self.skip_space();
        while self.peek() != Some(']') {
            if !list.is_empty() {
                self.expect(',')?;
                self.skip_space();
            }
            list.push(self.value()?);
            self.skip_space();
        }
        self.expect(']')?;
        Ok(Value::List(list))
    }

    fn word(&mut self) -> Result<Value, SyntaxError> {
        let end = self.rest.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(self.rest.len());
        let value = match &self.rest[..end] {
            "null" => Value::Null,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            other => return self.fail(format!("expected a value, found {other:?}")),
        };
        for _ in 0..end {
            self.bump();
        }
        Ok(value)
    }

    fn number(&mut self) -> Result<Value, SyntaxError> {
        let part = |c: char| c.is_ascii_digit() || matches!(c, '-' | '+' | '.' | 'e' | 'E');
        let end = self.rest.find(|c: char| !part(c)).unwrap_or(self.rest.len());
        let text = self.rest[..end].to_owned();
        if serde_json::from_str::<serde_json::Number>(&text).is_err() {
            return self.fail(format!("{text:?} is not a number"));
        }
        for _ in 0..end {
            self.bump();
        }
        Ok(Value::Number(text))
    }

    fn text(&mut self) -> Result<String, SyntaxError> {
        self.expect('"')?;
        let mut text = String::new();
        loop {
            match self.peek() {
                Some('"') => {
                    self.bump();
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                // Tabs are commonly typed into spec files; they mean themselves.
                Some(c) if c == '\t' || c >= ' ' => {
                    text.push(c);
                    self.bump();
                }
                Some(_) => return self.fail("a string may not run over the end of its line"),
                None => return self.fail("the text ends inside a string"),
            }
        }
    }

    fn escape(&mut self) -> Result<char, SyntaxError> {
        self.expect('\\')?;
        let plain = match self.peek() {
            Some(c @ ('"' | '\\' | '/')) => c,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(),
            _ => return self.unexpected("an escape: one of \" \\ / b f n r t u"),
        };
        self.bump();
        Ok(plain)
    }

    fn unicode(&mut self) -> Result<char, SyntaxError> {
        let high = self.code_unit()?;
        let units = match (0xd800..0xdc00).contains(&high) && self.rest.starts_with("\\u") {
            true => {
                self.bump();
                vec![high, self.code_unit()?]
            }
            false => vec![high],
        };
        match char::decode_utf16(units).next() {
            Some(Ok(c)) => Ok(c),
            _ => self.fail("the \\u escape is half of a surrogate pair"),
        }
    }

    /// Reads `uXXXX`.
    fn code_unit(&mut self) -> Result<u16, SyntaxError> {
        self.expect('u')?;
        let mut unit = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) else {
                return self.unexpected("four hex digits after \\u");
            };
            // A hex digit is at most 15.
            unit = unit << 4 | digit as u16;
            self.bump();
        }
        Ok(unit)
    }
}
