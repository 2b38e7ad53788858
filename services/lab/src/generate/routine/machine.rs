//! Programs of the organisation at work: instances, containers, functions, and applications with a user's key. They
//! make most of the volume, data events above all.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, LogNormal};
use serde_json::json;

use super::super::call::Call;
use super::super::campaign::vocabulary::{Make, audit, compute, data, edge, functions, identity, storage, vault};
use super::super::names::{hex, pick, stream, uuid};
use super::super::script::{Script, Session};
use super::super::world::{Account, Holder, UserKind, World};
use super::task::object_key;
use super::{Curve, fail};

/// A program that has run since before the first day: always the same identity, calls and hours.
struct Workload {
    runs_on: RunsOn,
    weight: f64,
    curve: Curve,
    /// What it calls, with weights.
    calls: Vec<(f64, Kind)>,
    /// Everyday errors.
    errors: f64,
    /// Its resources.
    bucket: String,
    table: String,
    other_bucket: String,
}

enum RunsOn {
    /// Some instances of one role.
    Instances(Vec<usize>),
    Function(String),
    /// Index of the user.
    User(usize),
    /// Index of the role; a container.
    Task(usize),
}

#[derive(Clone, Copy)]
enum Kind {
    Get,
    Put,
    List,
    Head,
    Remove,
    Item,
    PutItem,
    Query,
    Batch,
    Scan,
    Send,
    Receive,
    Invoke,
    Mail,
    /// A call of the vocabulary that needs nothing else.
    Of(Make),
}

impl Kind {
    fn call(self, account: &Account, workload: &Workload, rng: &mut ChaCha8Rng) -> Call {
        let (bucket, table) = (&workload.bucket, &workload.table);
        let key = if matches!(self, Self::Get | Self::Put | Self::Head | Self::Remove) {
            object_key(rng)
        } else {
            String::new()
        };
        match self {
            Self::Get => storage::get_object(account, rng, bucket, &key),
            Self::Put => storage::put_object(account, rng, &workload.other_bucket, &key),
            Self::List => storage::list_objects(account, rng, bucket),
            Self::Head => storage::head_object(account, rng, bucket, &key),
            Self::Remove => storage::delete_object(account, rng, bucket, &key),
            Self::Item => data::get_item(account, rng, table),
            Self::PutItem => data::put_item(account, rng, table),
            Self::Query => data::query(account, rng, table),
            Self::Batch => data::batch_get_item(account, rng, table),
            Self::Scan => data::scan(account, rng, table),
            Self::Send => queue("SendMessage", false, account, rng),
            Self::Receive => queue("ReceiveMessage", true, account, rng),
            Self::Invoke => {
                let name = pick(rng, &account.functions);
                functions::invoke(account, rng, name)
            }
            Self::Mail => edge::send_mail(account, rng, &format!("noreply@{table}.example.com")),
            Self::Of(make) => make(account, rng),
        }
    }
}

fn queue(name: &'static str, is_read: bool, account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let queue = pick(rng, &account.queues);
    let call = if is_read { Call::read("sqs", name) } else { Call::write("sqs", name) };
    call.with(json!({"queueUrl": format!("https://sqs.{}.amazonaws.com/{}/{queue}", account.home(), account.id)}))
        .on("AWS::SQS::Queue", account.arn("sqs", account.home(), queue))
        .data()
}

/// The kinds of programs there are; each workload draws its own weights within one.
fn mixture(kind: u32) -> Vec<(f64, Kind)> {
    use Kind::{Batch, Get, Head, Item, List, Of, Put, PutItem, Query, Receive, Remove, Scan, Send};
    match kind {
        // A service behind a load balancer.
        0 => vec![
            (6.0, Item),
            (3.0, PutItem),
            (4.0, Query),
            (1.0, Get),
            (0.8, Put),
            (1.5, Send),
            (0.6, Of(vault::decrypt)),
            (0.05, Of(vault::secret_value)),
            (0.05, Of(vault::parameters_by_path)),
        ],
        // A store of files.
        1 => vec![
            (9.0, Get),
            (2.0, Put),
            (1.0, Head),
            (0.3, List),
            (0.8, Of(vault::decrypt)),
            (0.5, Of(vault::data_key)),
            (0.1, Remove),
        ],
        // A worker at a queue.
        2 => vec![
            (6.0, Receive),
            (2.0, PutItem),
            (1.0, Get),
            (1.0, Put),
            (0.4, Of(vault::data_key)),
            (0.1, Of(vault::secret_value)),
            (0.5, Of(edge::publish)),
        ],
        // Moving data from one place to the other, at night.
        3 => vec![
            (10.0, Get),
            (6.0, Put),
            (1.0, List),
            (1.0, Of(vault::decrypt)),
            (1.0, Batch),
            (0.5, Scan),
            (0.2, Of(data::start_query)),
            (0.4, Of(data::query_state)),
            (0.1, Of(data::query_results)),
        ],
        // A host with its agents.
        4 => vec![
            (3.0, Of(host_inventory)),
            (2.0, Of(compute::instances)),
            (1.0, Of(log_stream)),
            (1.0, Of(compute::registry_token)),
            (2.0, Of(compute::batch_get_image)),
            (2.0, Of(compute::image_layer)),
            (0.5, Of(vault::parameters)),
            (0.2, Of(compute::volumes)),
            (0.1, Of(identity::caller_identity)),
        ],
        _ => mixture_of_tools(kind),
    }
}

/// Programs that talk to more than stores.
fn mixture_of_tools(kind: u32) -> Vec<(f64, Kind)> {
    use Kind::{Get, Invoke, Item, List, Mail, Of, PutItem, Query, Remove, Send};
    match kind {
        // Settings and secrets read afresh each time.
        5 => vec![
            (4.0, Of(vault::secret_value)),
            (4.0, Of(vault::parameter)),
            (2.0, Of(vault::decrypt)),
            (1.0, Of(vault::parameters_by_path)),
            (1.0, Item),
        ],
        // Asking models.
        6 => vec![(6.0, Of(functions::invoke_model)), (2.0, Of(functions::converse)), (1.0, Get), (1.0, PutItem)],
        // A controller that watches the account.
        7 => vec![
            (3.0, Of(compute::instances)),
            (2.0, Of(compute::security_groups)),
            (2.0, Of(compute::subnets)),
            (2.0, Of(load_balancers)),
            (1.0, Of(compute::describe_tasks)),
            (1.0, Of(edge::record_sets)),
            (0.3, Of(edge::hosted_zones)),
            (1.0, Of(audit::alarms)),
        ],
        // Sends the organisation's mail.
        9 => vec![(6.0, Mail), (2.0, Query), (0.4, Of(edge::send_quota)), (1.0, Get), (0.5, Of(vault::parameter))],
        // Keeps house: what is old goes.
        10 => vec![
            (5.0, Remove),
            (3.0, List),
            (1.0, Of(compute::snapshots)),
            (0.5, Of(compute::delete_snapshot)),
            (0.3, Of(vault::delete_recovery_point)),
            (0.3, Of(data::delete_db_snapshot)),
            (0.3, Of(compute::delete_volume)),
            (1.0, Of(data::db_snapshots)),
            (1.0, Of(vault::recovery_points)),
        ],
        // Calls functions.
        _ => vec![
            (5.0, Invoke),
            (2.0, Item),
            (1.0, Query),
            (1.0, Of(edge::publish)),
            (1.0, Send),
            (0.1, Of(edge::send_quota)),
            (0.3, Get),
        ],
    }
}

fn host_inventory(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let id = compute::instance_id(account, rng);
    Call::write("ssm", "UpdateInstanceInformation").with(json!({
        "instanceId": id, "agentVersion": "3.3.987.0", "agentStatus": "Active", "platformType": "Linux",
        "platformName": "Amazon Linux", "platformVersion": "2023", "availabilityZone": format!("{}b", account.home()),
    }))
}

fn log_stream(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let group = pick(rng, &account.log_groups).clone();
    Call::write("logs", "CreateLogStream").with(json!({
        "logGroupName": group, "logStreamName": format!("2026/03/[$LATEST]{}", hex(rng, 32)),
    }))
}

fn load_balancers(_: &Account, rng: &mut ChaCha8Rng) -> Call {
    Call::read("elasticloadbalancing", "DescribeTargetHealth").with(json!({"targetGroupArn": uuid(rng)}))
}

fn workloads(world: &World, at: usize) -> Vec<Workload> {
    let account = &world.accounts[at];
    let rng = &mut stream(world.seed, &[30, at as u64]);
    let roles: Vec<usize> =
        (0..account.roles.len()).filter(|role| account.roles[*role].held_by == Holder::Instance).collect();
    let mut list = Vec::new();
    for role in roles {
        let of_role: Vec<usize> =
            (0..account.instances.len()).filter(|one| account.instances[*one].role == role).collect();
        let kind = rng.random_range(0..11);
        let runs_on = if of_role.is_empty() { RunsOn::Task(role) } else { RunsOn::Instances(of_role) };
        list.push(workload(account, runs_on, kind, 1.0, rng));
        if rng.random_bool(0.4) {
            let kind = rng.random_range(0..4);
            list.push(workload(account, RunsOn::Task(role), kind, 0.6, rng));
        }
    }
    for name in &account.functions {
        let kind = *pick(rng, &[0, 2, 2, 3, 5, 6, 8, 9, 10, 10]);
        list.push(workload(account, RunsOn::Function(name.clone()), kind, 0.5, rng));
    }
    for (user, one) in account.users.iter().enumerate() {
        if one.kind == UserKind::Application {
            let kind = *pick(rng, &[1, 1, 3, 8, 5, 9, 9]);
            list.push(workload(account, RunsOn::User(user), kind, 0.3, rng));
        }
    }
    list
}

fn workload(account: &Account, runs_on: RunsOn, kind: u32, weight: f64, rng: &mut ChaCha8Rng) -> Workload {
    let spread = |rng: &mut ChaCha8Rng| LogNormal::new(0.0, 0.8).map_or(1.0, |tail| tail.sample(rng));
    let mut calls = mixture(kind);
    for (part, _) in &mut calls {
        *part *= spread(rng);
    }
    let offset = rng.random_range(-8..10);
    let curve = match (kind, rng.random_range(0..10)) {
        (3, 0..7) => Curve::Nightly(rng.random_range(0.0..24.0), rng.random_range(20.0..150.0)),
        (_, 0..5) => Curve::Business(offset),
        (_, 5..7) => Curve::Cron(*pick(rng, &[5, 10, 15, 30, 60])),
        _ => Curve::Flat,
    };
    Workload {
        runs_on,
        weight: weight * spread(rng),
        curve,
        calls,
        errors: if rng.random_bool(0.12) { 0.07 } else { 0.004 },
        bucket: pick(rng, &account.buckets).clone(),
        table: pick(rng, &account.tables).clone(),
        other_bucket: pick(rng, &account.buckets).clone(),
    }
}

impl Workload {
    /// The credentials of one day, renewed every six hours.
    fn sessions(&self, script: &mut Script<'_>, at: usize) -> Vec<Session> {
        let world = script.world();
        let account = &world.accounts[at];
        let midnight = script.now_ms();
        let mut sessions = Vec::new();
        let count = match &self.runs_on {
            RunsOn::Instances(list) => list.len(),
            _ => 1,
        };
        for one in 0..count {
            // The same machine keeps its address from day to day; only its keys change.
            let mut home =
                stream(world.seed, &[31, at as u64, one as u64, self.bucket.len() as u64, self.table.len() as u64]);
            for block in 0..4 {
                let mut session = match &self.runs_on {
                    RunsOn::Instances(list) => script.instance(at, &account.instances[list[one]]),
                    RunsOn::Function(name) => script.function(at, name),
                    RunsOn::User(user) => {
                        let user = &account.users[*user];
                        let agent = super::super::agent::of_role(&account.roles[user.name.len() % account.roles.len()]);
                        let source = account.egress.address(&mut home);
                        script.user(at, user, source, agent)
                    }
                    RunsOn::Task(role) => {
                        let role = &account.roles[*role];
                        let name = hex(script.rng(), 32);
                        let source = account.egress.address(&mut home);
                        let agent = super::super::agent::of_role(role);
                        script.held(role, &name, source, agent)
                    }
                };
                session.issued_ms = midnight + block * 21_600_000 - script.rng().random_range(1_000..900_000);
                sessions.push(session);
            }
        }
        sessions
    }
}

/// Fills the script's limit exactly; the script stands at midnight UTC.
pub(super) fn day(script: &mut Script<'_>, at: usize) {
    let world = script.world();
    let account = &world.accounts[at];
    let midnight = script.now_ms();
    let list = workloads(world, at);
    let mut shares: Vec<f64> = list
        .iter()
        .map(|one| one.weight * LogNormal::new(0.0, 0.3).map_or(1.0, |noise| noise.sample(script.rng())))
        .collect();
    let sum: f64 = shares.iter().sum();
    let quota = script.left();
    let mut so_far = 0.0;
    for share in &mut shares {
        so_far += *share / sum;
        *share = so_far;
    }
    let mut given = 0;
    for (workload, until) in list.iter().zip(shares) {
        let upto = if until > 0.999_999 { quota } else { (quota as f64 * until) as u64 };
        let count = upto.saturating_sub(given);
        given = upto.max(given);
        if count == 0 {
            continue;
        }
        let sessions = workload.sessions(script, at);
        let weights: f64 = workload.calls.iter().map(|(weight, _)| weight).sum();
        for _ in 0..count {
            let moment = workload.curve.moment(script.rng());
            let block = ((moment / 21_600_000) as usize).min(3);
            let machine = script.rng().random_range(0..sessions.len() / 4);
            let kind = draw(&workload.calls, weights, script.rng());
            let mut call = kind.call(account, workload, script.rng());
            if script.rng().random_bool(workload.errors) {
                call = fail(call, script.rng());
            }
            script.at(midnight + moment);
            script.call(&sessions[machine * 4 + block], call);
        }
    }
}

fn draw(calls: &[(f64, Kind)], sum: f64, rng: &mut ChaCha8Rng) -> Kind {
    let mut at = rng.random_range(0.0..sum);
    for (weight, kind) in calls {
        if at < *weight {
            return *kind;
        }
        at -= weight;
    }
    calls[0].1
}
