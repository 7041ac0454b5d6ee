//! Colours of state words.

use anstyle::{AnsiColor, Style};

/// What a state means for the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    /// Done, or working as it should.
    Good,
    /// On its way, or waiting.
    Busy,
    /// Went wrong, or was stopped.
    Bad,
    /// Neither.
    Plain,
}

impl Mood {
    /// The terminal style that shows the mood.
    #[must_use]
    pub fn style(self) -> Style {
        let color = match self {
            Self::Good => AnsiColor::Green,
            Self::Busy => AnsiColor::Yellow,
            Self::Bad => AnsiColor::Red,
            Self::Plain => return Style::new(),
        };
        Style::new().fg_color(Some(color.into()))
    }
}

/// The mood of a state word of a pipeline, job, datum or commit.
#[must_use]
pub fn mood(word: &str) -> Mood {
    match word {
        "success" | "running" | "finished" | "recovered" => Mood::Good,
        "starting" | "created" | "egressing" | "finishing" | "restarting" | "paused"
        | "standby" | "crashing" | "skipped" => Mood::Busy,
        "failure" | "failed" | "killed" | "unrunnable" => Mood::Bad,
        _ => Mood::Plain,
    }
}
