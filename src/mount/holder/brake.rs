//! How fast successors follow one another, and when none does any more.

use std::time::{Duration, Instant};

/// A server that has served this long did not die of what it did first.
const STEADY: Duration = Duration::from_secs(5);

/// How many successors in a row are started without waiting.
const AT_ONCE: u32 = 3;

/// How long to wait before the first that is, and at most.
const PAUSE: Duration = Duration::from_millis(20);
pub(super) const PAUSE_AT_MOST: Duration = Duration::from_secs(5);

/// How many successors in a row die before they serve, and for how long, until
/// there is no other. What they die of then is not going to pass: they wait for
/// a store or a server that is away, and live. Both, because one of them may
/// take long to find out, and because a machine may be suspended.
const ATTEMPTS: u32 = 12;
const TIME: Duration = Duration::from_secs(60);

/// How often a server is started that has only to end what it has begun.
const ENDINGS: u32 = 5;

/// How a server has died.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Death {
    /// For how long it has served; `None` when it never did.
    pub(super) served: Option<Duration>,
    /// Whether it has answered anybody.
    pub(super) answered: bool,
    /// Whether somebody has killed it, as opposed to what it did itself.
    pub(super) killed: bool,
}

/// What is remembered of the servers that have died.
#[derive(Debug, Default)]
pub(super) struct Brake {
    /// Deaths in a row that may be the fault of what all of them do.
    hasty: u32,
    /// Deaths in a row before anything was served, and since when.
    unserved: u32,
    since: Option<Instant>,
    /// Deaths since there is no mount any more.
    endings: u32,
}

impl Brake {
    /// Takes in a death.
    ///
    /// Whoever is killed from outside after it has answered can be killed as
    /// often as anybody likes: its successor is wanted at once.
    pub(super) fn died(&mut self, death: Death, now: Instant) {
        let served = death.served.or(death.answered.then_some(Duration::ZERO));
        let long = served.is_some_and(|time| time >= STEADY);
        self.hasty = match long || death.answered && death.killed {
            true => 0,
            false => self.hasty.saturating_add(1),
        };
        match served {
            Some(_) => (self.unserved, self.since) = (0, None),
            None => {
                self.unserved = self.unserved.saturating_add(1);
                self.since.get_or_insert(now);
            }
        }
    }

    /// How long after the start of one that has died the next is started.
    pub(super) fn pause(&self) -> Duration {
        match self.hasty.saturating_sub(AT_ONCE) {
            0 => Duration::ZERO,
            again => PAUSE.saturating_mul(1 << again.min(16)).min(PAUSE_AT_MOST),
        }
    }

    /// Whether another one would not serve either.
    pub(super) fn is_hopeless(&self, now: Instant) -> bool {
        let time = self.since.map_or(Duration::ZERO, |since| now.saturating_duration_since(since));
        self.unserved >= ATTEMPTS && time >= TIME
    }

    /// Takes in a death without a mount; answers whether that was the last.
    pub(super) fn has_ended(&mut self) -> bool {
        self.endings += 1;
        self.endings > ENDINGS
    }
}
