//! The parts a pattern is made of.

/// How often the alternatives of a capturing group stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Times {
    /// `(…)` and `@(…)`.
    Once,
    /// `?(…)`.
    AtMostOnce,
    /// `*(…)`.
    Any,
    /// `+(…)`.
    AtLeastOnce,
    /// `!(…)`: anything within a component but these.
    Never,
}

/// A piece of a pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    /// Exactly this text.
    Literal(String),
    /// `?`: one character but `/`.
    AnyChar,
    /// `*`: anything within a component.
    AnyName,
    /// `**`: anything.
    AnyDepth,
    /// `[…]`: one character of these ranges, or none of them; never `/`.
    Class { negated: bool, ranges: Vec<(char, char)> },
    /// `{…,…}`.
    OneOf(Vec<Vec<Part>>),
    /// A capturing group.
    Group { times: Times, alternatives: Vec<Vec<Part>> },
}

/// Groups may nest this deep.
const MAX_DEPTH: usize = 32;

/// Parses a pattern without its outer slashes.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, depth: 0 };
    let parts = reader.sequence(&[])?;
    match reader.peek() {
        None => Ok(parts),
        Some(c) => Err(format!("{c:?} closes nothing")),
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    depth: usize,
}

impl Reader {
    fn peek(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn next(&mut self) -> Option<char> {
        let next = self.peek()?;
        self.at += 1;
        Some(next)
    }

    fn eat(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        self.at += usize::from(found);
        found
    }

    /// Parts up to the end or one of `stops` (which is not consumed).
    fn sequence(&mut self, stops: &[char]) -> Result<Vec<Part>, String> {
        let mut parts = Vec::new();
        while let Some(c) = self.peek() {
            if stops.contains(&c) || c == ')' {
                break;
            }
            self.at += 1;
            let opens_group = self.peek() == Some('(');
            let part = match c {
                '\\' => literal(self.next().ok_or("it ends with a backslash")?),
                '(' => self.group(Times::Once)?,
                '?' if opens_group => self.extended(Times::AtMostOnce)?,
                '*' if opens_group => self.extended(Times::Any)?,
                '+' if opens_group => self.extended(Times::AtLeastOnce)?,
                '@' if opens_group => self.extended(Times::Once)?,
                '!' if opens_group => self.extended(Times::Never)?,
                '?' => Part::AnyChar,
                '*' if self.eat('*') => {
                    while self.eat('*') {}
                    Part::AnyDepth
                }
                '*' => Part::AnyName,
                '[' => self.class()?,
                '{' => self.braces()?,
                other => literal(other),
            };
            append(&mut parts, part);
        }
        Ok(parts)
    }

    fn extended(&mut self, times: Times) -> Result<Part, String> {
        self.at += 1;
        self.group(times)
    }

    fn group(&mut self, times: Times) -> Result<Part, String> {
        let alternatives = self.alternatives('|', ')')?;
        Ok(Part::Group { times, alternatives })
    }

    fn braces(&mut self) -> Result<Part, String> {
        self.alternatives(',', '}').map(Part::OneOf)
    }

    fn alternatives(&mut self, between: char, close: char) -> Result<Vec<Vec<Part>>, String> {
        if self.depth == MAX_DEPTH {
            return Err(format!("groups nest deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        let mut alternatives = Vec::new();
        loop {
            alternatives.push(self.sequence(&[between, close])?);
            match self.next() {
                Some(c) if c == close => break,
                Some(c) if c == between => {}
                Some(_) | None => return Err(format!("a group lacks its {close:?}")),
            }
        }
        self.depth -= 1;
        Ok(alternatives)
    }

    fn class(&mut self) -> Result<Part, String> {
        let negated = self.eat('!') || self.eat('^');
        let mut ranges = Vec::new();
        loop {
            let c = self.next().ok_or("a class lacks its ']'")?;
            match c {
                ']' if !ranges.is_empty() => return Ok(Part::Class { negated, ranges }),
                '[' if self.peek() == Some(':') => ranges.extend(self.named_class()?),
                _ => ranges.push(self.range(c)?),
            }
        }
    }

    fn range(&mut self, first: char) -> Result<(char, char), String> {
        let low = self.class_char(first)?;
        let is_range =
            self.peek() == Some('-') && self.chars.get(self.at + 1).is_some_and(|c| *c != ']');
        if !is_range {
            return Ok((low, low));
        }
        self.at += 1;
        let next = self.next().ok_or("a class lacks its ']'")?;
        let high = self.class_char(next)?;
        match low <= high {
            true => Ok((low, high)),
            false => Err(format!("the range {low}-{high} runs backwards")),
        }
    }

    fn class_char(&mut self, c: char) -> Result<char, String> {
        match c {
            '\\' => Ok(self.next().ok_or("it ends with a backslash")?),
            _ => Ok(c),
        }
    }

    /// `[:alpha:]` and the like, the first bracket consumed.
    fn named_class(&mut self) -> Result<&'static [(char, char)], String> {
        let rest: String = self.chars[self.at..].iter().collect();
        let inner = rest.strip_prefix(':').unwrap_or(&rest);
        let name = inner.split_once(":]").map(|(name, _)| name).ok_or("a class lacks its ':]'")?;
        self.at += name.chars().count() + 3;
        match name {
            "alpha" => Ok(&[('a', 'z'), ('A', 'Z')]),
            "digit" => Ok(&[('0', '9')]),
            "alnum" => Ok(&[('a', 'z'), ('A', 'Z'), ('0', '9')]),
            "lower" => Ok(&[('a', 'z')]),
            "upper" => Ok(&[('A', 'Z')]),
            "space" => Ok(&[(' ', ' '), ('\t', '\r')]),
            "punct" => Ok(&[('!', '/'), (':', '@'), ('[', '`'), ('{', '~')]),
            "xdigit" => Ok(&[('0', '9'), ('a', 'f'), ('A', 'F')]),
            "word" => Ok(&[('a', 'z'), ('A', 'Z'), ('0', '9'), ('_', '_')]),
            other => Err(format!("there is no class [:{other}:]")),
        }
    }
}

fn literal(c: char) -> Part {
    Part::Literal(c.to_string())
}

/// Adds a part, joining neighbouring literals.
fn append(parts: &mut Vec<Part>, part: Part) {
    match (parts.last_mut(), part) {
        (Some(Part::Literal(text)), Part::Literal(more)) => text.push_str(&more),
        (_, part) => parts.push(part),
    }
}

/// Whether `test` holds for any part, nested ones included.
pub(super) fn any(parts: &[Part], test: &dyn Fn(&Part) -> bool) -> bool {
    parts.iter().any(|part| {
        test(part)
            || match part {
                Part::OneOf(alternatives) | Part::Group { alternatives, .. } => {
                    alternatives.iter().any(|parts| any(parts, test))
                }
                Part::Literal(_)
                | Part::AnyChar
                | Part::AnyName
                | Part::AnyDepth
                | Part::Class { .. } => false,
            }
    })
}

/// How many groups capture.
pub(super) fn groups(parts: &[Part]) -> usize {
    parts
        .iter()
        .map(|part| match part {
            Part::OneOf(alternatives) => alternatives.iter().map(|p| groups(p)).sum(),
            Part::Group { alternatives, .. } => {
                1 + alternatives.iter().map(|p| groups(p)).sum::<usize>()
            }
            Part::Literal(_)
            | Part::AnyChar
            | Part::AnyName
            | Part::AnyDepth
            | Part::Class { .. } => 0,
        })
        .sum()
}

/// Whether a part can match a `/`.
fn crosses(part: &Part) -> bool {
    match part {
        Part::AnyDepth => true,
        Part::Literal(text) => text.contains('/'),
        Part::OneOf(alternatives) | Part::Group { alternatives, .. } => {
            alternatives.iter().flatten().any(crosses)
        }
        Part::AnyChar | Part::AnyName | Part::Class { .. } => false,
    }
}

/// The leading components that can be told apart, and whether they are all.
pub(super) fn components(parts: &[Part]) -> (Vec<Vec<Part>>, bool) {
    let mut done = Vec::new();
    let mut current = Vec::new();
    for part in parts {
        match part {
            Part::Literal(text) => {
                let mut names = text.split('/');
                current.extend(names.next().filter(|n| !n.is_empty()).map(own));
                for name in names {
                    done.push(std::mem::take(&mut current));
                    current.extend(Some(name).filter(|n| !n.is_empty()).map(own));
                }
            }
            part if crosses(part) => return (done, false),
            part => current.push(part.clone()),
        }
    }
    if !parts.is_empty() {
        done.push(current);
    }
    (done, true)
}

fn own(name: &str) -> Part {
    Part::Literal(name.to_owned())
}
