//! Somebody with a credential and a plan: paces the calls of a story and renews what expires. Attackers and the
//! innocent of the look-alikes act through the same type; only a hostile actor's calls are labelled.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::Pace;
use super::vocabulary::Make;
use crate::generate::call::Call;
use crate::generate::script::{Script, Session};
use crate::generate::world::{Account, DAY_MS, Person, Role};

const MINUTE_MS: i64 = 60_000;
const HOUR_MS: i64 = 3_600_000;

/// How a credential that expires is got again.
#[derive(Clone, Debug)]
pub(in crate::generate) enum Renewal {
    /// It does not expire, or is not needed for long.
    Never,
    /// By assuming the role again.
    Assume { by: Box<Session>, role: Box<Role>, name: String },
    /// By signing in again from the same place.
    SignIn { person: Box<Person>, role: Box<Role> },
    /// By asking the provider of the pipeline again.
    Token { role: Box<Role>, provider: String, subject: String },
    /// By reading it again where the service puts it (instance metadata, a function's environment).
    Reread { role: Box<Role>, name: String },
}

/// A story's working hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::generate) enum Hours {
    Any,
    /// 08:00 to 18:00 at this offset from UTC, Monday to Friday.
    Office(i32),
}

pub(in crate::generate) struct Actor<'s, 'w> {
    pub(in crate::generate) script: &'s mut Script<'w>,
    pub(in crate::generate) session: Session,
    pub(in crate::generate) renewal: Renewal,
    pub(in crate::generate) hours: Hours,
    /// Chance that a question is refused; what somebody does who does not know what the credential may do.
    pub(in crate::generate) refusals: f64,
    is_hostile: bool,
    pace: Pace,
    volume: u32,
    /// Own calls that count for the volume.
    made: u32,
    /// When a slow story means to be done.
    until_ms: i64,
    /// Calls left before the next pause of a slow story.
    visit: u32,
    /// Milliseconds between calls while at it.
    beat_ms: f64,
    /// `beat_ms` of bulk work: a program's, not fingers'.
    bulk_ms: f64,
}

impl<'s, 'w> Actor<'s, 'w> {
    pub(in crate::generate) fn new(
        script: &'s mut Script<'w>,
        session: Session,
        renewal: Renewal,
        pace: Pace,
        volume: u32,
    ) -> Self {
        let left_ms = script.world().end_ms() - script.now_ms();
        let rng = script.rng();
        let days = rng.random_range(2.0..8.0);
        let span_ms = ((days * DAY_MS as f64) as i64).min(left_ms * 9 / 10);
        let bulk_ms = (rng.random_range(5.0_f64..8.4)).exp();
        let beat_ms = (rng.random_range(8.0_f64..11.0)).exp();
        let volume = volume.max(8);
        // A fast story ends within two hours, however much there is to do.
        let (bulk_ms, beat_ms) =
            (bulk_ms.min(4.5e6 / f64::from(volume)), beat_ms.min(2.4e6 / f64::from(volume.min(60))));
        let until_ms = script.now_ms() + span_ms;
        let visit = script.rng().random_range(2..6);
        Self {
            script,
            session,
            renewal,
            hours: Hours::Any,
            refusals: 0.0,
            is_hostile: false,
            pace,
            volume,
            made: 0,
            until_ms,
            visit,
            beat_ms,
            bulk_ms,
        }
    }

    /// From now on calls are labelled.
    pub(in crate::generate) fn hostile(mut self) -> Self {
        self.is_hostile = true;
        self
    }

    pub(in crate::generate) fn is_slow(&self) -> bool {
        self.pace == Pace::Slow
    }

    /// Too few calls for more than one or two things.
    pub(in crate::generate) fn is_small(&self) -> bool {
        self.volume < 40
    }

    pub(in crate::generate) fn chance(&mut self, share: f64) -> bool {
        self.script.rng().random_bool(share)
    }

    /// The account in which the session calls.
    pub(in crate::generate) fn account(&self) -> &'w Account {
        &self.script.world().accounts[self.session.account]
    }

    /// One of the account's things by name.
    pub(in crate::generate) fn name(&mut self, list: fn(&Account) -> &Vec<String>) -> String {
        let list = list(self.account());
        super::vocabulary::pick(self.script.rng(), list).clone()
    }

    /// What follows serves this technique.
    pub(in crate::generate) fn step(&mut self, technique: &'static str) {
        if self.is_hostile {
            self.script.attack(technique);
        }
        if !self.is_slow() && self.made > 0 {
            self.script.wait_ms(self.beat_ms as i64, (self.beat_ms * 4.0) as i64);
        }
    }

    /// Makes one call, at the story's pace.
    pub(in crate::generate) fn call(&mut self, make: impl FnOnce(&Account, &mut ChaCha8Rng) -> Call) {
        self.pass(self.beat_ms);
        self.make(make);
    }

    /// Makes the call in some stories only.
    pub(in crate::generate) fn maybe(&mut self, share: f64, make: impl FnOnce(&Account, &mut ChaCha8Rng) -> Call) {
        if self.chance(share) {
            self.call(make);
        }
    }

    /// Asks some of these questions in any order, at most `most`, fewer in small stories; some are refused.
    pub(in crate::generate) fn survey(&mut self, questions: &[Make], most: u32) {
        let most = most.min(self.volume / 9).max(1);
        let wanted = self.script.rng().random_range(most.div_ceil(2)..=most) as usize;
        let mut order: Vec<usize> = (0..questions.len()).collect();
        for at in 0..wanted.min(order.len()) {
            let other = self.script.rng().random_range(at..order.len());
            order.swap(at, other);
        }
        for at in order.into_iter().take(wanted) {
            let is_refused = self.chance(self.refusals);
            self.pass(self.beat_ms / 2.0);
            self.make(|account, rng| {
                let call = questions[at](account, rng);
                if is_refused { call.denied() } else { call }
            });
        }
    }

    /// Spends a share of the calls that are left for bulk work.
    pub(in crate::generate) fn fill(&mut self, share: f64, mut make: impl FnMut(&Account, &mut ChaCha8Rng) -> Call) {
        let left = f64::from(self.volume.saturating_sub(self.made));
        let count = ((left * share).round() as u32).max(1);
        let refusals = self.refusals / 5.0;
        for _ in 0..count {
            let is_refused = self.chance(refusals);
            self.pass(self.bulk_ms);
            self.make(|account, rng| {
                let call = make(account, rng);
                if is_refused { call.denied() } else { call }
            });
        }
    }

    /// As [`Self::fill`], `each` calls a turn.
    pub(in crate::generate) fn rounds(&mut self, share: f64, each: u32, mut turn: impl FnMut(&mut Self)) {
        let left = f64::from(self.volume.saturating_sub(self.made));
        let turns = ((left * share / f64::from(each)).round() as u32).max(1);
        for _ in 0..turns {
            turn(self);
        }
    }

    /// A call of a round of bulk work.
    pub(in crate::generate) fn quick(&mut self, make: impl FnOnce(&Account, &mut ChaCha8Rng) -> Call) {
        self.pass(self.bulk_ms);
        self.make(make);
    }

    /// A step that the script makes for the session: creating users and keys, assuming roles.
    pub(in crate::generate) fn does<T>(&mut self, deed: impl FnOnce(&mut Script<'w>, &Session) -> T) -> T {
        self.pass(self.beat_ms);
        let before = self.script.written();
        let result = deed(self.script, &self.session);
        self.made += (self.script.written() - before).max(1) as u32;
        result
    }

    /// Goes on with another credential.
    pub(in crate::generate) fn becomes(&mut self, session: Session, renewal: Renewal) {
        self.session = session;
        self.renewal = renewal;
    }

    /// Assumes a role and goes on with it; back with the session that did.
    pub(in crate::generate) fn assumes(&mut self, role: &Role, name: &str) {
        let issued = self.does(|script, session| script.assume_role(session, role, name));
        let by = std::mem::replace(&mut self.session, issued);
        self.renewal = Renewal::Assume { by: Box::new(by), role: Box::new(role.clone()), name: name.to_owned() };
    }

    fn make(&mut self, make: impl FnOnce(&Account, &mut ChaCha8Rng) -> Call) {
        let account = self.account();
        let call = make(account, self.script.rng());
        self.script.call(&self.session, call);
        self.made += 1;
    }

    /// Time goes by before a call.
    fn pass(&mut self, beat_ms: f64) {
        if self.pace == Pace::Fast {
            self.script.wait_ms((beat_ms * 0.3) as i64, (beat_ms * 1.7) as i64 + 1);
            return;
        }
        if self.visit > 0 {
            self.visit -= 1;
            self.script.wait_s(1.5, 70.0);
            return;
        }
        self.visit = self.script.rng().random_range(1..6);
        let visits_left = i64::from(self.volume.saturating_sub(self.made) / 4 + 1);
        let room_ms = (self.until_ms - self.script.now_ms()) / visits_left;
        let gap_ms = room_ms.max(25 * MINUTE_MS);
        self.script.wait_ms(gap_ms / 2, gap_ms * 3 / 2);
        self.wait_for_work();
        self.renew();
    }

    fn wait_for_work(&mut self) {
        let Hours::Office(offset_h) = self.hours else { return };
        let start_ms = self.script.world().start_ms;
        // The world begins on a Monday at midnight UTC.
        let local_ms = self.script.now_ms() - start_ms + i64::from(offset_h) * HOUR_MS;
        let (mut day, hour) = (local_ms.div_euclid(DAY_MS), local_ms.rem_euclid(DAY_MS) / HOUR_MS);
        if day.rem_euclid(7) < 5 && (8..18).contains(&hour) {
            return;
        }
        day += i64::from(hour >= 18);
        day += match day.rem_euclid(7) {
            5 => 2,
            6 => 1,
            _ => 0,
        };
        let opens_ms = start_ms + day * DAY_MS + (8 - i64::from(offset_h)) * HOUR_MS;
        let late_ms = self.script.rng().random_range(0..4 * HOUR_MS);
        self.script.wait_until(opens_ms + late_ms);
    }

    /// Credentials of roles last an hour.
    fn renew(&mut self) {
        if self.script.now_ms() - self.session.issued_ms < HOUR_MS {
            return;
        }
        let (source, agent) = (self.session.source.clone(), self.session.agent.clone());
        let before = self.script.written();
        let fresh = match &self.renewal {
            Renewal::Never => return,
            Renewal::Assume { by, role, name } => self.script.assume_role(by, role, name),
            Renewal::SignIn { person, role } => self.script.sign_in_from(person, role.account, role, source, agent),
            Renewal::Token { role, provider, subject } => {
                self.script.web_identity(role, provider, subject, source, agent)
            }
            Renewal::Reread { role, name } => {
                let held = self.script.held(role, name, source, agent);
                Session { identity: self.session.identity.clone(), ..held }
            }
        };
        self.session = Session {
            region: self.session.region,
            is_console: self.session.is_console,
            through_endpoint: self.session.through_endpoint,
            ..fresh
        };
        self.made += (self.script.written() - before) as u32;
    }
}
