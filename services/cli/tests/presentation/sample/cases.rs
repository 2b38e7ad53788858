//! The three cases of the sample.

use trailwarden::findings::Finding;
use trailwarden_core::activity::{Credential, PrincipalKind};
use trailwarden_core::case::Signal;
use trailwarden_core::feature::Feature;
use trailwarden_core::level::{Level, Severity, Verdict};
use trailwarden_core::negotiation::group::Group;
use trailwarden_core::negotiation::predicate::Predicate;
use trailwarden_core::negotiation::said::{
    Change, Counterfactual, Deeds, Measured, Place, Said, Subject, Summary, Told,
};
use trailwarden_core::negotiation::{Brain, Reason, RejectedClaim, Role, Route, Technique};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::{Resource, ResourceKind};
use trailwarden_core::time::{HOUR_MS, SECOND_MS};

use super::{finding, resource, signal, time};

/// A claim with the rule that grounds it, if one does.
fn claim(predicate: Predicate, rule: &str) -> Said {
    let detections = if rule.is_empty() { vec![] } else { vec![rule.to_owned()] };
    Said::Claim { predicate, detections }
}

fn reason(said: Said, weight: f64, signals: &[&Signal], role: Option<Role>) -> Reason {
    Reason { said, weight, event_ids: signals.iter().map(|signal| signal.event_id.clone()).collect(), role }
}

fn step(playbook: Playbook, target: Resource) -> Action {
    let is_key = target.kind == ResourceKind::AccessKey;
    let action = Action::proposed(playbook, target);
    if is_key { action.owned_by("ci-deploy") } else { action }
}

fn intrusion_signals() -> Vec<Signal> {
    let at = |seconds: i64| time("2024-07-30T21:31:21Z").plus_ms(seconds * SECOND_MS);
    let mut signals = vec![
        signal(1, at(0), ("sts", "GetCallerIdentity"), Level::None, &[4]),
        signal(2, at(41), ("iam", "ListUsers"), Level::None, &[4]),
        signal(3, at(95), ("iam", "AttachUserPolicy"), Level::Critical, &[1]),
        signal(4, at(180), ("iam", "CreateAccessKey"), Level::Warning, &[2]),
        signal(5, at(301), ("iam", "CreateLoginProfile"), Level::Warning, &[]),
        signal(6, at(412), ("cloudtrail", "StopLogging"), Level::Critical, &[0]),
        signal(7, at(415), ("cloudtrail", "DeleteTrail"), Level::Critical, &[0]),
        signal(8, at(840), ("s3", "DeleteBucketPublicAccessBlock"), Level::Caution, &[5]),
    ];
    signals[2].details.parameters =
        r#"{"userName":"ci-deploy","policyArn":"arn:aws:iam::aws:policy/AdministratorAccess"}"#.into();
    signals[2].details.resources = vec![resource(ResourceKind::User, "ci-deploy", false)];
    signals[3].details.parameters = r#"{"userName":"backup-operator"}"#.into();
    signals[3].details.resources = vec![
        resource(ResourceKind::User, "backup-operator", false),
        resource(ResourceKind::AccessKey, "AKIAI44QH8DHBEXAMPLE", true),
    ];
    signals[4].error_code = Some("AccessDenied".into());
    signals[4].details.error_message =
        "User is not authorized to perform: iam:CreateLoginProfile with an explicit deny".into();
    signals[5].details.resources = vec![resource(
        ResourceKind::Trail,
        "arn:aws:cloudtrail:eu-west-1:111122223333:trail/organisation-trail",
        false,
    )];
    signals[5].details.parameters =
        r#"{"name":"arn:aws:cloudtrail:eu-west-1:111122223333:trail/organisation-trail"}"#.into();
    signals[6].error_code = Some("TrailNotFoundException".into());
    signals[7].details.resources = vec![resource(ResourceKind::Bucket, "payroll-exports-eu", false)];
    signals
}

pub(super) fn intrusion() -> Finding {
    let signals = intrusion_signals();
    let [_, _, attach, key, _, stop, delete, open] = [0, 1, 2, 3, 4, 5, 6, 7].map(|at| signals[at].clone());
    let mut finding = finding("3f9a1c2e77d04b51", signals, Verdict::Malicious, Severity::Critical, 0.996);
    let judgement = &mut finding.judgement;
    judgement.summary = Summary::Told(Told {
        subject: Subject::LongTermKey { user: "ci-deploy".into(), mfa: false },
        deeds: Deeds::Done {
            succeeded: vec![Predicate::PrivilegeGrant, Predicate::CredentialCreationForOther, Predicate::LoggingTamper],
            tried: vec![],
            further: 1,
        },
        place: Place::Account("111122223333".into()),
        others: 0,
    });
    judgement.reasons = vec![
        reason(
            claim(Predicate::LoggingTamper, "Trail stopped or deleted"),
            3.2,
            &[&stop, &delete],
            Some(Role::Analysis),
        ),
        reason(Said::Detected { title: "Administrator policy attached".into() }, 2.4, &[&attach], None),
        reason(
            claim(Predicate::CredentialCreationForOther, "Access key created for another user"),
            1.9,
            &[&key],
            Some(Role::Analysis),
        ),
        reason(
            claim(Predicate::NewSourceNetwork, ""),
            1.1,
            &[&attach, &key, &stop, &delete, &open],
            Some(Role::Context),
        ),
        reason(
            Said::SetAside { claim: Predicate::LongLivedPrincipal, by: Predicate::NewSourceNetwork },
            0.0,
            &[&attach],
            Some(Role::Context),
        ),
        reason(claim(Predicate::KnownAutomation, ""), -1.2, &[&attach], Some(Role::Sceptic)),
        reason(claim(Predicate::PeerMatch, ""), -0.3, &[], Some(Role::Context)),
    ];
    judgement.rejected = vec![RejectedClaim {
        role: Role::Sceptic,
        predicate: "within_change_window".into(),
        finding: "contradicted".into(),
    }];
    judgement.techniques =
        [("T1562.008", &stop), ("T1098.003", &attach), ("T1098.001", &key), ("T1078.004", &attach), ("T1530", &open)]
            .map(|(id, signal)| Technique { id: id.into(), event_ids: vec![signal.event_id.clone()] })
            .into();
    judgement.counterfactual = Some(Counterfactual::Gives {
        change: Change::WithoutDetection("Trail stopped or deleted".into()),
        verdict: Verdict::Suspicious,
        severity: Severity::High,
    });
    judgement.plan.actions = vec![
        step(Playbook::DisableAccessKey, resource(ResourceKind::AccessKey, "AKIAIOSFODNN7EXAMPLE", false)),
        step(Playbook::DisableCreatedCredentials, resource(ResourceKind::AccessKey, "AKIAI44QH8DHBEXAMPLE", true)),
        step(
            Playbook::RestoreTrail,
            resource(ResourceKind::Trail, "arn:aws:cloudtrail:eu-west-1:111122223333:trail/organisation-trail", false),
        ),
        step(Playbook::QuarantineUserHard, resource(ResourceKind::User, "ci-deploy", false)),
    ];
    Finding::new(finding.case, finding.judgement, vec![])
}

pub(super) fn sweep() -> Finding {
    let from = time("2024-07-29T03:12:04Z");
    let role = "arn:aws:iam::444455556666:role/service-role/nightly-report-lambda";
    let signals: Vec<Signal> = (0..300)
        .map(|number| {
            let call = if number % 60 == 0 { "ListSecrets" } else { "GetSecretValue" };
            let level = if number >= 20 { Level::Warning } else { Level::Caution };
            let at = from.plus_ms(number as i64 * 2_700);
            let mut signal =
                signal(1_000 + number, at, ("secretsmanager", call), level, if number >= 20 { &[3, 4] } else { &[4] });
            signal.account = "444455556666".into();
            signal.principal = role.into();
            signal.principal_kind = PrincipalKind::Role;
            signal.credential = Credential::TemporaryKey;
            signal.session = "ASIAIOSFODNN7EXAMPLE".into();
            signal.session_name = "nightly-report-lambda".into();
            signal.mfa = None;
            signal.source = "203.0.113.77".into();
            signal.user_agent = "Boto3/1.34.51 md/Botocore#1.34.51 ua/2.0 os/linux#6.8.0".into();
            if number % 47 == 46 {
                signal.error_code = Some("AccessDeniedException".into());
            }
            let name = format!("prod/service-{:02}/database", number % 83);
            signal.details.parameters = format!(r#"{{"secretId":"{name}","versionStage":"AWSCURRENT"}}"#);
            signal.details.resources = vec![resource(ResourceKind::Secret, &name, false)];
            signal
        })
        .collect();
    let cited: Vec<Signal> = signals[20..60].to_vec();
    let cited: Vec<&Signal> = cited.iter().collect();
    let mut finding = finding("c07e44b1a95d3f02", signals, Verdict::Suspicious, Severity::High, 0.83);
    finding.case.further_event_ids = (0..112).map(|number| format!("further-{number:03}")).collect();
    let judgement = &mut finding.judgement;
    judgement.probability_deterministic = 0.79;
    judgement.summary = Summary::Written(
        "The role nightly-report-lambda read 83 secrets in 13 minutes from outside AWS, with a credential that Lambda had handed out.".into(),
    );
    let moved_by = vec![
        Measured { feature: Feature::Source1h, value_milli: Some(412_000), weight_milli: 1_310 },
        Measured { feature: Feature::SourceRarityPrincipal, value_milli: Some(8_420), weight_milli: 640 },
        Measured { feature: Feature::FirstProgramPrincipal, value_milli: Some(1_000), weight_milli: 420 },
        Measured { feature: Feature::SinceLast, value_milli: None, weight_milli: 180 },
    ];
    judgement.reasons = vec![
        reason(claim(Predicate::SecretSweep, "Secrets read in a burst"), 1.8, &cited, Some(Role::Analysis)),
        reason(Said::Learned { score_milli: 710, moved_by }, 1.5, &cited[..3], None),
        reason(claim(Predicate::BaselineMatch, ""), -0.9, &cited[..2], Some(Role::Context)),
    ];
    judgement.techniques = ["T1555.006", "T1078.004"]
        .map(|id| Technique { id: id.into(), event_ids: cited.iter().map(|signal| signal.event_id.clone()).collect() })
        .into();
    judgement.brains[2].1 = Brain::Llm("local-1.5b".into());
    judgement.counterfactual = Some(Counterfactual::Gives {
        change: Change::AsUsual(vec![Group::Rate, Group::Source]),
        verdict: Verdict::Insufficient,
        severity: Severity::Low,
    });
    let mut target = resource(ResourceKind::Role, "nightly-report-lambda", false);
    target.account = "444455556666".into();
    judgement.plan.actions = vec![step(Playbook::RevokeRoleSessions, target)];
    Finding::new(finding.case, finding.judgement, vec![])
}

pub(super) fn audit() -> Finding {
    let from = time("2024-07-26T09:02:00Z");
    let signals: Vec<Signal> = (0..6)
        .map(|number| {
            let mut signal = signal(
                2_000 + number,
                from.plus_ms(number as i64 * HOUR_MS / 12),
                ("iam", "GetAccountAuthorizationDetails"),
                Level::None,
                &[4],
            );
            signal.account = "777788889999".into();
            signal.principal = "arn:aws:iam::777788889999:role/SecurityAudit".into();
            signal.principal_kind = PrincipalKind::Role;
            signal.credential = Credential::TemporaryKey;
            signal.mfa = Some(true);
            signal.session_name = "dana@example.com".into();
            signal
        })
        .collect();
    let cited: Vec<Signal> = signals.clone();
    let mut finding = finding("0a55e1d4c2b83967", signals, Verdict::Benign, Severity::Low, 0.04);
    finding.judgement.summary = Summary::Told(Told {
        subject: Subject::RoleSession("SecurityAudit".into()),
        deeds: Deeds::Raised { detections: 1, strongest: "First call from this network".into() },
        place: Place::Account("777788889999".into()),
        others: 0,
    });
    finding.judgement.reasons = vec![
        reason(claim(Predicate::EnumerationBurst, ""), 0.6, &cited.iter().collect::<Vec<_>>(), Some(Role::Analysis)),
        reason(claim(Predicate::KnownAdministrator, ""), -2.0, &[], Some(Role::Sceptic)),
    ];
    finding.judgement.route = Route::Closed;
    finding
}
