//! Somebody calls APIs while time passes. Routines, campaigns and look-alikes all speak through this.

mod credential;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::call::Call;
use super::names::stream;
use super::record;
use super::world::{DAY_MS, Role, World};

/// A credential in somebody's hands.
#[derive(Clone, Debug)]
pub struct Session {
    /// In whose trail its calls stand.
    pub account: usize,
    pub identity: Identity,
    /// `AKIA…` or `ASIA…`; empty for services.
    pub key: String,
    /// Address or host name.
    pub source: String,
    pub agent: String,
    pub mfa: bool,
    pub region: &'static str,
    pub issued_ms: i64,
    /// Calls made by the console for a person.
    pub is_console: bool,
    /// Calls go through the account's VPC endpoint.
    pub through_endpoint: bool,
}

#[derive(Clone, Debug)]
pub enum Identity {
    User {
        name: String,
        id: String,
    },
    Role {
        role: Box<Role>,
        session_name: String,
        /// `ec2RoleDelivery`, for instance profiles.
        delivery: Option<&'static str>,
        /// The service that calls with this role.
        invoked_by: Option<&'static str>,
        /// The OpenID Connect provider and subject behind the session.
        web_identity: Option<(String, String)>,
    },
    Root,
    /// A service calls on its own behalf: its host name.
    Service(&'static str),
    /// `GetFederationToken`: the name given, and the IAM user who asked.
    Federated {
        name: String,
        issuer_name: String,
        issuer_id: String,
    },
    /// Not a credential yet: who asks for a role with a token.
    WebIdentity {
        provider: String,
        subject: String,
    },
    Saml {
        provider: String,
        subject: String,
    },
    /// A principal of an account outside the organisation: account id and principal id.
    ForeignAccount {
        id: String,
        principal: String,
    },
    Anonymous,
}

/// One record, ready to be written.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub at_ms: i64,
    pub account: usize,
    pub region: &'static str,
    pub event_id: String,
    /// ATT&CK id, for attack events.
    pub technique: Option<&'static str>,
    pub body: Vec<u8>,
}

pub struct Script<'w> {
    world: &'w World,
    rng: ChaCha8Rng,
    now_ms: i64,
    technique: Option<&'static str>,
    out: Vec<Recorded>,
    /// Calls beyond are dropped.
    left: u64,
    /// Attack calls beyond are dropped.
    attacks_left: u64,
    /// The first session that made an attack call, for the summary.
    attacker: Option<String>,
}

impl<'w> Script<'w> {
    /// `rng_seed_parts` name this script among all others of the same world.
    pub fn new(world: &'w World, rng_seed_parts: &[u64], at_ms: i64) -> Self {
        let rng = stream(world.seed, rng_seed_parts);
        Self {
            world,
            rng,
            now_ms: at_ms,
            technique: None,
            out: Vec::new(),
            left: u64::MAX,
            attacks_left: u64::MAX,
            attacker: None,
        }
    }

    /// At most this many records.
    #[must_use]
    pub fn limited(mut self, records: u64) -> Self {
        self.left = records;
        self
    }

    /// At most this many attack records: where the last campaign ends early.
    #[must_use]
    pub fn with_attacks_limited(mut self, records: u64) -> Self {
        self.attacks_left = records;
        self
    }

    pub fn world(&self) -> &'w World {
        self.world
    }

    pub fn rng(&mut self) -> &mut ChaCha8Rng {
        &mut self.rng
    }

    pub fn now_ms(&self) -> i64 {
        self.now_ms
    }

    /// Day counted from the start of the world.
    pub fn day(&self) -> i64 {
        (self.now_ms - self.world.start_ms).div_euclid(DAY_MS)
    }

    /// Records written so far.
    pub fn written(&self) -> usize {
        self.out.len()
    }

    /// Records that may still be written.
    pub fn left(&self) -> u64 {
        self.left
    }

    pub fn wait_ms(&mut self, from: i64, to: i64) {
        self.now_ms += if to > from { self.rng.random_range(from..to) } else { from };
    }

    pub fn wait_s(&mut self, from: f64, to: f64) {
        self.wait_ms((from * 1000.0) as i64, (to * 1000.0) as i64);
    }

    /// Not back in time.
    pub fn wait_until(&mut self, ms: i64) {
        self.now_ms = self.now_ms.max(ms);
    }

    /// Somewhere else in time, back too: for several things that happen side by side.
    pub fn at(&mut self, ms: i64) {
        self.now_ms = ms;
    }

    /// At any moment of a stretch of time.
    pub fn between(&mut self, from_ms: i64, to_ms: i64) {
        self.now_ms = from_ms;
        self.wait_ms(0, (to_ms - from_ms).max(1));
    }

    /// From now on calls are an attack's, by this ATT&CK technique.
    pub fn attack(&mut self, technique: &'static str) {
        self.technique = Some(technique);
    }

    /// From now on calls are innocent again.
    pub fn innocent(&mut self) {
        self.technique = None;
    }

    /// Who made the first attack call, if any was made.
    pub fn attacker(&self) -> Option<&str> {
        self.attacker.as_deref()
    }

    pub fn into_records(self) -> Vec<Recorded> {
        self.out
    }

    /// Writes one call down. Calls before the world begins or after it ends leave no record.
    pub fn call(&mut self, session: &Session, call: Call) {
        if self.left == 0 || self.now_ms < self.world.start_ms || self.now_ms >= self.world.end_ms() {
            return;
        }
        if self.technique.is_some() {
            if self.attacks_left == 0 {
                return;
            }
            self.attacks_left -= 1;
            self.attacker.get_or_insert_with(|| record::principal_arn(self.world, session));
        }
        self.left -= 1;
        let recorded = record::render(self.world, session, &call, self.now_ms, self.technique, &mut self.rng);
        self.out.push(recorded);
    }
}

/// A session of a role, nothing special about it.
pub fn plain_role(role: &Role, session_name: &str) -> Identity {
    Identity::Role {
        role: Box::new(role.clone()),
        session_name: session_name.to_owned(),
        delivery: None,
        invoked_by: None,
        web_identity: None,
    }
}
