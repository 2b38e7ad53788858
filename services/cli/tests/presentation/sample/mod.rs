//! A scan's findings by hand: three cases of different severity, one of them with 300 signals.

mod cases;

use trailwarden::findings::{Finding, Findings, Input, Reject, Tally};
use trailwarden_core::activity::{Credential, Details, PrincipalKind};
use trailwarden_core::case::{Case, Signal};
use trailwarden_core::detection::{Rule, RuleIndex};
use trailwarden_core::feature::FeatureVector;
use trailwarden_core::level::{Level, Severity, Verdict};
use trailwarden_core::negotiation::said::{Hold, Rests, Summary};
use trailwarden_core::negotiation::{Basis, Brain, Judgement, Role, Route};
use trailwarden_core::plan::Plan;
use trailwarden_core::resource::{Resource, ResourceKind};
use trailwarden_core::time::{MINUTE_MS, Timestamp};

const ACCOUNT: &str = "111122223333";
const DEPLOY: &str = "arn:aws:iam::111122223333:user/pipelines/ci-deploy";

pub(crate) fn time(text: &str) -> Timestamp {
    Timestamp::parse(text).expect("valid time")
}

/// The findings with these cases alone.
pub(crate) fn with_cases(findings: Findings, cases: Vec<Finding>) -> Findings {
    let tally = Tally::of(cases.iter().map(|finding| &finding.judgement));
    Findings { cases, tally, ..findings }
}

/// The whole sample.
pub(crate) fn findings() -> Findings {
    let mut findings = Findings {
        version: "0.1.0".into(),
        feature_schema_version: 1,
        input: input(),
        rules: rules(),
        ..Findings::default()
    };
    findings = with_cases(findings, vec![cases::audit(), cases::intrusion(), cases::sweep()]);
    let from = time("2024-07-24T06:00:00Z");
    for minute in 0..9_400_i64 {
        let at = from.plus_ms(minute * MINUTE_MS);
        // Working hours are busier; a stretch of Sunday is silent.
        if at.weekday() == 6 && (2..9).contains(&at.hour_of_day()) {
            continue;
        }
        let events = if (7..18).contains(&at.hour_of_day()) && at.weekday() < 5 { 14 } else { 3 + minute % 3 };
        for _ in 0..events {
            record(&mut findings, at, Level::None);
        }
        if minute % 1_171 == 0 {
            record(&mut findings, at, Level::Caution);
        }
    }
    let signals: Vec<(Timestamp, Level)> = findings
        .cases
        .iter()
        .flat_map(|finding| finding.case.signals.iter().map(|signal| (signal.event_time, signal.level)))
        .collect();
    for (at, level) in signals {
        record(&mut findings, at, level);
    }
    findings.input.events = findings.levels.total();
    findings
}

fn record(findings: &mut Findings, at: Timestamp, level: Level) {
    findings.levels.add(level, 1);
    findings.histogram.record(at, level);
}

fn input() -> Input {
    Input {
        files: 412,
        duplicates: 1_907,
        rejected: [("not a CloudTrail record".to_owned(), 3), ("truncated gzip".to_owned(), 1)].into(),
        rejected_listed: vec![Reject {
            place: "logs/AWSLogs/111122223333/CloudTrail/eu-west-1/2024/07/28/part-0007.json.gz".into(),
            reason: "truncated gzip after 1,204 records".into(),
        }],
        set_aside: [("digest file".to_owned(), 144)].into(),
        first_event_time: Some(time("2024-07-24T06:00:00Z")),
        last_event_time: Some(time("2024-07-30T21:51:21Z")),
        accounts: vec![ACCOUNT.into(), "444455556666".into(), "777788889999".into()],
        principals: 63,
        memory_cap_bytes: 512 << 20,
        ..Input::default()
    }
}

fn rules() -> Vec<Rule> {
    [
        (
            "Trail stopped or deleted",
            Severity::Critical,
            "T1562.008",
            "Without a trail, what follows leaves no record.",
            "Moving to an organisation trail",
        ),
        (
            "Administrator policy attached",
            Severity::High,
            "T1098.003",
            "The principal can now do everything in the account.",
            "Setting up a new administrator",
        ),
        (
            "Access key created for another user",
            Severity::High,
            "T1098.001",
            "A second key outlives the rotation of the first.",
            "A help desk that hands out keys",
        ),
        (
            "Secrets read in a burst",
            Severity::Medium,
            "T1555.006",
            "Reading many secrets within minutes is how a stolen credential is turned into others.",
            "A job that warms its cache; a migration",
        ),
        (
            "First call from this network",
            Severity::Low,
            "T1078.004",
            "The principal never came from this network before.",
            "Travel; a new office",
        ),
        (
            "Public access block removed",
            Severity::Medium,
            "T1530",
            "The bucket can now be opened to everyone.",
            "Hosting a website",
        ),
    ]
    .into_iter()
    .map(|(title, severity, technique, description, innocent)| Rule {
        id: title.to_lowercase().replace(' ', "-"),
        title: title.into(),
        description: description.into(),
        severity,
        techniques: vec![technique.into()],
        tactics: vec![],
        false_positives: vec![innocent.into()],
        predicate: None,
        floor: None,
        raises: true,
        first_seen: None,
    })
    .collect()
}

/// A signal with everything ordinary about it.
pub(crate) fn signal(number: usize, at: Timestamp, api: (&str, &str), level: Level, detections: &[u16]) -> Signal {
    Signal {
        event_id: format!("5f0c{number:04x}-7d21-4b7e-9a54-2f6d1c{number:06x}"),
        event_time: at,
        account: ACCOUNT.into(),
        region: "eu-west-1".into(),
        service: api.0.into(),
        call: api.1.into(),
        principal: DEPLOY.into(),
        principal_kind: PrincipalKind::IamUser,
        session: "AKIAIOSFODNN7EXAMPLE".into(),
        session_name: "ci-deploy".into(),
        credential: Credential::LongTermKey,
        mfa: Some(false),
        source: "198.51.100.23".into(),
        user_agent:
            "aws-cli/2.15.30 Python/3.11.8 Linux/6.5.0-kali3-amd64 exe/x86_64 prompt/off command/iam.list-users".into(),
        error_code: None,
        read_only: Some(level == Level::None),
        score: match level {
            Level::None => 0.22,
            Level::Caution => 0.71,
            Level::Warning => 0.91,
            Level::Critical => 0.98,
        },
        level,
        detections: detections.iter().map(|rule| RuleIndex(*rule)).collect(),
        features: FeatureVector::default(),
        learned: None,
        reasons: vec![],
        details: Details::default(),
    }
}

pub(crate) fn resource(kind: ResourceKind, id: &str, created: bool) -> Resource {
    Resource { kind, account: ACCOUNT.into(), region: "eu-west-1".into(), id: id.into(), created }
}

/// A finding around signals, with nothing said about it yet.
pub(crate) fn finding(
    id: &str,
    signals: Vec<Signal>,
    verdict: Verdict,
    severity: Severity,
    probability: f64,
) -> Finding {
    let (first, last) = (signals.first().expect("a signal"), signals.last().expect("a signal"));
    Finding {
        actions: vec![],
        judgement: Judgement {
            case_id: id.into(),
            verdict,
            severity,
            probability,
            probability_deterministic: probability,
            summary: Summary::Nothing,
            reasons: vec![],
            rejected: vec![],
            techniques: vec![],
            plan: Plan::default(),
            route: Route::Person { why: vec![Hold::NothingActs { rests: Rests::Unlabelled }] },
            counterfactual: None,
            brains: [Role::Analysis, Role::Context, Role::Sceptic, Role::Judge, Role::Responder, Role::Reporter]
                .map(|role| (role, Brain::Deterministic))
                .into(),
            evidence_digest: "9b1f6b0c".repeat(8),
            basis: Basis::default(),
        },
        case: Case {
            id: id.into(),
            account: first.account.clone(),
            principal: first.principal.clone(),
            session: first.session.clone(),
            first_event_time: first.event_time,
            last_event_time: last.event_time,
            signals,
            further_event_ids: vec![],
            learned: None,
            replaces: Vec::new(),
        },
        steps: vec![],
    }
}
