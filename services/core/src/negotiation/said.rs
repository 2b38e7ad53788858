//! What the council says about a case, as facts. They are put into words where they are shown
//! ([`Language`](crate::language::Language)), so that whoever reads chooses the language, also of a case that was logged.
//!
//! Names that callers wrote are in here, cut and spelled out by [`shown`](super::text::shown).

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::group::Group;
use super::predicate::Predicate;
use super::unusual::Way;
use crate::feature::Feature;
use crate::level::{Severity, Verdict};

/// What happened, for one sentence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Summary {
    /// The case holds no event.
    Nothing,
    Told(Told),
    /// A model's own sentence, in the language that it wrote.
    Written(String),
}

/// Who did what, where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    pub subject: Subject,
    pub deeds: Deeds,
    pub place: Place,
    /// Further principals that took part.
    pub others: u32,
}

/// Who acted, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Root,
    LongTermKey {
        user: String,
        mfa: bool,
    },
    TemporaryKey {
        user: String,
        mfa: bool,
    },
    Console {
        user: String,
        mfa: bool,
    },
    User(String),
    /// An instance's credentials of this role.
    Instance(String),
    RoleSession(String),
    AwsService(String),
    OtherAccount(String),
    Federated(String),
    Unknown,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    Unknown,
    Account(String),
    Accounts(u32),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Deeds {
    /// Claims that name a deed, in the order in which they happened, and how many more there are.
    Done { succeeded: Vec<Predicate>, tried: Vec<Predicate>, further: u32 },
    /// No claim names a deed: how many rules matched, and the strongest one's title.
    Raised { detections: u32, strongest: String },
    /// Only the model raises it.
    StandsOut(Vec<Way>),
}

/// Why something was believed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// A claim that stands, with the titles of the rules that ground it.
    Claim { predicate: Predicate, detections: Vec<String> },
    /// A rule that grounds no claim.
    Detected { title: String },
    /// What the model makes of the event that stands out most, in thousandths, and what that rests on.
    Learned { score_milli: u16, moved_by: Vec<Measured> },
    /// A claim that another one undercut.
    SetAside { claim: Predicate, by: Predicate },
    /// Which way the judge leans.
    Leans { to_attack: bool },
}

/// A feature that moved the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    #[serde(serialize_with = "by_name", deserialize_with = "named")]
    pub feature: Feature,
    /// In thousandths; `None` where it is unknown, which may weigh too.
    pub value_milli: Option<i32>,
    /// In thousandths of log-odds.
    pub weight_milli: i32,
}

/// What keeps a case from being closed or acted upon without a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Hold {
    /// No bound allows closing. One rests on labelled attacks.
    NothingCloses {
        rests: Rests,
    },
    NotClosed {
        bound_percent: u8,
        rests: Rests,
    },
    /// No bound allows a step. One rests on labelled benign cases.
    NothingActs {
        rests: Rests,
    },
    NotAbove {
        bound_percent: u8,
        rests: Rests,
    },
    NoNarrowStep,
    Verdict(Verdict),
    /// Stage one calls a person: by no probability is it closed.
    Raised,
    /// The model alone lists it: likewise.
    Listed,
    Floor(Severity),
    /// A caller's text looks like instructions.
    Instructions,
    /// A role claimed what the evidence does not show.
    FalseClaim,
}

/// What a bound rests on, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rests {
    ByHand,
    OnLabelled {
        cases: u32,
    },
    /// There is no labelled case, and the operator set no bound.
    Unlabelled,
    /// There are fewer than it takes.
    TooFew {
        cases: u32,
        of: u32,
    },
    /// There are enough, and no bound keeps the promise on them.
    Unkept {
        cases: u32,
    },
}

/// The smallest change that was found to give another verdict, or that none was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Counterfactual {
    /// It was concluded again on the changed evidence.
    Gives { change: Change, verdict: Verdict, severity: Severity },
    /// No single removal gave another verdict, nor did up to three groups of features as they usually are.
    NotWithThree,
    /// Nor did all groups of features at once.
    NotEvenAll,
}

/// A change of the evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// One rule not matched, by its title.
    WithoutDetection(String),
    /// One claim not standing.
    WithoutClaim(Predicate),
    /// Every session opened with MFA.
    WithMfa,
    /// This principal named as automation by the operator.
    AsAutomation(String),
    /// These groups of features as they usually are, and the events scored again.
    AsUsual(Vec<Group>),
}

fn by_name<S: Serializer>(feature: &Feature, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(feature.definition().name)
}

fn named<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Feature, D::Error> {
    let name = String::deserialize(deserializer)?;
    let known = Feature::ALL.iter().find(|feature| feature.definition().name == name);
    known.copied().ok_or_else(|| de::Error::custom(format_args!("no feature is called `{name}`")))
}
