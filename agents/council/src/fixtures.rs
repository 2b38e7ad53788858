//! Hand-made cases for tests.

use trailwarden_core::activity::{Credential, Details, PrincipalKind};
use trailwarden_core::api::Vocabulary;
use trailwarden_core::case::{Case, Signal};
use trailwarden_core::feature::FeatureVector;
use trailwarden_core::level::{Level, Severity, Verdict};
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::said::Summary;
use trailwarden_core::negotiation::{Basis, Bounds, Judgement, Negotiation, Route, freeze};
use trailwarden_core::plan::Plan;
use trailwarden_core::registry::Registry;
use trailwarden_core::time::{MINUTE_MS, Timestamp};

use crate::{Judge, Judged};

/// A signal `minutes` after the epoch.
pub(crate) fn signal(event_id: &str, minutes: i64) -> Signal {
    Signal {
        event_id: event_id.to_owned(),
        event_time: Timestamp::from_millis(minutes * MINUTE_MS),
        account: "111122223333".into(),
        region: "eu-west-1".into(),
        service: "iam".into(),
        call: "CreateUser".into(),
        principal: "arn:aws:iam::111122223333:user/ann".into(),
        principal_kind: PrincipalKind::IamUser,
        session: "AKIA1".into(),
        session_name: String::new(),
        credential: Credential::LongTermKey,
        mfa: None,
        source: String::new(),
        user_agent: String::new(),
        error_code: None,
        read_only: None,
        score: 0.5,
        level: Level::Critical,
        detections: Vec::new(),
        features: FeatureVector::default(),
        learned: Some(0.9),
        reasons: Vec::new(),
        details: Details::default(),
    }
}

/// A case of one signal a minute.
pub(crate) fn case(id: &str, event_ids: &[&str]) -> Case {
    let signals: Vec<Signal> = event_ids.iter().zip(0..).map(|(event, minute)| signal(event, minute)).collect();
    Case {
        id: id.to_owned(),
        account: signals[0].account.clone(),
        principal: signals[0].principal.clone(),
        session: signals[0].session.clone(),
        first_event_time: signals[0].event_time,
        last_event_time: signals[signals.len() - 1].event_time,
        signals,
        further_event_ids: Vec::new(),
        learned: Some(0.9),
        replaces: Vec::new(),
    }
}

/// Judges by counting.
#[derive(Debug, Default)]
pub(crate) struct Counting;

impl Judge for Counting {
    fn weigh(&self, case: &mut Case) {
        case.learned = Some(0.9);
    }

    fn judge(&self, case: Case) -> Judged {
        assert!(case.signals.iter().all(|signal| signal.event_id != "unbearable"), "a case that no judge can bear");
        let judgement = Judgement {
            case_id: case.id.clone(),
            verdict: Verdict::Suspicious,
            severity: Severity::High,
            probability: 0.9,
            probability_deterministic: 0.9,
            summary: Summary::Nothing,
            reasons: Vec::new(),
            rejected: Vec::new(),
            techniques: Vec::new(),
            plan: Plan::default(),
            route: Route::Closed,
            counterfactual: None,
            brains: Vec::new(),
            evidence_digest: String::new(),
            basis: Basis::default(),
        };
        self.tell(case, judgement)
    }

    fn open(&self, case: &Case) -> (Negotiation, Vec<Ask>) {
        let (pack, handles) = freeze(case, &[], &Registry::default(), &Vocabulary::builtin());
        Negotiation::open(pack, handles, Bounds::default())
    }

    fn tell(&self, case: Case, judgement: Judgement) -> Judged {
        let line_json = format!("{{\"case_id\":\"{}\",\"events\":{}}}", case.id, case.signals.len());
        Judged { case, judgement, line_json }
    }
}
