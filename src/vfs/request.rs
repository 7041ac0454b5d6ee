//! Which request of the kernel is being carried out.
//!
//! A kernel sends again what was not answered when a server died. What must
//! not be done twice is noted under the number of its request.

use std::future::Future;

tokio::task_local! {
    static REQUEST: u64;
}

/// Does `work` for the request `number`.
pub fn carry_out<F: Future>(number: u64, work: F) -> impl Future<Output = F::Output> {
    REQUEST.scope(number, work)
}

/// The request that this is done for, if it is one that must not be done twice.
pub(super) fn current() -> Option<u64> {
    REQUEST.try_with(|number| *number).ok()
}
