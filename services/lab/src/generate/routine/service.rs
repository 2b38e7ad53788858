//! AWS services at work in the account: on their own behalf, through service-linked roles, and as they hand roles
//! to functions, tasks and instances.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::json;

use super::super::call::Call;
use super::super::campaign::vocabulary::{Make, audit, compute, data, edge, functions, identity, storage, vault};
use super::super::names::{hex, pick, unique_id, uuid};
use super::super::script::{Identity, Script, Session};
use super::super::world::{Account, Holder};
use super::Curve;
use super::task::object_key;

/// Fills the script's limit exactly; the script stands at midnight UTC.
pub(super) fn day(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let account = &world.accounts[at];
    let midnight = script.now_ms();
    while script.left() > 0 {
        let (kind, curve) = match script.rng().random_range(0..100) {
            0..34 => (0, Curve::Business(0)),
            34..44 => (1, Curve::Cron(5)),
            44..66 => (2, Curve::Flat),
            66..80 => (3, Curve::Flat),
            80..94 => (4, Curve::Business(2)),
            _ => (5, Curve::Flat),
        };
        let moment = curve.moment(script.rng());
        script.at(midnight + moment);
        let written = script.written();
        match kind {
            0 => hand_out_role(script, account),
            1 => deliver_trail(script, at, account),
            2 => record_configuration(script, at, account),
            3 => watch(script, at, account),
            4 => encrypt(script, at, account),
            _ => tell(script, at, account),
        }
        if script.written() == written {
            break;
        }
    }
}

/// sts:AssumeRole by the service that runs something.
fn hand_out_role(script: &mut Script<'_>, account: &Account) {
    let (host, holder) = *pick(
        script.rng(),
        &[
            ("lambda.amazonaws.com", Holder::Function),
            ("lambda.amazonaws.com", Holder::Function),
            ("ecs-tasks.amazonaws.com", Holder::Instance),
            ("ec2.amazonaws.com", Holder::Instance),
            ("backup.amazonaws.com", Holder::Backup),
        ],
    );
    let Some(role) = account.role_of(|one| one == holder, script.rng()) else { return };
    let name = match host {
        "lambda.amazonaws.com" => pick(script.rng(), &account.functions).clone(),
        "ec2.amazonaws.com" => pick(script.rng(), &account.instances).id.clone(),
        _ => hex(script.rng(), 32),
    };
    script.service_assumes(host, role, &name);
}

fn deliver_trail(script: &mut Script<'_>, at: usize, account: &Account) {
    let session = script.service(at, "cloudtrail.amazonaws.com");
    let bucket = format!("{}-{}", account.trail, &account.id[..6]);
    let call = if script.rng().random_bool(0.5) {
        Call::read("s3", "GetBucketAcl")
            .with(json!({"bucketName": bucket, "acl": "", "Host": format!("{bucket}.s3.{}.amazonaws.com", account.home())}))
            .on("AWS::S3::Bucket", format!("arn:aws:s3:::{bucket}"))
    } else {
        let key = format!("AWSLogs/{}/CloudTrail/{}/{}.json.gz", account.id, account.home(), hex(script.rng(), 16));
        storage::put_object(account, script.rng(), &bucket, &key)
    };
    let call = call.shared(uuid(script.rng()));
    script.call(&session, call);
}

fn linked(script: &mut Script<'_>, account: &Account, host: &'static str, session_name: &str) -> Option<Session> {
    let role = account.roles_of(|holder| holder == Holder::ServiceLinked(host)).next()?;
    let mut session = script.held(role, session_name, host, host);
    session.identity = Identity::Role {
        role: Box::new(role.clone()),
        session_name: session_name.to_owned(),
        delivery: None,
        invoked_by: Some(host),
        web_identity: None,
    };
    session.key = unique_id(script.rng(), "ASIA");
    session.region = account.region(script.rng());
    Some(session)
}

/// One resource type after the other, all day.
fn record_configuration(script: &mut Script<'_>, _: usize, account: &Account) {
    const ASKS: &[Make] = &[
        compute::instances,
        compute::volumes,
        compute::security_groups,
        compute::subnets,
        compute::vpcs,
        compute::addresses,
        compute::snapshots,
        identity::list_roles,
        identity::get_role,
        identity::role_policies,
        identity::list_users,
        identity::user_policies,
        functions::list_functions,
        functions::function_policy,
        data::list_tables,
        data::describe_table,
        data::list_db_instances,
        vault::list_keys,
        vault::key_policy,
        audit::trails,
        audit::trail_status,
        edge::topics,
        audit::alarms,
        compute::clusters,
        edge::certificates,
        data::db_snapshots,
        vault::list_secrets,
        vault::describe_secret,
        storage::list_buckets,
        compute::stacks,
    ];
    let Some(session) = linked(script, account, "config.amazonaws.com", "AWSConfig-Describe") else { return };
    for _ in 0..script.rng().random_range(1..7) {
        let call = pick(script.rng(), ASKS)(account, script.rng());
        script.call(&session, call);
        script.wait_ms(20, 700);
    }
}

/// Host, session name, what it asks.
const WATCHERS: &[(&str, &str, &[Make])] = &[
    ("autoscaling.amazonaws.com", "AutoScaling", &[compute::instances, scale, compute::security_groups]),
    ("guardduty.amazonaws.com", "GuardDuty", &[compute::instances, storage::list_buckets, identity::list_users]),
    ("ecs.amazonaws.com", "ecs-service-scheduler", &[target_health, target_health, compute::subnets]),
    ("ssm.amazonaws.com", "StateManagerService", &[compute::managed_instances, compute::instances]),
    (
        "trustedadvisor.amazonaws.com",
        "TrustedAdvisor",
        &[
            identity::account_summary,
            compute::addresses,
            compute::snapshots,
            data::list_db_instances,
            identity::password_policy,
            compute::security_groups,
            edge::distributions,
        ],
    ),
    (
        "securityhub.amazonaws.com",
        "securityhub",
        &[audit::trails, audit::event_selectors, identity::password_policy, audit::detectors],
    ),
    ("rds.amazonaws.com", "RDS", &[compute::subnets, compute::security_groups, compute::vpcs]),
];

fn watch(script: &mut Script<'_>, _: usize, account: &Account) {
    let (host, name, calls) = *pick(script.rng(), WATCHERS);
    let Some(session) = linked(script, account, host, name) else { return };
    for _ in 0..script.rng().random_range(1..4) {
        let call = pick(script.rng(), calls)(account, script.rng());
        script.call(&session, call);
        script.wait_ms(50, 1_500);
    }
}

fn scale(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    if rng.random_bool(0.5) {
        return compute::run_instances(account, rng, "m6i.large");
    }
    compute::terminate_instances(account, rng)
}

fn target_health(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let group = account.arn("elasticloadbalancing", account.home(), &format!("targetgroup/web/{}", hex(rng, 16)));
    Call::read("elasticloadbalancing", "DescribeTargetHealth").with(json!({"targetGroupArn": group}))
}

fn encrypt(script: &mut Script<'_>, at: usize, account: &Account) {
    let host = *pick(
        script.rng(),
        &[
            "s3.amazonaws.com",
            "dynamodb.amazonaws.com",
            "rds.amazonaws.com",
            "secretsmanager.amazonaws.com",
            "logs.amazonaws.com",
        ],
    );
    let session = script.service(at, host);
    let call = if script.rng().random_bool(0.6) {
        vault::decrypt(account, script.rng())
    } else {
        vault::data_key(account, script.rng())
    };
    let call = call.shared(uuid(script.rng()));
    script.call(&session, call);
}

/// Deliveries and events of other services.
fn tell(script: &mut Script<'_>, at: usize, account: &Account) {
    let host = *pick(
        script.rng(),
        &[
            "delivery.logs.amazonaws.com",
            "elasticloadbalancing.amazonaws.com",
            "replicator.s3.amazonaws.com",
            "events.amazonaws.com",
        ],
    );
    let session = script.service(at, host);
    let call = match host {
        "events.amazonaws.com" => {
            let name = pick(script.rng(), &account.functions).clone();
            functions::invoke(account, script.rng(), &name)
        }
        _ => {
            let bucket = pick(script.rng(), &account.buckets).clone();
            let key = object_key(script.rng());
            storage::put_object(account, script.rng(), &bucket, &key)
        }
    };
    script.call(&session, call);
}
