//! Asking again: how often, how long, and when not.

use std::future::Future;
use std::time::Duration;

use super::StoreError;

/// How a [`super::Store`] treats failures that may pass.
///
/// This is the only loop: the HTTP clients below are told not to retry.
#[derive(Debug, Clone, Copy)]
pub struct RetryPolicy {
    /// How often an operation is tried in all; at least once.
    pub attempts: u32,
    /// The pause after the first failure; it doubles each time.
    pub pause: Duration,
    /// How long one attempt may take before it counts as stalled, on top of
    /// the time its bytes need at the slowest rate.
    pub timeout: Duration,
    /// Bytes per second below which a transfer counts as stalled.
    pub slowest: u64,
}

impl RetryPolicy {
    /// How long one attempt that moves `bytes` may take.
    fn limit(&self, bytes: u64) -> Duration {
        self.timeout + Duration::from_secs(bytes / self.slowest.max(1))
    }

    /// Runs `attempt` (told its number, from 0) until it succeeds, fails for
    /// good, or has been tried often enough.
    pub(super) async fn run<T, F, Fut>(
        &self,
        (store, key): (&str, &str),
        bytes: u64,
        mut attempt: F,
    ) -> Result<T, StoreError>
    where
        F: FnMut(u32) -> Fut,
        Fut: Future<Output = Result<T, StoreError>>,
    {
        let mut pause = self.pause;
        let mut number = 0;
        loop {
            let limit = self.limit(bytes);
            let outcome = tokio::time::timeout(limit, attempt(number)).await;
            let error = match outcome {
                Ok(Ok(value)) => return Ok(value),
                Ok(Err(error)) if !error.is_transient() => return Err(error),
                Ok(Err(error)) => error,
                Err(_) => StoreError::Unavailable {
                    store: store.to_owned(),
                    key: key.to_owned(),
                    reason: format!("no answer within {} s", limit.as_secs_f32()),
                },
            };
            number += 1;
            if number >= self.attempts {
                return Err(error);
            }
            tracing::debug!(store, key, number, %error, "asking the store again");
            tokio::time::sleep(pause).await;
            pause *= 2;
        }
    }
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            attempts: 5,
            pause: Duration::from_millis(100),
            timeout: Duration::from_secs(30),
            slowest: 256 << 10,
        }
    }
}
