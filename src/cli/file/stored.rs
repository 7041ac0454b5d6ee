//! From the object store to a file, by several threads.

use std::borrow::Cow;
use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use futures::StreamExt as _;
use indicatif::ProgressBar;
use tokio::runtime::Handle;

use crate::chunk::{Blobs, ChunkError, ChunkRef, Content, PackReader};
use crate::cli::prelude::*;
use crate::store::directory_of;

/// The most threads; one writes while the others read and verify. More of them
/// than cores would be suspended with the turn to write.
const READERS_MAX: usize = 4;

/// Writes what follows byte `at` of a file. What was written when this fails
/// is a prefix.
pub async fn copy(
    blobs: &Blobs,
    content: &Content,
    at: u64,
    out: &mut (impl Write + Send),
    bar: &ProgressBar,
) -> Outcome {
    let range = at..content.size();
    if let Some(root) = directory_of(&blobs.store().to_string()) {
        let pieces = content.pieces(range);
        let source = Source { root, blobs, handle: Handle::current(), pieces: &pieces };
        return tokio::task::block_in_place(|| source.copy(out, bar));
    }
    let mut pieces = content.stream(blobs, range);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(failed)?;
        out.write_all(&piece)?;
        bar.inc(piece.len() as u64);
    }
    Ok(())
}

fn failed(error: ChunkError) -> Failure {
    Failure::new(error.to_string())
}

/// Pieces of a file in a directory of this machine.
struct Source<'a> {
    root: PathBuf,
    blobs: &'a Blobs,
    handle: Handle,
    pieces: &'a [(ChunkRef, Range<usize>)],
}

impl Source<'_> {
    /// Each thread reads a piece and waits for its turn to write it: a core
    /// that verified bytes still has them at hand when it writes them.
    fn copy<W: Write + Send>(&self, out: &mut W, bar: &ProgressBar) -> Outcome {
        let (queue, taken) = (Queue::new(out), AtomicUsize::new(0));
        let read = || {
            let mut reader = PackReader::new(self.root.clone());
            loop {
                let number = taken.fetch_add(1, Ordering::Relaxed);
                let Some((place, part)) = self.pieces.get(number) else { break };
                let plain = self.read(&mut reader, place);
                let plain = plain.as_ref().map(|plain| &plain[part.clone()]);
                if !queue.write(number, plain) {
                    break;
                }
                bar.inc(part.len() as u64);
            }
        };
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        thread::scope(|scope| {
            for _ in 0..cores.min(READERS_MAX) {
                scope.spawn(read);
            }
        });
        queue.outcome()
    }

    fn read<'r>(
        &self,
        reader: &'r mut PackReader,
        place: &ChunkRef,
    ) -> Result<Cow<'r, [u8]>, ChunkError> {
        match reader.read(place) {
            Some(plain) => Ok(plain),
            None => Ok(Vec::from(self.handle.block_on(self.blobs.read(place))?).into()),
        }
    }
}

/// Lets threads write in the order of their pieces.
struct Queue<'a, W> {
    turn: Mutex<Turn<'a, W>>,
    moved: Condvar,
}

struct Turn<'a, W> {
    /// The piece that comes next.
    next: usize,
    out: &'a mut W,
    failure: Option<Failure>,
}

impl<'a, W: Write> Queue<'a, W> {
    fn new(out: &'a mut W) -> Self {
        let turn = Turn { next: 0, out, failure: None };
        Self { turn: Mutex::new(turn), moved: Condvar::new() }
    }

    /// Writes piece `number` when all before it are; false once one failed.
    fn write(&self, number: usize, plain: Result<&[u8], &ChunkError>) -> bool {
        let turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |turn: &mut Turn<'_, W>| turn.next != number && turn.failure.is_none();
        let turn = self.moved.wait_while(turn, waiting);
        let mut turn = turn.unwrap_or_else(PoisonError::into_inner);
        if turn.failure.is_none() {
            let done = match plain {
                Ok(plain) => turn.out.write_all(plain).map_err(Failure::from),
                Err(error) => Err(Failure::new(error.to_string())),
            };
            turn.failure = done.err();
            turn.next += 1;
            self.moved.notify_all();
        }
        turn.failure.is_none()
    }

    fn outcome(self) -> Outcome {
        let turn = self.turn.into_inner().unwrap_or_else(PoisonError::into_inner);
        turn.failure.map_or(Ok(()), Err)
    }
}
