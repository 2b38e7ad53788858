//! Negotiation: a worker for each share of the cases, by case id, so that what is said of one case is said in order.

use std::sync::Arc;
use std::time::Duration;

use trailwarden_core::case::Case;
use trailwarden_core::detection::RuleSet;
use trailwarden_core::gather::is_worth_judging;
use trailwarden_core::hash::hash64;
use trailwarden_proto::v1::CaseState;

use crate::Judge;
use crate::docket::{Entry, Matter};
use crate::entry::{Statement, to_wire};
use crate::log::{self, CaseLogs, Logged};
use crate::supervision::{Failure, Handle, Policy, Work, Worker};

/// Workers that judge. More judge no faster than there are cores, and few enough that none is idle for long.
pub(crate) const SHARDS: usize = 4;
/// How long one entry may take, judgement and log together. The deterministic brains need milliseconds.
const ENTRY_DEADLINE: Duration = Duration::from_secs(30);

/// How shards are looked after: any number of restarts costs nothing, since they remember nothing.
pub(crate) const POLICY: Policy =
    Policy { mailbox_max: 64, deadline: ENTRY_DEADLINE, restarts_max: 8, window: Duration::from_secs(60) };

/// What shards work with.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) judge: Arc<dyn Judge>,
    pub(crate) logs: CaseLogs,
    pub(crate) rules: Arc<RuleSet>,
}

/// Judges what is to be judged and sees that the log says so.
pub(crate) struct Shard {
    bench: Bench,
}

impl Shard {
    pub(crate) fn new(bench: Bench) -> Self {
        Self { bench }
    }
}

impl Worker for Shard {
    type Request = Arc<Entry>;
    /// `None`: the case was not worth an entry.
    type Answer = Result<Option<Logged>, log::Error>;

    fn begin(&mut self, entry: Arc<Entry>) -> Work<Self::Answer> {
        let bench = self.bench.clone();
        Box::pin(async move { bench.enter(&entry).await })
    }
}

impl Bench {
    async fn enter(&self, entry: &Entry) -> Result<Option<Logged>, log::Error> {
        let Some(statement) = self.statement(entry).await else {
            return Ok(None);
        };
        self.logs.state(&entry.case_id, entry.ordinal, &statement).await.map(Some)
    }

    async fn statement(&self, entry: &Entry) -> Option<Statement> {
        let (case, is_awaited, state) = match &entry.matter {
            Matter::Merge { into } => return Some(Statement::MergedInto(into.clone())),
            Matter::Judge(case) => (case, true, CaseState::Open),
            Matter::Close { case, is_awaited } => (case, *is_awaited, CaseState::Closed),
        };
        let mut case = case.clone();
        self.judge.weigh(&mut case);
        if !is_awaited && !is_worth_judging(&case, self.rules.rules()) {
            return None;
        }
        let judged = self.judged(case).await;
        let wire = Box::new(to_wire(judged, state, entry.ordinal));
        Some(if state == CaseState::Open { Statement::Judged(wire) } else { Statement::Closed(wire) })
    }

    /// Judging takes the processor for as long as it needs, so it has a thread of its own. Its panic goes on here, to end
    /// as the answer that this worker's parent gives.
    async fn judged(&self, case: Case) -> crate::Judged {
        let judge = self.judge.clone();
        match tokio::task::spawn_blocking(move || judge.judge(case)).await {
            Ok(judged) => judged,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Cancelled with the runtime: so is this task.
                Err(_) => std::future::pending().await,
            },
        }
    }
}

/// All shards.
#[derive(Clone, Debug)]
pub(crate) struct Shards(Vec<Handle<Shard>>);

impl Shards {
    pub(crate) fn new(shards: Vec<Handle<Shard>>) -> Self {
        Self(shards)
    }

    /// Which one is answerable for a case.
    pub(crate) fn of(&self, case: &str) -> usize {
        (hash64(case) % self.0.len().max(1) as u64) as usize
    }

    pub(crate) async fn ask(
        &self,
        shard: usize,
        entry: Arc<Entry>,
    ) -> Result<Result<Option<Logged>, log::Error>, Failure> {
        match self.0.get(shard) {
            // The patience of whoever asks ends after that of the work, so its answer is heard.
            Some(shard) => shard.ask(entry, ENTRY_DEADLINE * 2).await,
            None => Err(Failure::GivenUp),
        }
    }

    pub(crate) async fn stop(&self) {
        for shard in &self.0 {
            shard.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use trailwarden_bus::Memory;
    use trailwarden_runtime::metrics::Metrics;

    use super::*;
    use crate::Judged;
    use crate::fixtures::{Counting, case};

    /// Finds cases to be as likely as this, and judges none that is not worth it.
    struct Weighing(f64);

    impl Judge for Weighing {
        fn weigh(&self, case: &mut Case) {
            case.learned = Some(self.0);
        }

        fn judge(&self, case: Case) -> Judged {
            assert!(self.0 > 0.5, "nobody waits for this judgement");
            Counting.judge(case)
        }
    }

    async fn is_logged(learned: f64, is_awaited: bool) -> bool {
        let logs = CaseLogs::new(Arc::new(Memory::default()), "default", Metrics::nowhere());
        let rules = Arc::new(RuleSet::load(&[]).expect("no rules are rules"));
        let bench = Bench { judge: Arc::new(Weighing(learned)), logs, rules };
        let matter = Matter::Close { case: case("a", &["x"]), is_awaited };
        bench.statement(&Entry { case_id: "a".to_owned(), ordinal: 1, matter }).await.is_some()
    }

    #[tokio::test]
    async fn what_is_not_worth_it_is_weighed_and_not_judged() {
        assert!(!is_logged(0.01, false).await);
        assert!(is_logged(0.9, false).await);
        assert!(is_logged(0.9, true).await);
    }
}
