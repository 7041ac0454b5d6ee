//! Lists in pages, all of which show the same moment.

use std::collections::VecDeque;
use std::fmt::Debug;
use std::sync::{Arc, Mutex, PoisonError};

use crate::refusal::{Refusal, Result};

#[cfg(test)]
mod tests;

/// How many lists are kept for whoever asks for their next page.
const KEPT: usize = 16;

/// The lists that somebody has seen the first page of. Who comes too late, or
/// after a restart, has to begin anew, as the specification provides.
pub(super) struct Listings<T> {
    kept: Mutex<Kept<T>>,
}

/// Lists by the digest of what they hold, the oldest first.
type Kept<T> = VecDeque<(String, Arc<Vec<T>>)>;

impl<T> Default for Listings<T> {
    fn default() -> Self {
        Self { kept: Mutex::default() }
    }
}

impl<T: Clone + Debug> Listings<T> {
    /// Up to `max` items from where `token` says, all when it is 0, and the
    /// token of the next page, empty after the last; `fresh` lists for a first
    /// page.
    pub async fn page<F: Future<Output = Result<Vec<T>>>>(
        &self,
        max: i32,
        token: &str,
        fresh: impl FnOnce() -> F,
    ) -> Result<(Vec<T>, String)> {
        let max = usize::try_from(max)
            .map_err(|_| Refusal::Invalid(format!("a page cannot have {max} entries")))?;
        let (key, list, from) = match token {
            "" => (None, Arc::new(fresh().await?), 0),
            token => self.continued(token)?,
        };
        let most = if max == 0 { list.len() } else { max };
        let end = from.saturating_add(most).min(list.len());
        let page = list[from..end].to_vec();
        if end == list.len() {
            return Ok((page, String::new()));
        }
        let key = key.unwrap_or_else(|| self.keep(list));
        Ok((page, format!("{key}.{end}")))
    }

    fn continued(&self, token: &str) -> Result<(Option<String>, Arc<Vec<T>>, usize)> {
        let over = || Refusal::Pending(format!("no list goes on at {token:?}: begin anew"));
        let (key, from) = token.split_once('.').ok_or_else(over)?;
        let from: usize = from.parse().map_err(|_| over())?;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept.iter().find(|(other, _)| other == key);
        let (_, list) = found.filter(|(_, list)| from <= list.len()).ok_or_else(over)?;
        Ok((Some(key.to_owned()), Arc::clone(list), from))
    }

    fn keep(&self, list: Arc<Vec<T>>) -> String {
        let digest = blake3::hash(format!("{list:?}").as_bytes());
        let key = digest.to_hex()[..16].to_owned();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|(other, _)| *other != key);
        kept.push_back((key.clone(), list));
        if kept.len() > KEPT {
            kept.pop_front();
        }
        key
    }
}
