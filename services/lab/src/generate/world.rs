//! An organisation: its accounts, what stands in them, and who works there.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::agent;
use super::names::pick;
use super::network::Network;
use super::settings::Setting;

pub use super::network::foreign_network;

/// 2026-03-02T00:00:00Z, a Monday.
pub const START_MS: i64 = 1_772_409_600_000;
pub const DAY_MS: i64 = 86_400_000;

/// Everything that exists before the first event. Built from the seed alone; never changes.
#[derive(Clone, Debug)]
pub struct World {
    pub seed: u64,
    /// `o-…`
    pub organisation_id: String,
    /// Company name, lower-case.
    pub company: String,
    pub start_ms: i64,
    pub days: u32,
    pub setting: Setting,
    pub accounts: Vec<Account>,
    pub people: Vec<Person>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    Management,
    Security,
    LogArchive,
    Tools,
    Production,
    Staging,
    Development,
    Sandbox,
    Data,
}

#[derive(Clone, Debug)]
pub struct Account {
    /// Twelve digits.
    pub id: String,
    pub name: String,
    pub purpose: Purpose,
    /// The home region first; at least two.
    pub regions: Vec<&'static str>,
    pub roles: Vec<Role>,
    pub users: Vec<User>,
    /// None of these lists is empty.
    pub buckets: Vec<String>,
    /// Names, without the random suffix of the ARN.
    pub secrets: Vec<String>,
    /// `/app/part/name`
    pub parameters: Vec<String>,
    pub functions: Vec<String>,
    pub tables: Vec<String>,
    pub databases: Vec<String>,
    /// Key ids (UUIDs).
    pub keys: Vec<String>,
    pub repositories: Vec<String>,
    pub queues: Vec<String>,
    pub topics: Vec<String>,
    pub clusters: Vec<String>,
    pub log_groups: Vec<String>,
    pub instances: Vec<Instance>,
    pub trail: String,
    /// GuardDuty's.
    pub detector: String,
    pub vpc: String,
    pub subnets: Vec<String>,
    pub security_groups: Vec<String>,
    /// The VPC endpoint through which the account's own machines call some services.
    pub endpoint: String,
    /// The NAT gateway's network.
    pub egress: Network,
    /// Share of the organisation's routine volume; about 1 on average.
    pub weight: f64,
}

#[derive(Clone, Debug)]
pub struct Instance {
    /// `i-…`
    pub id: String,
    /// The name of the instance profile's role.
    pub role: usize,
    pub private_address: String,
    pub region: &'static str,
}

#[derive(Clone, Debug)]
pub struct Role {
    pub account: usize,
    pub name: String,
    /// `AROA…`
    pub id: String,
    /// `/` or `/service-role/` and the like.
    pub path: String,
    pub held_by: Holder,
}

/// Who is meant to hold a role's sessions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Holder {
    Workforce(Job),
    Pipeline,
    Instance,
    Function,
    Auditor,
    Scanner,
    BreakGlass,
    Backup,
    Vendor,
    Deploy,
    /// The service's host name.
    ServiceLinked(&'static str),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserKind {
    Person,
    Pipeline,
    Application,
    BreakGlass,
}

#[derive(Clone, Debug)]
pub struct User {
    pub account: usize,
    pub name: String,
    /// `AIDA…`
    pub id: String,
    /// `AKIA…`; one or two.
    pub keys: Vec<String>,
    pub kind: UserKind,
    pub has_mfa: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Job {
    Developer,
    DataScientist,
    PlatformEngineer,
    SecurityAnalyst,
    Administrator,
    Support,
    Finance,
    Manager,
}

#[derive(Clone, Debug)]
pub struct Person {
    /// `first.last` or as the organisation writes it.
    pub name: String,
    pub job: Job,
    /// Home account, where this person's working day is accounted.
    pub account: usize,
    /// Office, home, phone, VPN; travellers have more.
    pub networks: Vec<Network>,
    pub utc_offset_h: i32,
    /// Days from the start; negative or 0 when there from the start.
    pub joins_day: i64,
    pub leaves_day: i64,
    /// First and last day, both included.
    pub holidays: Vec<(i64, i64)>,
    /// Away from the usual networks: first day, last day, network.
    pub travels: Vec<(i64, i64, Network)>,
    /// (account, role) in [`World::accounts`]; at least one, the daily one first.
    pub roles: Vec<(usize, usize)>,
    /// (account, user), of those that have an IAM user.
    pub user: Option<(usize, usize)>,
    /// A browser first, then the tools of the trade; at least two.
    pub agents: Vec<String>,
    /// Works nights, local time.
    pub is_on_nights: bool,
    /// Events of an ordinary working day.
    pub activity: f64,
}

impl World {
    /// After the last day.
    pub fn end_ms(&self) -> i64 {
        self.start_ms + i64::from(self.days) * DAY_MS
    }

    pub fn role(&self, at: (usize, usize)) -> &Role {
        &self.accounts[at.0].roles[at.1]
    }

    pub fn user(&self, at: (usize, usize)) -> &User {
        &self.accounts[at.0].users[at.1]
    }

    /// The index of an account of this purpose, or any other where the organisation is too small to have one.
    pub fn account_for(&self, purpose: Purpose, rng: &mut ChaCha8Rng) -> usize {
        let fits: Vec<usize> = (0..self.accounts.len()).filter(|at| self.accounts[*at].purpose == purpose).collect();
        if fits.is_empty() { rng.random_range(0..self.accounts.len()) } else { *pick(rng, &fits) }
    }

    /// Somebody who is there at that time.
    pub fn person_at(&self, ms: i64, rng: &mut ChaCha8Rng) -> &Person {
        let day = (ms - self.start_ms).div_euclid(DAY_MS);
        let there: Vec<&Person> = self.people.iter().filter(|person| person.is_there(day)).collect();
        if there.is_empty() { pick(rng, &self.people) } else { there[rng.random_range(0..there.len())] }
    }

    /// Somebody who is there at that time and holds a role or user in the account; anybody where nobody does.
    pub fn person_of(&self, account: usize, ms: i64, rng: &mut ChaCha8Rng) -> &Person {
        let day = (ms - self.start_ms).div_euclid(DAY_MS);
        let of = |person: &&Person| person.is_there(day) && person.roles.iter().any(|role| role.0 == account);
        let there: Vec<&Person> = self.people.iter().filter(of).collect();
        if there.is_empty() { self.person_at(ms, rng) } else { there[rng.random_range(0..there.len())] }
    }
}

impl Person {
    /// Employed and not on holiday on that day (counted from the start).
    pub fn is_there(&self, day: i64) -> bool {
        (self.joins_day..=self.leaves_day).contains(&day)
            && !self.holidays.iter().any(|(first, last)| (*first..=*last).contains(&day))
    }

    /// An address this person might well call from on that day.
    pub fn address(&self, day: i64, rng: &mut ChaCha8Rng) -> String {
        if let Some((_, _, network)) = self.travels.iter().find(|(first, last, _)| (*first..=*last).contains(&day)) {
            return network.address(rng);
        }
        let at = match rng.random_range(0..100) {
            0..62 => 0,
            62..88 => 1,
            88..96 => 3,
            _ => 2,
        };
        self.networks[at % self.networks.len()].address(rng)
    }

    pub fn browser(&self) -> &str {
        &self.agents[0]
    }

    /// One of the tools that are not the browser.
    pub fn tool(&self, rng: &mut ChaCha8Rng) -> &str {
        if self.agents.len() < 2 { &self.agents[0] } else { pick(rng, &self.agents[1..]).as_str() }
    }

    /// The role this person holds in an account.
    pub fn role_in(&self, account: usize) -> Option<(usize, usize)> {
        self.roles.iter().copied().find(|role| role.0 == account)
    }
}

impl Account {
    pub fn home(&self) -> &'static str {
        self.regions[0]
    }

    /// A region in use here, mostly the home.
    pub fn region(&self, rng: &mut ChaCha8Rng) -> &'static str {
        if rng.random_bool(0.8) { self.regions[0] } else { self.regions[rng.random_range(0..self.regions.len())] }
    }

    /// Roles of a holder.
    pub fn roles_of(&self, wanted: impl Fn(Holder) -> bool) -> impl Iterator<Item = &Role> {
        self.roles.iter().filter(move |role| wanted(role.held_by))
    }

    /// One role of a holder, where there is any.
    pub fn role_of(&self, wanted: impl Fn(Holder) -> bool, rng: &mut ChaCha8Rng) -> Option<&Role> {
        let fits: Vec<&Role> = self.roles_of(wanted).collect();
        if fits.is_empty() { None } else { Some(*pick(rng, &fits)) }
    }

    /// Service-linked roles are left out.
    pub fn role_named(&self, name: &str) -> Option<&Role> {
        self.roles.iter().find(|role| role.name == name)
    }

    pub fn arn(&self, service: &str, region: &str, rest: &str) -> String {
        format!("arn:aws:{service}:{region}:{}:{rest}", self.id)
    }

    pub fn role_arn(&self, role: &Role) -> String {
        format!("arn:aws:iam::{}:role{}{}", self.id, role.path, role.name)
    }

    pub fn user_arn(&self, name: &str) -> String {
        format!("arn:aws:iam::{}:user/{name}", self.id)
    }
}

/// An agent of the stock that everybody draws from.
pub fn any_agent(rng: &mut ChaCha8Rng) -> String {
    agent::any(rng)
}
