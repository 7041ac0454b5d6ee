//! Requests that must not be carried out twice.

use std::future::Future;

use fuser::Request;

use crate::vfs::Files;
use crate::vfs::request::carry_out;

/// What the kernel sets in the number of a request that it sends again.
const AGAIN: u64 = 1 << 63;

/// One request: a kernel sends it again when a server has died before it
/// answered, which may have been after it was carried out.
#[derive(Debug, Clone, Copy)]
pub(super) struct Once {
    number: u64,
    again: bool,
}

impl Once {
    pub(super) fn of(request: &Request) -> Self {
        let number = request.unique().0;
        Self { number: number & !AGAIN, again: number & AGAIN != 0 }
    }

    /// Whether it was carried out before.
    pub(super) fn is_done(self, files: &Files) -> bool {
        self.again && files.was_done(self.number)
    }

    /// Whether it has changed before how many handles there are.
    pub(super) fn was_counted(self, files: &Files) -> bool {
        self.again && files.was_counted(self.number)
    }

    /// The same whenever it is sent.
    pub(super) fn number(self) -> u64 {
        self.number
    }

    /// Does `work` for it.
    pub(super) fn carry_out<F: Future>(self, work: F) -> impl Future<Output = F::Output> {
        carry_out(self.number, work)
    }
}
