//! The organisations that are trained and measured on. Campaign families are dealt to folds; organisation `k` hosts the
//! families of fold `k` alone. So a model that is trained without fold `k`'s organisation has seen neither the
//! organisations nor the kinds of attack that it is measured on in fold `k`.

use std::path::Path;

use tempfile::TempDir;
use trailwarden_core::time::{DAY_MS, Timestamp};

use crate::Error;
use crate::dataset::{Dataset, Reader};
use crate::generate::{self, Setting, Settings, campaign};

/// Groups of campaign families.
pub const FOLDS: usize = 4;
/// Days of every organisation; attacks begin after 40 % of them.
pub const DAYS: u32 = 28;
/// Share of the days that hold no attack: history to know the ordinary by.
pub const CALM_SHARE: f64 = 0.4;

/// Days of history before anything is measured: what the features need.
const WARM_UP_DAYS: i64 = 7;

/// When an event happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    WarmUp,
    /// After the warm-up, before the first attack: thresholds come from here.
    Calm,
    Test,
}

impl Phase {
    pub fn of(first: Timestamp, at: Timestamp) -> Self {
        let elapsed = at.since_ms(first);
        if elapsed < WARM_UP_DAYS * DAY_MS {
            Self::WarmUp
        } else if elapsed < calm_ms() {
            Self::Calm
        } else {
            Self::Test
        }
    }
}

pub(crate) fn calm_ms() -> i64 {
    (f64::from(DAYS) * CALM_SHARE * DAY_MS as f64) as i64
}

pub(crate) fn calm_days() -> f64 {
    calm_ms() as f64 / DAY_MS as f64 - WARM_UP_DAYS as f64
}

/// Whole days of the test.
pub(crate) fn test_days() -> u32 {
    (f64::from(DAYS) * (1.0 - CALM_SHARE)).round() as u32
}

/// Families of a fold.
pub fn families(fold: usize) -> Vec<String> {
    let dealt = campaign::all().into_iter().enumerate().filter(|(place, _)| place % FOLDS == fold);
    dealt.map(|(_, campaign)| campaign.family.to_owned()).collect()
}

/// A kind of surroundings: how much happens, and how much of it is attack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Environment {
    pub name: &'static str,
    /// Events over all folds.
    pub events: u64,
    /// Of the events after the calm time, which alone are measured.
    pub attack_share: f64,
    /// Accounts of each fold's organisation.
    pub accounts: usize,
    /// Fold `k`'s organisation has this seed plus `k`.
    pub seed: u64,
}

/// Share of attack events that probabilities are calibrated to.
pub const PREVALENCE: f64 = 0.023;

/// All that is trained and measured on.
#[derive(Clone, Copy, Debug)]
pub struct Universe {
    /// Each is trained on in every fold: habits differ more between organisations than within one. They hold many
    /// attacks, so that there is something to learn; calibration weighs them down to [`PREVALENCE`].
    pub training: &'static [Environment],
    /// The first is the one that the headline speaks of. Their seeds are none that were trained on or decided by: whoever changes
    /// the model after looking at a table takes fresh ones for the next.
    pub measured: &'static [Environment],
    /// What the second stage is measured on: as the first of those, with seeds of its own, since it changes more often than
    /// the models before it.
    pub judged: Environment,
}

const fn environment(name: &'static str, events: u64, attack_share: f64, accounts: usize, seed: u64) -> Environment {
    Environment { name, events, attack_share, accounts, seed }
}

impl Universe {
    /// What the default bundle is trained on, and what the published table is measured on.
    pub const PUBLISHED: Universe = Universe {
        training: &[
            environment("dense", 1_000_000, 0.10, 8, 100),
            environment("wide", 400_000, 0.10, 14, 110),
            environment("middling", 500_000, 0.10, 10, 120),
            environment("small", 200_000, 0.10, 4, 130),
            environment("quiet", 300_000, 0.10, 12, 140),
            environment("six accounts", 400_000, 0.10, 6, 150),
            environment("nine accounts", 300_000, 0.10, 9, 160),
            environment("sixteen accounts", 500_000, 0.10, 16, 170),
            environment("five accounts", 250_000, 0.10, 5, 180),
            environment("seven accounts", 350_000, 0.10, 7, 190),
            environment("eleven accounts", 600_000, 0.10, 11, 200),
            environment("fifteen accounts", 300_000, 0.10, 15, 210),
            environment("eight accounts", 200_000, 0.10, 8, 220),
            environment("four accounts", 450_000, 0.10, 4, 230),
            environment("ten accounts", 400_000, 0.10, 10, 240),
        ],
        measured: &[
            environment("operational", 1_000_000, 0.023, 10, 3_000),
            environment("simulated", 500_000, 0.05, 8, 3_100),
            environment("public-like", 300_000, 0.031, 6, 3_200),
            environment("rare", 1_000_000, 0.000_1, 10, 3_300),
        ],
        judged: environment("operational", 1_000_000, 0.023, 10, 4_000),
    };

    /// Seconds instead of minutes, to see that everything runs; its figures mean nothing.
    pub const SMALL: Universe = Universe {
        training: &[environment("small", 80_000, 0.15, 3, 5)],
        measured: &[environment("operational", 60_000, 0.05, 3, 50), environment("rare", 40_000, 0.03, 3, 60)],
        judged: environment("operational", 60_000, 0.05, 3, 50),
    };

    /// The organisations that are trained on, with their folds; networks learn from those of the first kind alone.
    pub fn training(&self) -> impl Iterator<Item = (usize, Settings, bool)> {
        let training = self.training.iter().enumerate();
        training
            .flat_map(|(place, environment)| (0..FOLDS).map(move |fold| (fold, environment.settings(fold), place == 0)))
    }
}

impl Environment {
    /// The organisation of a fold.
    pub fn settings(&self, fold: usize) -> Settings {
        Settings {
            events: self.events / FOLDS as u64,
            accounts: self.accounts,
            days: DAYS,
            seed: self.seed + fold as u64,
            setting: Setting::Hard,
            attack_share: self.attack_share * (1.0 - CALM_SHARE),
            families: families(fold),
        }
    }
}

/// An organisation's logs on disk, and read.
#[derive(Debug)]
pub struct Organisation {
    folder: TempDir,
    pub dataset: Dataset,
}

impl Organisation {
    /// Generates one and takes it through features and detections.
    ///
    /// # Errors
    /// When there is no room on disk.
    pub fn generate(reader: &Reader, settings: &Settings, with_sequences: bool) -> Result<Self, Error> {
        let folder = tempfile::tempdir().map_err(Error::Folder)?;
        generate::generate(settings, folder.path())?;
        let dataset = reader.dataset(folder.path(), with_sequences)?;
        Ok(Self { folder, dataset })
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }
}
