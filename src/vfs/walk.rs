//! Programs that go from a directory to the one next to it.

/// Directories in the order of names after which a program is taken to go on
/// so.
const RUN: u32 = 2;

/// How many of the next directories are pushed at first, and at most.
const AHEAD: (usize, usize) = (4, 16);

/// How programs have gone through the directories in one directory.
///
/// A kernel that has been given a directory does not tell when a program comes
/// to it. So of the next ones that are pushed one is left out: a program that
/// comes to it has made use of those before it.
#[derive(Debug, Default)]
pub(super) struct Walk {
    run: u32,
    last: String,
    /// How many were pushed ahead last, and the name of the last of them.
    count: usize,
    until: String,
    /// The one that was left out.
    mark: String,
}

impl Walk {
    /// The directory that a program came to last.
    pub(super) fn last(&self) -> Option<&str> {
        Some(self.last.as_str()).filter(|name| !name.is_empty())
    }

    /// Notes that a program has come to the directory `name` for the first
    /// time; answers after which name how many are to be pushed.
    pub(super) fn visit(&mut self, name: &str) -> Option<(String, usize)> {
        let in_order = self.last.as_str() < name;
        let again = self.until.as_str() < name;
        name.clone_into(&mut self.last);
        self.run = if in_order { self.run + 1 } else { 0 };
        if !in_order {
            (self.count, self.until, self.mark) = (0, String::new(), String::new());
        }
        if self.run < RUN || !(again || name == self.mark) {
            return None;
        }
        self.count = (self.count * 2).clamp(AHEAD.0, AHEAD.1);
        let after = if again { name.to_owned() } else { self.until.clone() };
        after.clone_into(&mut self.until);
        Some((after, self.count))
    }

    /// Notes which directories come next; answers those to be pushed.
    pub(super) fn follow(&mut self, mut names: Vec<String>) -> Vec<String> {
        if let Some(last) = names.last() {
            last.clone_into(&mut self.until);
            self.mark = names.remove(names.len() / 2);
        }
        names
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(from: usize, count: usize) -> Vec<String> {
        (from..from + count).map(|number| format!("d{number:03}")).collect()
    }

    #[test]
    fn more_is_pushed_while_what_was_pushed_is_used() {
        let mut walk = Walk::default();
        assert_eq!(walk.visit("d000"), None);
        assert_eq!(walk.visit("d001"), Some(("d001".into(), 4)));
        assert_eq!(walk.follow(names(2, 4)), ["d002", "d003", "d005"]);
        assert_eq!(walk.visit("d003"), None, "it is not the one that was left out");
        assert_eq!(walk.visit("d004"), Some(("d005".into(), 8)));
    }

    #[test]
    fn a_program_that_jumps_about_has_nothing_pushed() {
        let mut walk = Walk::default();
        for name in ["d7", "d3", "d5", "d1", "d2", "d0"] {
            assert_eq!(walk.visit(name), None, "{name}");
        }
    }
}
