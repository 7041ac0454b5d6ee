//! The `Name: value` lines of the inspect commands.

use std::io;

use super::{Sink, mood};

/// Writes one entity as `Name: value` lines; values left out stay unnamed.
#[derive(Debug)]
pub struct Fields<'s> {
    sink: &'s mut Sink,
}

impl<'s> Fields<'s> {
    /// Lines that go to `sink`.
    pub fn new(sink: &'s mut Sink) -> Self {
        Self { sink }
    }

    /// `name: value`.
    pub fn line(&mut self, name: &str, value: &str) -> io::Result<&mut Self> {
        let space = if value.is_empty() || value.starts_with('\n') { "" } else { " " };
        self.sink.line(&format!("{name}:{space}{value}"))?;
        Ok(self)
    }

    /// `name: value`, only when there is a value.
    pub fn some(&mut self, name: &str, value: Option<String>) -> io::Result<&mut Self> {
        match value.filter(|value| !value.is_empty()) {
            Some(value) => self.line(name, &value),
            None => Ok(self),
        }
    }

    /// `name: state`, painted.
    pub fn state(&mut self, name: &str, word: &str) -> io::Result<&mut Self> {
        self.sink.text(&format!("{name}: "))?;
        self.sink.paint(word, mood(word).style())?;
        self.sink.line("")?;
        Ok(self)
    }

    /// `name:` with `body` on the lines below it.
    pub fn block(&mut self, name: &str, body: &str) -> io::Result<&mut Self> {
        self.sink.line(&format!("{name}:"))?;
        self.sink.line(body)?;
        Ok(self)
    }
}
