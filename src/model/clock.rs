//! Time and randomness, injected so that tests decide both.

use std::fmt;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{CommitId, FileSetId, PackId, TransactionId};

/// Nanoseconds since the Unix epoch, UTC.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since the Unix epoch.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    /// Whole seconds (rounded down) and the nanoseconds on top.
    #[must_use]
    pub const fn to_parts(self) -> (i64, u32) {
        const BILLION: i64 = 1_000_000_000;
        // The remainder lies in 0..10^9, so the cast keeps its value.
        (self.0.div_euclid(BILLION), self.0.rem_euclid(BILLION) as u32)
    }

    /// From seconds and nanoseconds; saturates outside the years 1677–2262.
    #[must_use]
    pub const fn from_parts(seconds: i64, nanos: u32) -> Self {
        Self(seconds.saturating_mul(1_000_000_000).saturating_add(nanos as i64))
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seconds, nanos) = self.to_parts();
        write!(f, "{seconds}.{nanos:09}")
    }
}

/// The only source of wall-clock time and of randomness.
///
/// A second implementation lives in the tests, where both are scripted.
pub trait Clock: Send + Sync {
    /// The current time. Not monotonic.
    fn now(&self) -> Timestamp;

    /// Sixteen random bytes, unique for all practical purposes.
    fn random(&self) -> [u8; 16];

    /// A fresh commit id, in the form of a version-4 UUID without dashes.
    fn commit_id(&self) -> CommitId {
        let mut bytes = self.random();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        CommitId::new(bytes)
    }

    /// A fresh pack id.
    fn pack_id(&self) -> PackId {
        PackId::new(self.random())
    }

    /// A fresh file set id.
    fn file_set_id(&self) -> FileSetId {
        FileSetId::new(*self.commit_id().as_bytes())
    }

    /// A fresh transaction id.
    fn transaction_id(&self) -> TransactionId {
        TransactionId::new(self.random())
    }
}

/// The operating system's clock and random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        let nanos = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => i64::try_from(before.duration().as_nanos()).map_or(i64::MIN, |n| -n),
        };
        Timestamp(nanos)
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that draws random numbers")]
    fn random(&self) -> [u8; 16] {
        let mut bytes = [0; 16];
        // getrandom(2) on an initialised pool does not fail; without entropy
        // ids could collide and lose data, so there is nothing to fall back to.
        getrandom::fill(&mut bytes).expect("the kernel's random number generator answers");
        bytes
    }
}
