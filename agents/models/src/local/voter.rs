//! A vote as it is asked for among other work: on a thread for blocking work, one at a time, and given up at its deadline.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use super::{Vote, Weighed};
use crate::Error;

/// Whatever weighs a short text between two answers, without a word of its own.
#[async_trait]
pub trait Advisor: Send + Sync {
    /// What it is called in transcripts.
    fn name(&self) -> &str;

    /// Weighs a content, or gives up `within` so long.
    async fn weigh(&self, content: &str, within: Duration) -> Result<Weighed, Error>;
}

/// A [`Vote`] behind a bound on its time. It may be given the vote later, while a model is still on its way.
#[derive(Clone)]
pub struct Voter {
    name: String,
    vote: Arc<OnceLock<Vote>>,
    /// One pass at a time: it takes a whole core.
    place: Arc<Semaphore>,
}

impl Voter {
    /// A voter that says that it is not there until it is given its vote.
    #[must_use]
    pub fn awaited(name: impl Into<String>) -> Self {
        Self { name: name.into(), vote: Arc::default(), place: Arc::new(Semaphore::new(1)) }
    }

    #[must_use]
    pub fn new(name: impl Into<String>, vote: Vote) -> Self {
        let voter = Self::awaited(name);
        voter.give(vote);
        voter
    }

    /// Gives it its vote; a second one is not taken.
    pub fn give(&self, vote: Vote) {
        let _ = self.vote.set(vote);
    }
}

/// Tells a pass that nobody waits for it any more.
struct Hold(Arc<AtomicBool>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

#[async_trait]
impl Advisor for Voter {
    fn name(&self) -> &str {
        &self.name
    }

    async fn weigh(&self, content: &str, within: Duration) -> Result<Weighed, Error> {
        let deadline = Instant::now() + within;
        let late = Error::Timeout { after: within };
        if self.vote.get().is_none() {
            return Err(Error::Local("the model is not there yet".to_owned()));
        }
        let Ok(Ok(place)) = timeout_at(deadline, Arc::clone(&self.place).acquire_owned()).await else {
            return Err(late);
        };
        let given_up = Arc::new(AtomicBool::new(false));
        let _hold = Hold(Arc::clone(&given_up));
        let (vote, content) = (Arc::clone(&self.vote), content.to_owned());
        let pass = tokio::task::spawn_blocking(move || {
            // Held until the pass truly ends, so that those given up do not pile up.
            let _place = place;
            let vote = vote.get().ok_or_else(|| Error::Local("the model is not there".to_owned()))?;
            vote.weigh_while(&content, &|| !given_up.load(Ordering::Relaxed))
        });
        match timeout_at(deadline, pass).await {
            Ok(Ok(weighed)) => weighed,
            Ok(Err(_)) => Err(Error::Local("the pass over the model died".to_owned())),
            Err(_) => Err(late),
        }
    }
}
