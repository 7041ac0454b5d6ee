//! What was found out about tokens is remembered for a while.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lru::LruCache;

use super::{Identity, ReviewError, Reviewer, Token};
use crate::model::{Clock, Timestamp};

/// How long an identity is believed, at most.
const BELIEVED: Duration = Duration::from_secs(60);

/// How long a refusal is repeated without asking again.
const REPEATED: Duration = Duration::from_secs(10);

/// Tokens remembered, of each kind: of 10,000 pods that come at once, and of
/// those who try.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).expect("more than none");

/// Reviews that are under way at the same time, at most.
const AT_ONCE: usize = 16;

/// Stands for a token; without the key it says nothing about it.
type Mark = [u8; 32];

/// A reviewer that is asked once a minute about the same token.
pub(super) struct Memory {
    reviewer: Arc<dyn Reviewer>,
    clock: Arc<dyn Clock>,
    key: [u8; 32],
    known: Mutex<LruCache<Mark, Known<Identity>>>,
    /// Apart, so that who tries many tokens displaces nobody.
    refused: Mutex<LruCache<Mark, Known<String>>>,
    /// Whoever asks about a token while it is reviewed waits for the answer.
    turns: [tokio::sync::Mutex<()>; AT_ONCE],
}

struct Known<T> {
    what: T,
    since: Timestamp,
    until: Timestamp,
}

impl<T: Clone> Known<T> {
    /// What is known, unless it is too old; a clock that went back counts as
    /// one that went far.
    fn at(&self, now: Timestamp) -> Option<T> {
        (self.since <= now && now < self.until).then(|| self.what.clone())
    }
}

impl Memory {
    pub(super) fn new(reviewer: Arc<dyn Reviewer>, clock: Arc<dyn Clock>) -> Self {
        let mut key = [0; 32];
        key[..16].copy_from_slice(&clock.random());
        key[16..].copy_from_slice(&clock.random());
        Self {
            reviewer,
            clock,
            key,
            known: Mutex::new(LruCache::new(REMEMBERED)),
            refused: Mutex::new(LruCache::new(REMEMBERED)),
            turns: std::array::from_fn(|_| tokio::sync::Mutex::new(())),
        }
    }

    /// Whose the token is, asked for or remembered.
    pub(super) async fn identity(&self, token: &Token) -> Result<Identity, ReviewError> {
        let mark = *blake3::keyed_hash(&self.key, token.secret().as_bytes()).as_bytes();
        if let Some(answer) = self.remembered(&mark) {
            return answer;
        }
        let _turn = self.turns[usize::from(mark[0]) % AT_ONCE].lock().await;
        if let Some(answer) = self.remembered(&mark) {
            return answer;
        }
        let answer = self.reviewer.review(token).await;
        self.remember(mark, token, &answer);
        answer
    }

    fn remembered(&self, mark: &Mark) -> Option<Result<Identity, ReviewError>> {
        let now = self.clock.now();
        if let Some(identity) = lock(&self.known).get(mark).and_then(|known| known.at(now)) {
            return Some(Ok(identity));
        }
        let reason = lock(&self.refused).get(mark).and_then(|known| known.at(now))?;
        Some(Err(ReviewError::Refused { reason }))
    }

    fn remember(&self, mark: Mark, token: &Token, answer: &Result<Identity, ReviewError>) {
        let since = self.clock.now();
        match answer {
            Ok(identity) => {
                let until = after(since, BELIEVED);
                let until = token.expires().map_or(until, |expires| expires.min(until));
                lock(&self.known).put(mark, Known { what: identity.clone(), since, until });
            }
            Err(ReviewError::Refused { reason }) => {
                lock(&self.known).pop(&mark);
                let until = after(since, REPEATED);
                lock(&self.refused).put(mark, Known { what: reason.clone(), since, until });
            }
            Err(ReviewError::Unavailable { .. }) => {}
        }
    }
}

fn after(time: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(time.as_nanos().saturating_add(span))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
