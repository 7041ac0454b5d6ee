//! Aligned columns.

use std::io;

use anstyle::Style;
use unicode_width::UnicodeWidthStr;

use super::{Sink, mood};

/// How many lines make a page; the header is printed again on each.
const PAGE: usize = 50;

/// One field of a row: text, and how to paint it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    text: String,
    style: Style,
    tail: String,
}

impl Cell {
    /// A state word, painted by what it means.
    #[must_use]
    pub fn state(word: &str) -> Self {
        Self { text: word.to_owned(), style: mood(word).style(), tail: String::new() }
    }

    /// Adds text that is not painted.
    #[must_use]
    pub fn tail(mut self, text: &str) -> Self {
        self.tail.push_str(text);
        self
    }

    fn width(&self) -> usize {
        self.text.width() + self.tail.width()
    }

    fn is_empty(&self) -> bool {
        self.text.is_empty() && self.tail.is_empty()
    }
}

impl From<String> for Cell {
    /// A cell stays on its line: control characters are spelled out.
    fn from(text: String) -> Self {
        let text = if text.contains(char::is_control) { spelled(&text) } else { text };
        Self { text, style: Style::new(), tail: String::new() }
    }
}

/// Text with its control characters spelled out, as in `\n`.
#[must_use]
pub fn spelled(text: &str) -> String {
    let spell = |c: char| match c.is_control() {
        true => c.escape_default().to_string(),
        false => c.to_string(),
    };
    text.chars().map(spell).collect()
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// A table that is written page by page, so that its memory is bounded.
///
/// Columns are aligned within a page. Where pages repeat the header, each
/// begins with it; else the header stands once and later pages keep the
/// widths of the first as a minimum.
#[derive(Debug)]
pub struct Table {
    header: Vec<Cell>,
    rows: Vec<Vec<Cell>>,
    least: usize,
    floor: Vec<usize>,
    repeat: bool,
    begun: bool,
    /// Lines since the last header.
    since: usize,
}

impl Table {
    /// A table with these column titles.
    #[must_use]
    pub fn new(header: &[&str]) -> Self {
        Self {
            header: header.iter().map(|&title| title.into()).collect(),
            rows: Vec::new(),
            least: 0,
            floor: vec![0; header.len()],
            repeat: false,
            begun: false,
            since: 0,
        }
    }

    /// Makes every column at least `width` wide.
    #[must_use]
    pub fn least_width(mut self, width: usize) -> Self {
        self.least = width;
        self
    }

    /// Prints the header again on each page.
    #[must_use]
    pub fn repeat_header(mut self, repeat: bool) -> Self {
        self.repeat = repeat;
        self
    }

    /// Adds a row, and writes out a page when one is full.
    pub fn row(&mut self, sink: &mut Sink, cells: Vec<Cell>) -> io::Result<()> {
        self.rows.push(cells);
        match self.since + self.rows.len() + 1 >= PAGE {
            true => self.page(sink),
            false => Ok(()),
        }
    }

    /// Writes the rows so far.
    pub fn flush(&mut self, sink: &mut Sink) -> io::Result<()> {
        match self.rows.is_empty() {
            true => Ok(()),
            false => self.page(sink),
        }
    }

    /// Writes what is left; the header too when there were no rows.
    pub fn finish(mut self, sink: &mut Sink) -> io::Result<()> {
        match self.rows.is_empty() && self.begun {
            true => Ok(()),
            false => self.page(sink),
        }
    }

    fn page(&mut self, sink: &mut Sink) -> io::Result<()> {
        let due = !self.begun || (self.repeat && self.since == 0);
        let header = due.then_some(&self.header);
        self.begun = true;
        for row in header.into_iter().chain(&self.rows) {
            for (floor, cell) in self.floor.iter_mut().zip(row) {
                *floor = (*floor).max(cell.width()).max(self.least.saturating_sub(1));
            }
        }
        for row in header.into_iter().chain(&self.rows) {
            line(sink, row, &self.floor)?;
        }
        self.since += self.rows.len();
        if self.since + 1 >= PAGE {
            self.since = 0;
            if self.repeat {
                self.floor.fill(0);
            }
        }
        self.rows.clear();
        Ok(())
    }
}

/// Writes one row; nothing follows the last cell that holds text.
fn line(sink: &mut Sink, row: &[Cell], widths: &[usize]) -> io::Result<()> {
    let last = row.iter().rposition(|cell| !cell.is_empty()).map_or(0, |at| at + 1);
    for (at, (cell, width)) in row.iter().zip(widths).take(last).enumerate() {
        sink.paint(&cell.text, cell.style)?;
        sink.text(&cell.tail)?;
        if at + 1 < last {
            sink.spaces(width - cell.width() + 1)?;
        }
    }
    sink.line("")
}
