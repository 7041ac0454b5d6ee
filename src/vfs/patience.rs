//! Asking a source again that does not answer.

use std::time::Duration;

use super::VfsError;

/// How long a file operation waits for a source that went away: long enough
/// for a server to be restarted.
const PATIENCE: Duration = Duration::from_secs(30);

/// The first and the longest pause between two questions.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Asks until there is an answer, or none within the time of a restart.
pub async fn patiently<T, F>(ask: impl FnMut() -> F) -> Result<T, VfsError>
where
    F: Future<Output = Result<T, VfsError>>,
{
    within(PATIENCE, ask).await
}

async fn within<T, F>(patience: Duration, mut ask: impl FnMut() -> F) -> Result<T, VfsError>
where
    F: Future<Output = Result<T, VfsError>>,
{
    let mut unavailable = VfsError::Unavailable("no answer".to_owned());
    let asking = async {
        let mut pause = PAUSES.0;
        loop {
            match ask().await {
                Err(error @ VfsError::Unavailable(_)) => unavailable = error,
                answer => return answer,
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    };
    let answer = tokio::time::timeout(patience, asking).await;
    answer.unwrap_or(Err(unavailable))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_source_that_comes_back_is_waited_for() {
        let mut asked = 0;
        let answer = patiently(|| {
            asked += 1;
            let gone = asked < 3;
            async move {
                match gone {
                    true => Err(VfsError::Unavailable("away".to_owned())),
                    false => Ok(asked),
                }
            }
        });
        assert_eq!(answer.await.unwrap(), 3);
    }

    #[tokio::test]
    async fn one_that_does_not_come_back_is_given_up() {
        let away = || async { Err::<(), _>(VfsError::Unavailable("away".to_owned())) };
        let given_up = within(Duration::ZERO, away).await;
        assert!(matches!(given_up, Err(VfsError::Unavailable(why)) if why == "away"));
        let gone = || async { Err::<(), _>(VfsError::NotFound) };
        assert!(matches!(patiently(gone).await, Err(VfsError::NotFound)));
    }
}
