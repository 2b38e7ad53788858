//! Cases for tests, built a signal at a time.

use std::sync::{Arc, LazyLock};

use super::{Bounds, Judgement, Refits, Terms, Weights, negotiate_deterministically, score};
use crate::activity::{Credential, Details, PrincipalKind};
use crate::api::Vocabulary;
use crate::case::{Case, Signal};
use crate::detection::{Rule, RuleIndex};
use crate::feature::FeatureVector;
use crate::level::Severity;
use crate::registry::Registry;
use crate::resource::{Resource, ResourceKind};
use crate::time::Timestamp;

pub(super) const ACCOUNT: &str = "111122223333";
pub(super) const SSO_ROLE: &str =
    "arn:aws:iam::111122223333:role/aws-reserved/sso.amazonaws.com/AWSReservedSSO_Ops_0123456789abcdef";

/// Made once: thousands of cases are frozen with it.
pub(super) static VOCABULARY: LazyLock<Vocabulary> = LazyLock::new(Vocabulary::builtin);

#[derive(Clone, Debug, Default)]
pub(super) struct Scene {
    pub(super) rules: Vec<Rule>,
    pub(super) signals: Vec<Signal>,
    pub(super) registry: Registry,
    pub(super) bounds: Bounds,
    /// The model's word on the case.
    pub(super) learned: Option<f64>,
    pub(super) weights: Option<Arc<Weights>>,
    pub(super) refits: Refits,
}

pub(super) fn rule(severity: Severity, tactic: &str, predicate: Option<&str>) -> Rule {
    Rule {
        id: format!("{severity}-{tactic}"),
        title: format!("{tactic} ({severity})"),
        description: String::new(),
        severity,
        techniques: vec!["T1098.001".to_owned()],
        tactics: vec![tactic.to_owned()],
        false_positives: Vec::new(),
        predicate: predicate.map(str::to_owned),
        floor: None,
        raises: true,
        first_seen: None,
    }
}

pub(super) fn user(name: &str) -> String {
    format!("arn:aws:iam::{ACCOUNT}:user/{name}")
}

pub(super) fn resource(kind: ResourceKind, id: &str, created: bool) -> Resource {
    Resource { kind, account: ACCOUNT.to_owned(), region: "eu-west-1".to_owned(), id: id.to_owned(), created }
}

/// Who calls, in the tables of the tests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Caller {
    /// IAM user with a long-term key, no MFA.
    Key,
    /// IAM user in the console with MFA.
    Mfa,
    /// Identity Center.
    Workforce,
    /// A role's session.
    Role,
}

pub(super) const CALLERS: [Caller; 4] = [Caller::Key, Caller::Mfa, Caller::Workforce, Caller::Role];

impl Scene {
    /// Adds a rule and returns its place.
    pub(super) fn with_rule(&mut self, rule: Rule) -> u16 {
        self.rules.push(rule);
        u16::try_from(self.rules.len() - 1).expect("few rules")
    }

    /// Adds a signal on which these rules matched, ten seconds after the one before.
    pub(super) fn add(&mut self, caller: Caller, rules: &[u16]) -> &mut Signal {
        let number = self.signals.len();
        let (principal, principal_kind, credential, mfa, session) = match caller {
            Caller::Key => (user("ci-staging"), PrincipalKind::IamUser, Credential::LongTermKey, None, "AKIAEXAMPLE"),
            Caller::Mfa => (user("anna"), PrincipalKind::IamUser, Credential::Console, Some(true), "ASIAANNA"),
            Caller::Workforce => {
                (SSO_ROLE.to_owned(), PrincipalKind::Role, Credential::TemporaryKey, Some(false), "ASIASSO")
            }
            Caller::Role => {
                let role = format!("arn:aws:iam::{ACCOUNT}:role/deploy");
                (role, PrincipalKind::Role, Credential::TemporaryKey, Some(false), "ASIAROLE")
            }
        };
        let severities = rules.iter().filter_map(|index| self.rules.get(usize::from(*index))).map(|rule| rule.severity);
        let score = score::event_score(severities);
        self.signals.push(Signal {
            event_id: format!("event-{number:03}"),
            event_time: Timestamp::from_millis(1_700_000_000_000 + 10_000 * number as i64),
            account: ACCOUNT.to_owned(),
            region: "eu-west-1".to_owned(),
            service: "iam".to_owned(),
            call: "CreateUser".to_owned(),
            principal,
            principal_kind,
            session: session.to_owned(),
            session_name: String::new(),
            credential,
            mfa,
            source: "198.51.100.7".to_owned(),
            user_agent: "aws-cli/2.15.0".to_owned(),
            error_code: None,
            read_only: Some(false),
            score,
            level: score::level(score, None, None),
            detections: rules.iter().map(|index| RuleIndex(*index)).collect(),
            features: FeatureVector::default(),
            learned: None,
            reasons: Vec::new(),
            details: Details::default(),
        });
        self.signals.last_mut().expect("just pushed")
    }

    pub(super) fn case(&self) -> Case {
        let first = self.signals.first().expect("a case has a signal");
        Case {
            id: "c0ffee".to_owned(),
            account: first.account.clone(),
            principal: first.principal.clone(),
            session: first.session.clone(),
            first_event_time: first.event_time,
            last_event_time: self.signals.last().expect("as above").event_time,
            signals: self.signals.clone(),
            further_event_ids: Vec::new(),
            learned: self.learned,
            replaces: Vec::new(),
        }
    }

    pub(super) fn judged(&self) -> Judgement {
        negotiate_deterministically(&self.case(), &self.rules, &self.registry, &VOCABULARY, &self.terms())
    }

    pub(super) fn terms(&self) -> Terms {
        Terms { bounds: self.bounds, weights: self.weights.clone(), refits: self.refits, ..Terms::default() }
    }
}

/// One signal with one rule.
pub(super) fn single(caller: Caller, severity: Severity) -> Scene {
    let mut scene = Scene::default();
    let index = scene.with_rule(rule(severity, "persistence", Some("principal_creation")));
    scene.add(caller, &[index]);
    scene
}
