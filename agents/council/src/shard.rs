//! Negotiation: a worker for each share of the cases, by case id, so that what is said of one case is said in order.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use trailwarden_core::case::Case;
use trailwarden_core::detection::RuleSet;
use trailwarden_core::gather::is_worth_judging;
use trailwarden_core::hash::hash64;
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{Judgement, Negotiation};
use trailwarden_proto::v1::CaseState;
use trailwarden_runtime::metrics::Metrics;

use crate::apart::apart;
use crate::docket::{Entry, Matter};
use crate::entry::{Statement, to_wire};
use crate::log::{self, CaseLogs, Logged};
use crate::panel::{Ended, Panel, Transcript, deliberate, replay};
use crate::supervision::{Failure, Handle, Policy, Work, Worker};
use crate::{Judge, Judged};

/// Workers that judge. More judge no faster than there are cores, and few enough that none is idle for long.
pub(crate) const SHARDS: usize = 4;
/// How long one entry may take, judgement and log together, but for a panel. The deterministic brains need milliseconds.
const ENTRY_DEADLINE: Duration = Duration::from_secs(30);

/// How long after a batch came its cases may still be brought before a panel. What waits behind them is judged without, so
/// that a slow model delays a batch by this and one deliberation, far below what the case builder has for it.
const PANEL_WAIT_MAX: Duration = Duration::from_secs(60);

/// How shards are looked after: any number of restarts costs nothing, since they remember nothing.
pub(crate) fn policy(bench: &Bench) -> Policy {
    Policy { mailbox_max: 64, deadline: bench.deadline(), restarts_max: 8, window: Duration::from_secs(60) }
}

/// An entry to be made.
#[derive(Clone, Debug)]
pub(crate) struct Brief {
    pub(crate) entry: Arc<Entry>,
    /// Later it is made without a panel.
    panel_until: Instant,
}

impl Brief {
    /// One of a batch that came just now.
    pub(crate) fn new(entry: Entry) -> Self {
        Self { entry: Arc::new(entry), panel_until: Instant::now() + PANEL_WAIT_MAX }
    }
}

/// What shards work with.
#[derive(Clone)]
pub(crate) struct Bench {
    pub(crate) judge: Arc<dyn Judge>,
    pub(crate) logs: CaseLogs,
    pub(crate) rules: Arc<RuleSet>,
    /// Models that are asked about what is grave enough; `None`: none is.
    pub(crate) panel: Option<Panel>,
    /// Once it is cancelled no model is waited for.
    pub(crate) stop: CancellationToken,
    pub(crate) metrics: Metrics,
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
    type Request = Brief;
    /// `None`: the case was not worth an entry.
    type Answer = Result<Option<Logged>, log::Error>;

    fn begin(&mut self, brief: Brief) -> Work<Self::Answer> {
        let bench = self.bench.clone();
        Box::pin(async move { bench.enter(&brief).await })
    }
}

impl Bench {
    /// How long one entry may take.
    fn deadline(&self) -> Duration {
        ENTRY_DEADLINE + self.panel.as_ref().map_or(Duration::ZERO, Panel::patience)
    }

    async fn enter(&self, brief: &Brief) -> Result<Option<Logged>, log::Error> {
        let entry = &brief.entry;
        let Some(statement) = self.statement(brief).await? else {
            return Ok(None);
        };
        self.logs.state(&entry.case_id, entry.ordinal, &statement).await.map(Some)
    }

    async fn statement(&self, brief: &Brief) -> Result<Option<Statement>, log::Error> {
        let entry = &brief.entry;
        let (case, is_awaited, state) = match &entry.matter {
            Matter::Merge { into } => return Ok(Some(Statement::MergedInto(into.clone()))),
            Matter::Judge(case) => (case, true, CaseState::Open),
            Matter::Close { case, is_awaited } => (case, *is_awaited, CaseState::Closed),
        };
        let mut case = case.clone();
        self.judge.weigh(&mut case);
        if !is_awaited && !is_worth_judging(&case, self.rules.rules()) {
            return Ok(None);
        }
        let judged = self.judged(case).await;
        let (judged, transcript) = self.deliberated(judged, brief).await?;
        let wire = Box::new(to_wire(judged, transcript.as_ref(), state, entry.ordinal));
        Ok(Some(if state == CaseState::Open { Statement::Judged(wire) } else { Statement::Closed(wire) }))
    }

    /// A judged case after the panel, where it is grave enough for that.
    ///
    /// Nothing is asked that the log says already: a council that starts again finds its entries, and models would say
    /// something else. Where the case is as it was when models were last asked, what they said then still stands.
    async fn deliberated(&self, judged: Judged, brief: &Brief) -> Result<(Judged, Option<Transcript>), log::Error> {
        let entry = &brief.entry;
        let severity = judged.judgement.severity;
        let Some(panel) = self.panel.as_ref().filter(|panel| panel.is_asked(severity)) else {
            return Ok((judged, None));
        };
        let history = self.logs.history(&entry.case_id).await?;
        if history.has(entry.ordinal) || Instant::now() > brief.panel_until {
            return Ok((judged, None));
        }
        if let Some(transcript) = answered(history.transcript_before(entry.ordinal))
            && let Some(judgement) = self.retold(&judged.case, &transcript).await
        {
            return Ok((self.told(judged.case, judgement).await, Some(transcript)));
        }
        let deliberated = tokio::select! {
            biased;
            // Told to stop, the council has less time than a model may take.
            () = self.stop.cancelled() => None,
            deliberated = self.paid(&judged.case, panel) => Some(deliberated?),
        };
        let Some((judgement, transcript)) = deliberated.filter(|(_, transcript)| !transcript.calls.is_empty()) else {
            return Ok((judged, None));
        };
        Ok((self.told(judged.case, judgement).await, Some(transcript)))
    }

    /// What the panel makes of a case, within what the day leaves. Given up half-way, all that was set aside counts as used.
    async fn paid(&self, case: &Case, panel: &Panel) -> Result<(Judgement, Transcript), log::Error> {
        let (negotiation, asks) = self.opened(case).await;
        let (judgement, transcript) = match panel.account() {
            None => deliberate(negotiation, asks, panel).await,
            Some((account, tokens)) => {
                let grant = account.reserve(tokens).await?;
                let (judgement, transcript) = deliberate(negotiation, asks, &panel.granted(grant.tokens())).await;
                if let Err(error) = account.settle(grant, transcript.usage()).await {
                    tracing::warn!(case = case.id, %error, "what a case did not use of its tokens was not given back");
                }
                (judgement, transcript)
            }
        };
        for call in &transcript.calls {
            self.metrics.model_call(call.ended.word());
        }
        let used = transcript.usage();
        self.metrics.model_usage(used.input_tokens, used.output_tokens, transcript.micro_dollars());
        Ok((judgement, transcript))
    }

    async fn judged(&self, case: Case) -> Judged {
        let judge = self.judge.clone();
        apart(move || judge.judge(case)).await
    }

    /// Opens a negotiation, which freezes the case's evidence.
    async fn opened(&self, case: &Case) -> (Negotiation, Vec<Ask>) {
        let (judge, case) = (self.judge.clone(), case.clone());
        apart(move || judge.open(&case)).await
    }

    /// What stands in a transcript, said once more; `None` where it belongs to other evidence.
    async fn retold(&self, case: &Case, transcript: &Transcript) -> Option<Judgement> {
        let (judge, case, transcript) = (self.judge.clone(), case.clone(), transcript.clone());
        apart(move || {
            let (negotiation, asks) = judge.open(&case);
            replay(negotiation, asks, &transcript).ok()
        })
        .await
    }

    async fn told(&self, case: Case, judgement: Judgement) -> Judged {
        let judge = self.judge.clone();
        apart(move || judge.tell(case, judgement)).await
    }
}

/// What a log keeps of an earlier deliberation, if a model answered in it.
fn answered(transcript_json: &str) -> Option<Transcript> {
    let transcript: Transcript = serde_json::from_str(transcript_json).ok()?;
    transcript.calls.iter().any(|call| call.ended == Ended::Answered).then_some(transcript)
}

/// All shards.
#[derive(Clone, Debug)]
pub(crate) struct Shards {
    shards: Vec<Handle<Shard>>,
    /// Of whoever asks one.
    patience: Duration,
}

impl Shards {
    pub(crate) fn new(shards: Vec<Handle<Shard>>, bench: &Bench) -> Self {
        // It ends after that of the work, so the work's answer is heard.
        Self { shards, patience: bench.deadline() + ENTRY_DEADLINE }
    }

    /// Which one is answerable for a case.
    pub(crate) fn of(&self, case: &str) -> usize {
        (hash64(case) % self.shards.len().max(1) as u64) as usize
    }

    pub(crate) async fn ask(&self, shard: usize, brief: Brief) -> Result<Result<Option<Logged>, log::Error>, Failure> {
        match self.shards.get(shard) {
            Some(shard) => shard.ask(brief, self.patience).await,
            None => Err(Failure::GivenUp),
        }
    }

    pub(crate) async fn stop(&self) {
        for shard in &self.shards {
            shard.stop().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use trailwarden_bus::{Bus, Layout, Memory};
    use trailwarden_core::level::{Severity, Verdict};

    use super::*;
    use crate::fixtures::{Counting, case};
    use crate::panel::fixtures::{Mood, Scripted};
    use crate::panel::{Limits, ROLES};

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

        fn open(&self, case: &Case) -> (Negotiation, Vec<Ask>) {
            Counting.open(case)
        }

        fn tell(&self, case: Case, judgement: Judgement) -> Judged {
            Counting.tell(case, judgement)
        }
    }

    async fn is_logged(learned: f64, is_awaited: bool) -> bool {
        let logs = CaseLogs::new(Arc::new(Memory::default()), "default", Metrics::nowhere());
        let rules = Arc::new(RuleSet::load(&[]).expect("no rules are rules"));
        let (judge, stop, metrics) = (Arc::new(Weighing(learned)), CancellationToken::new(), Metrics::nowhere());
        let bench = Bench { judge, logs, rules, panel: None, stop, metrics };
        let matter = Matter::Close { case: case("a", &["x"]), is_awaited };
        let brief = Brief::new(Entry { case_id: "a".to_owned(), ordinal: 1, matter });
        bench.statement(&brief).await.expect("no log is read").is_some()
    }

    #[tokio::test]
    async fn what_is_not_worth_it_is_weighed_and_not_judged() {
        assert!(!is_logged(0.01, false).await);
        assert!(is_logged(0.9, false).await);
        assert!(is_logged(0.9, true).await);
    }

    /// Judges under terms of this name, which close the case or do not.
    struct Under(&'static str, Verdict);

    impl Judge for Under {
        fn weigh(&self, case: &mut Case) {
            Counting.weigh(case);
        }

        fn judge(&self, case: Case) -> Judged {
            let mut judged = Counting.judge(case);
            judged.judgement.verdict = self.1;
            judged.judgement.basis.terms = self.0.to_owned();
            judged
        }

        fn open(&self, case: &Case) -> (Negotiation, Vec<Ask>) {
            Counting.open(case)
        }

        fn tell(&self, case: Case, judgement: Judgement) -> Judged {
            Counting.tell(case, judgement)
        }
    }

    #[tokio::test]
    async fn what_is_logged_stays_when_terms_have_changed_meanwhile() {
        let bus = Arc::new(Memory::default());
        bus.set_up(&Layout::in_memory("default", 1)).await.expect("set up");
        let logs = CaseLogs::new(bus, "default", Metrics::nowhere());
        let rules = Arc::new(RuleSet::load(&[]).expect("no rules are rules"));
        let bench = |terms, verdict| {
            let (logs, rules, stop) = (logs.clone(), rules.clone(), CancellationToken::new());
            Bench {
                judge: Arc::new(Under(terms, verdict)),
                logs,
                rules,
                panel: None,
                stop,
                metrics: Metrics::nowhere(),
            }
        };
        let first = bench("by hand", Verdict::Suspicious);
        assert!(matches!(first.enter(&brief(1, &["x"])).await, Ok(Some(Logged::Appended(_)))));
        let said = logs.history("a").await.expect("a log");
        assert_eq!(said.case().map(|case| case.judged_under.as_str()), Some("by hand"));

        // A council under a new calibration folds again: its entries are there, as they were.
        let again = bench("calibrated", Verdict::Benign);
        assert_eq!(again.enter(&brief(1, &["x"])).await.expect("a log"), Some(Logged::Present));
        assert_eq!(logs.history("a").await.expect("a log"), said);
        // What comes after is judged under the new terms, and says so.
        assert!(matches!(again.enter(&brief(2, &["x", "y"])).await, Ok(Some(Logged::Appended(_)))));
        let now = logs.history("a").await.expect("a log");
        let told = now.case().map(|case| (case.judged_under.as_str(), case.verdict.as_str()));
        assert_eq!(told, Some(("calibrated", "benign")));
        // Under the same terms the same has to come out.
        let broken = bench("by hand", Verdict::Benign);
        assert_eq!(broken.enter(&brief(1, &["x"])).await.expect("a log"), Some(Logged::Differs));
    }

    fn brief(ordinal: u32, events: &[&str]) -> Brief {
        let matter = Matter::Close { case: case("a", events), is_awaited: true };
        Brief::new(Entry { case_id: "a".to_owned(), ordinal, matter })
    }

    #[tokio::test(start_paused = true)]
    async fn models_are_asked_once_about_what_is_grave_and_their_word_stands() {
        let bus = Arc::new(Memory::default());
        bus.set_up(&Layout::in_memory("default", 1)).await.expect("set up");
        let logs = CaseLogs::new(bus, "default", Metrics::nowhere());
        let rules = Arc::new(RuleSet::load(&[]).expect("no rules are rules"));
        let bench = |mood: Option<Mood>, from: Severity| {
            let model = Arc::new(Scripted::new(&[mood.unwrap_or(Mood::Absent)], 3));
            let roles: BTreeSet<_> = ROLES.into_iter().collect();
            let panel = mood.map(|_| Panel::new(model.clone(), &roles, from, Limits::default()));
            let (logs, rules, stop) = (logs.clone(), rules.clone(), CancellationToken::new());
            (Bench { judge: Arc::new(Counting), logs, rules, panel, stop, metrics: Metrics::nowhere() }, model)
        };
        let logged = async || logs.history("a").await.expect("a log").case().cloned().expect("a case");

        let (lofty, unasked) = bench(Some(Mood::Formal), Severity::Critical);
        lofty.statement(&brief(1, &["x"])).await.expect("a log").expect("worth it");
        assert_eq!(unasked.asked(), []);

        let (first, model) = bench(Some(Mood::Formal), Severity::Medium);
        assert!(matches!(first.enter(&brief(1, &["x"])).await, Ok(Some(Logged::Appended(_)))));
        let calls = model.asked().len();
        assert!(calls >= 5, "{calls} calls");
        let said = logged().await;
        assert!(answered(&said.transcript_json).is_some());

        // Started again, with another model, or with none: the log has it, and nobody is asked.
        for mood in [Some(Mood::Garbage), None] {
            let (again, model) = bench(mood, Severity::Medium);
            assert_eq!(again.enter(&brief(1, &["x"])).await.expect("a log"), Some(Logged::Present));
            assert_eq!(model.asked(), []);
        }
        // Another case is another case, whatever models say of it.
        assert_eq!(first.enter(&brief(1, &["z"])).await.expect("a log"), Some(Logged::Differs));

        // The same evidence once more: what was said stands. Other evidence: it is asked about.
        assert!(matches!(first.enter(&brief(2, &["x"])).await, Ok(Some(Logged::Appended(_)))));
        assert_eq!(model.asked().len(), calls);
        assert_eq!(logged().await.transcript_json, said.transcript_json);
        assert!(matches!(first.enter(&brief(3, &["x", "y"])).await, Ok(Some(Logged::Appended(_)))));
        assert!(model.asked().len() > calls);

        let late = |ordinal| brief(ordinal, &["x", "y", "z"]);
        // Told to stop, nobody waits for a model that hangs.
        let (unheard, (hanging, _)) = (late(4), bench(Some(Mood::Hanging), Severity::Medium));
        let begun = Instant::now();
        let stopping = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            hanging.stop.cancel();
        };
        let (stopped, ()) = tokio::join!(hanging.statement(&unheard), stopping);
        assert!(matches!(stopped, Ok(Some(Statement::Closed(case))) if case.transcript_json.is_empty()));
        assert_eq!(begun.elapsed(), Duration::from_secs(1));

        // What has waited too long behind others is judged without.
        let (calls, late) = (model.asked().len(), late(4));
        tokio::time::advance(PANEL_WAIT_MAX + Duration::from_secs(1)).await;
        assert!(matches!(first.enter(&late).await, Ok(Some(Logged::Appended(_)))));
        assert_eq!((model.asked().len(), logged().await.transcript_json.as_str()), (calls, ""));
    }
}
