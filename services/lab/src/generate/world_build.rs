//! Drawing an organisation from a seed: no two are alike in names, sizes, habits, tools or regions.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::names::{self, hex, lower, pick, stream, unique_id};
use super::network::Network;
use super::settings::Settings;
use super::world::{Account, Holder, Instance, Job, Purpose, Role, START_MS, User, UserKind, World};
use super::world_people::add_people;

const REGIONS: &[&str] = &[
    "us-east-1",
    "us-east-2",
    "us-west-2",
    "eu-west-1",
    "eu-central-1",
    "eu-north-1",
    "ap-southeast-1",
    "ap-southeast-2",
    "ap-northeast-1",
    "ca-central-1",
    "sa-east-1",
    "eu-west-3",
];

/// How an organisation writes names.
struct Style {
    company: String,
    joint: char,
    is_pascal: bool,
    has_company_prefix: bool,
    suffix_at_end: bool,
    home: &'static str,
    second: &'static str,
    products: Vec<&'static str>,
}

impl Style {
    fn draw(rng: &mut ChaCha8Rng) -> Self {
        let home = *pick(rng, REGIONS);
        let mut second = *pick(rng, REGIONS);
        while second == home {
            second = *pick(rng, REGIONS);
        }
        let mut products: Vec<&'static str> = Vec::new();
        while products.len() < 14 {
            let one = *pick(rng, names::PRODUCT);
            if !products.contains(&one) {
                products.push(one);
            }
        }
        Self {
            company: (*pick(rng, names::COMPANY)).to_owned(),
            joint: *pick(rng, &['-', '-', '_']),
            is_pascal: rng.random_bool(0.35),
            has_company_prefix: rng.random_bool(0.4),
            suffix_at_end: rng.random_bool(0.5),
            home,
            second,
            products,
        }
    }

    /// Words put together the organisation's way, for IAM names.
    fn name(&self, words: &[&str]) -> String {
        let mut words: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
        if self.has_company_prefix {
            words.insert(0, &self.company);
        }
        if self.is_pascal {
            return words.iter().map(|word| capital(word)).collect();
        }
        words.join(&self.joint.to_string())
    }

    /// For resources that allow small letters and hyphens only.
    fn plain(&self, stage: &str, words: &[&str]) -> String {
        let mut all = words.to_vec();
        if self.suffix_at_end {
            all.push(stage)
        } else {
            all.insert(0, stage)
        }
        if self.has_company_prefix {
            all.insert(0, &self.company);
        }
        all.retain(|word| !word.is_empty());
        all.join("-")
    }
}

fn capital(word: &str) -> String {
    let mut letters = word.chars();
    letters.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + letters.as_str())
}

const PURPOSES: &[Purpose] = &[
    Purpose::Production,
    Purpose::Management,
    Purpose::Development,
    Purpose::Security,
    Purpose::Staging,
    Purpose::LogArchive,
    Purpose::Data,
    Purpose::Tools,
    Purpose::Sandbox,
    Purpose::Production,
    Purpose::Development,
    Purpose::Production,
];

impl Purpose {
    const fn stage(self) -> &'static str {
        match self {
            Self::Production => "prod",
            Self::Staging => "stg",
            Self::Development => "dev",
            Self::Sandbox => "sbx",
            Self::Data => "data",
            Self::Tools => "tools",
            Self::Security => "sec",
            Self::LogArchive => "log",
            Self::Management => "mgmt",
        }
    }

    /// Share of the routine volume.
    const fn weight(self) -> f64 {
        match self {
            Self::Production => 2.4,
            Self::Data => 1.5,
            Self::Staging => 0.9,
            Self::Development => 0.9,
            Self::Tools => 0.8,
            Self::Sandbox => 0.45,
            Self::Security => 0.55,
            Self::LogArchive | Self::Management => 0.4,
        }
    }
}

impl World {
    /// Draws the organisation that these settings name.
    pub fn build(settings: &Settings) -> Self {
        let rng = &mut stream(settings.seed, &[1]);
        let style = Style::draw(rng);
        let per_account_day = settings.events as f64 / settings.accounts as f64 / f64::from(settings.days);
        let mut seen: Vec<Purpose> = Vec::new();
        let accounts = (0..settings.accounts)
            .map(|at| {
                let purpose = PURPOSES[at % PURPOSES.len()];
                let again = seen.iter().filter(|one| **one == purpose).count();
                seen.push(purpose);
                build_account(&style, at, purpose, again, per_account_day, &mut stream(settings.seed, &[2, at as u64]))
            })
            .collect();
        let mut world = Self {
            seed: settings.seed,
            organisation_id: format!("o-{}", lower(rng, 10)),
            company: style.company.clone(),
            start_ms: START_MS,
            days: settings.days,
            setting: settings.setting,
            accounts,
            people: Vec::new(),
        };
        add_people(&mut world, style.has_company_prefix && style.is_pascal, per_account_day);
        world
    }
}

fn some<'a>(rng: &mut ChaCha8Rng, style: &'a Style, count: usize) -> Vec<&'a str> {
    let first = rng.random_range(0..style.products.len());
    (0..count).map(|at| style.products[(first + at) % style.products.len()]).collect()
}

fn build_account(
    style: &Style,
    at: usize,
    purpose: Purpose,
    again: usize,
    per_account_day: f64,
    rng: &mut ChaCha8Rng,
) -> Account {
    let stage = if again == 0 { purpose.stage().to_owned() } else { format!("{}{}", purpose.stage(), again + 1) };
    let stage = stage.as_str();
    // A bigger account has more parts.
    let size = ((per_account_day * purpose.weight() / 400.0).sqrt() as usize).clamp(2, 9);
    let parts = some(rng, style, size);
    let mut regions = vec![style.home, style.second];
    if rng.random_bool(0.3) {
        let other = *pick(rng, REGIONS);
        if !regions.contains(&other) {
            regions.push(other);
        }
    }
    let tag = hex(rng, 6);
    let mut account = Account {
        id: names::account_id(rng),
        name: style.plain(stage, &[if again == 0 { "" } else { parts[0] }]),
        purpose,
        regions,
        roles: Vec::new(),
        users: Vec::new(),
        buckets: Vec::new(),
        secrets: Vec::new(),
        parameters: Vec::new(),
        functions: Vec::new(),
        tables: Vec::new(),
        databases: Vec::new(),
        keys: Vec::new(),
        repositories: Vec::new(),
        queues: Vec::new(),
        topics: Vec::new(),
        clusters: vec![style.plain(stage, &["main"])],
        log_groups: Vec::new(),
        instances: Vec::new(),
        trail: style.plain("", &["org", "trail"]),
        detector: hex(rng, 32),
        vpc: format!("vpc-0{}", hex(rng, 16)),
        subnets: (0..3).map(|_| format!("subnet-0{}", hex(rng, 16))).collect(),
        security_groups: (0..3 + size).map(|_| format!("sg-0{}", hex(rng, 16))).collect(),
        endpoint: format!("vpce-0{}", hex(rng, 16)),
        egress: Network::any(rng, 3),
        weight: purpose.weight() * rng.random_range(0.75..1.3),
    };
    for part in &parts {
        fill_part(&mut account, style, stage, part, &tag, rng);
    }
    account.buckets.push(style.plain(stage, &["backups", &tag]));
    account.buckets.push(style.plain(stage, &["terraform", "state", &tag]));
    add_roles(&mut account, style, at, &parts, rng);
    add_users(&mut account, style, at, &parts, rng);
    add_instances(&mut account, size, rng);
    account
}

/// What one product needs in one account.
fn fill_part(account: &mut Account, style: &Style, stage: &str, part: &str, tag: &str, rng: &mut ChaCha8Rng) {
    for what in ["assets", "exports", "uploads"] {
        if account.buckets.is_empty() || rng.random_bool(0.45) {
            account.buckets.push(style.plain(stage, &[part, what, tag]));
        }
    }
    for what in ["db", "api-key", "signing", "webhook", "smtp"] {
        if what == "db" || rng.random_bool(0.5) {
            account.secrets.push(format!("{stage}/{part}/{what}"));
        }
    }
    for what in ["log-level", "db-host", "feature-flags", "queue-url", "oauth-client", "region"] {
        if what == "db-host" || rng.random_bool(0.7) {
            account.parameters.push(format!("/{stage}/{part}/{what}"));
        }
    }
    for _ in 0..rng.random_range(1..4) {
        let function = style.plain(stage, &[part, *pick(rng, names::THING)]);
        if !account.functions.contains(&function) {
            account.log_groups.push(format!("/aws/lambda/{function}"));
            account.functions.push(function);
        }
    }
    account.tables.push(style.plain(stage, &[part]));
    account.tables.push(style.plain(stage, &[part, "sessions"]));
    account.databases.push(style.plain(stage, &[part, "db"]));
    account.keys.push(names::uuid(rng));
    account.repositories.push(format!("{}/{part}", style.company));
    account.queues.push(style.plain(stage, &[part, "jobs"]));
    account.topics.push(style.plain(stage, &[part, "alerts"]));
    account.log_groups.push(format!("/ecs/{}", style.plain(stage, &[part])));
}

fn add_roles(account: &mut Account, style: &Style, at: usize, parts: &[&str], rng: &mut ChaCha8Rng) {
    let mut add = |name: String, path: &str, held_by: Holder| {
        account.roles.push(Role { account: at, name, id: unique_id(rng, "AROA"), path: path.to_owned(), held_by });
    };
    let jobs = [
        (Job::Developer, "developer"),
        (Job::DataScientist, "data"),
        (Job::PlatformEngineer, "platform"),
        (Job::SecurityAnalyst, "security"),
        (Job::Administrator, "admin"),
        (Job::Support, "support"),
        (Job::Finance, "billing"),
        (Job::Manager, "readonly"),
    ];
    for (job, word) in jobs {
        add(style.name(&[word, "access"]), "/", Holder::Workforce(job));
    }
    for part in parts {
        add(style.name(&[part, "ci"]), "/", Holder::Pipeline);
        add(style.name(&[part, "task"]), "/", Holder::Instance);
        add(style.name(&[part, "lambda"]), "/service-role/", Holder::Function);
    }
    add(style.name(&["deploy"]), "/", Holder::Deploy);
    add(style.name(&["audit", "reader"]), "/", Holder::Auditor);
    add(style.name(&["posture", "scanner"]), "/", Holder::Scanner);
    add(style.name(&["break", "glass"]), "/", Holder::BreakGlass);
    add(style.name(&["backup"]), "/service-role/", Holder::Backup);
    add(style.name(&["vendor", "monitoring"]), "/", Holder::Vendor);
    for (name, host) in [
        ("AWSServiceRoleForConfig", "config.amazonaws.com"),
        ("AWSServiceRoleForAutoScaling", "autoscaling.amazonaws.com"),
        ("AWSServiceRoleForAmazonGuardDuty", "guardduty.amazonaws.com"),
        ("AWSServiceRoleForRDS", "rds.amazonaws.com"),
        ("AWSServiceRoleForECS", "ecs.amazonaws.com"),
        ("AWSServiceRoleForSSM", "ssm.amazonaws.com"),
        ("AWSServiceRoleForTrustedAdvisor", "trustedadvisor.amazonaws.com"),
        ("AWSServiceRoleForSecurityHub", "securityhub.amazonaws.com"),
    ] {
        add(name.to_owned(), &format!("/aws-service-role/{host}/"), Holder::ServiceLinked(host));
    }
}

fn add_users(account: &mut Account, style: &Style, at: usize, parts: &[&str], rng: &mut ChaCha8Rng) {
    let mut add = |name: String, kind: UserKind, has_mfa: bool| {
        let keys = (0..rng.random_range(1..3)).map(|_| unique_id(rng, "AKIA")).collect();
        account.users.push(User { account: at, name, id: unique_id(rng, "AIDA"), keys, kind, has_mfa });
    };
    for part in parts.iter().take(4) {
        add(style.name(&["svc", part]), UserKind::Application, false);
    }
    add(style.name(&["ci", "deployer"]), UserKind::Pipeline, false);
    add(style.name(&["ses", "smtp"]), UserKind::Application, false);
    add(style.name(&["emergency"]), UserKind::BreakGlass, true);
}

fn add_instances(account: &mut Account, size: usize, rng: &mut ChaCha8Rng) {
    let of_instance: Vec<usize> =
        (0..account.roles.len()).filter(|role| account.roles[*role].held_by == Holder::Instance).collect();
    let second_octet = rng.random_range(0..250);
    for _ in 0..3 + size * 2 {
        account.instances.push(Instance {
            id: format!("i-0{}", hex(rng, 16)),
            role: *pick(rng, &of_instance),
            private_address: format!("10.{second_octet}.{}.{}", rng.random_range(0..12), rng.random_range(4..250)),
            region: if rng.random_bool(0.85) { account.regions[0] } else { account.regions[1] },
        });
    }
}
