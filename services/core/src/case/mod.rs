//! Cases: the signals of one lineage, in time. A signal is an activity worth keeping, about 1 % of all.

mod builder;
mod lineage;

pub use builder::{Builder, Limits, Place};
pub use lineage::HeldLink;

use crate::activity::{Activity, Credential, Details, PrincipalKind};
use crate::detection::RuleIndex;
use crate::feature::{Feature, FeatureVector};
use crate::level::Level;
use crate::time::Timestamp;

/// An activity worth keeping, owned, with what was found about it.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    pub event_id: String,
    pub event_time: Timestamp,
    pub account: String,
    pub region: String,
    pub service: String,
    pub call: String,
    pub principal: String,
    pub principal_kind: PrincipalKind,
    pub session: String,
    pub session_name: String,
    pub credential: Credential,
    pub mfa: Option<bool>,
    pub source: String,
    pub user_agent: String,
    pub error_code: Option<String>,
    pub read_only: Option<bool>,
    /// Probability that the event is part of an attack, 0 to 1.
    pub score: f64,
    pub level: Level,
    /// Rules, correlations and first-seen facts, ordered by rule, none twice.
    pub detections: Vec<RuleIndex>,
    pub features: FeatureVector,
    /// What the model gives this event, 0 to 1; `None` where it abstains.
    pub learned: Option<f64>,
    /// What moved the model's opinion of this event most, in log-odds, largest first; empty where it was not asked.
    pub reasons: Vec<(Feature, f32)>,
    pub details: Details,
}

impl Signal {
    pub fn api(&self) -> String {
        format!("{}:{}", self.service, self.call)
    }

    pub fn denied(&self) -> bool {
        self.error_code.as_deref().is_some_and(crate::activity::is_denial)
    }

    /// Takes an activity into a signal.
    pub fn new(
        activity: &Activity<'_>,
        score: f64,
        level: Level,
        detections: Vec<RuleIndex>,
        features: FeatureVector,
        details: Details,
    ) -> Self {
        Self {
            event_id: activity.event_id.to_owned(),
            event_time: activity.event_time,
            account: activity.account.to_owned(),
            region: activity.region.to_owned(),
            service: activity.service.to_owned(),
            call: activity.call.to_owned(),
            principal: activity.principal.to_owned(),
            principal_kind: activity.principal_kind,
            session: activity.session.to_owned(),
            session_name: activity.session_name.to_owned(),
            credential: activity.credential,
            mfa: activity.mfa,
            source: activity.source.to_owned(),
            user_agent: activity.user_agent.to_owned(),
            error_code: activity.error_code.map(str::to_owned),
            read_only: activity.read_only,
            score,
            level,
            detections,
            features,
            learned: None,
            reasons: Vec::new(),
            details,
        }
    }
}

/// Signals of one lineage within 15 quiet minutes, at most 6 h.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Hex, derived from the first signal; stable over runs.
    pub id: String,
    /// Account, principal and session of the signal that weighs most (highest score, then earliest).
    pub account: String,
    pub principal: String,
    pub session: String,
    pub first_event_time: Timestamp,
    pub last_event_time: Timestamp,
    /// Ordered by (event time, event id); at least one.
    pub signals: Vec<Signal>,
    /// Signals beyond what one case keeps in full: counted, and their event ids kept.
    pub further_event_ids: Vec<String>,
    /// Probability that the case is an attack by what the model says of its events; `None` where it abstains.
    pub learned: Option<f64>,
    /// Ids under which parts of it were shown while it was open, other than its own (see [`Builder::open_case`]).
    pub replaces: Vec<String>,
}
