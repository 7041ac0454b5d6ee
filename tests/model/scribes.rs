//! Writers that go on while something else happens.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// One that appends numbers to a file, and replaces another with each.
#[derive(Default)]
pub struct Scribe {
    begun: AtomicU64,
    done: AtomicU64,
}

/// What a scribe had done, at least and at most.
pub type Span = (u64, u64);

impl Scribe {
    /// Writes in `dir` until it is over, or fails.
    pub fn write(&self, dir: &Path, name: &str, over: &AtomicBool) -> std::io::Result<()> {
        let mut log = File::create_new(dir.join(format!("log{name}")))?;
        let (new, kept) = (dir.join(format!("new{name}")), dir.join(format!("kept{name}")));
        let mut count = 0_u64;
        while !over.load(Ordering::Acquire) {
            self.begun.store(count + 1, Ordering::Release);
            log.write_all(&count.to_le_bytes())?;
            fs::write(&new, count.to_le_bytes())?;
            fs::rename(&new, &kept)?;
            count += 1;
            self.done.store(count, Ordering::Release);
        }
        Ok(())
    }

    pub fn done(&self) -> u64 {
        self.done.load(Ordering::Acquire)
    }

    pub fn begun(&self) -> u64 {
        self.begun.load(Ordering::Acquire)
    }
}

/// Why what is found is not what a scribe had written in such a span.
pub fn wrong(dir: &Path, name: &str, (least, most): Span) -> Option<String> {
    let read = |path: PathBuf| fs::read(path).unwrap_or_default();
    let log = read(dir.join(format!("log{name}")));
    let numbers =
        log.chunks(8).map(|eight| u64::from_le_bytes(eight.try_into().unwrap_or([255; 8])));
    let count = log.len() as u64 / 8;
    if !(least..=most).contains(&count) || !numbers.eq(0..count) {
        return Some(format!("{count} numbers instead of {least} to {most}"));
    }
    let kept = read(dir.join(format!("kept{name}")));
    let number = kept.try_into().map(u64::from_le_bytes);
    match number {
        _ if least == 0 => None,
        Ok(number) if (least - 1..most).contains(&number) => None,
        other => Some(format!("{other:?} was kept, of {least} to {most}")),
    }
}
