//! What to generate.

use super::Error;

/// How strange the innocent are and how careful the attackers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// Few oddities, careless attackers.
    Plain,
    /// Many oddities: what detectors are to be measured on.
    Hard,
}

/// An organisation's logs, told in few numbers. The same settings give the same bytes.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Events in all, attacks included.
    pub events: u64,
    /// Accounts of the organisation.
    pub accounts: usize,
    /// Days from the fixed start.
    pub days: u32,
    pub seed: u64,
    pub setting: Setting,
    /// Share of attack events, 0 to 0.5.
    pub attack_share: f64,
    /// Only campaigns of these families are planted; all when empty.
    pub families: Vec<String>,
}

/// Largest organisation that can be asked for.
pub const ACCOUNTS_MAX: usize = 200;
/// Longest time that can be asked for.
pub const DAYS_MAX: u32 = 400;
/// An account's day is held in memory while it is written (about 1.5 kB an event).
pub const EVENTS_PER_ACCOUNT_DAY_MAX: u64 = 60_000;

impl Settings {
    /// Hard, 2.3 % attacks, 10 accounts, 28 days.
    pub fn new(events: u64, seed: u64) -> Self {
        Self { events, accounts: 10, days: 28, seed, setting: Setting::Hard, attack_share: 0.023, families: Vec::new() }
    }

    /// # Errors
    /// Says which number is out of its bounds.
    pub fn check(&self) -> Result<(), Error> {
        let says = |text: &str| Err(Error::Settings(text.to_owned()));
        if self.accounts == 0 || self.accounts > ACCOUNTS_MAX {
            return says("accounts must be 1 to 200");
        }
        if self.days == 0 || self.days > DAYS_MAX {
            return says("days must be 1 to 400");
        }
        if !(0.0..=0.5).contains(&self.attack_share) {
            return says("attack share must be 0 to 0.5");
        }
        if self.events / (self.accounts as u64 * u64::from(self.days)) > EVENTS_PER_ACCOUNT_DAY_MAX {
            return says("more than 60,000 events an account and day: ask for more accounts or days");
        }
        Ok(())
    }
}
