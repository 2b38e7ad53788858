//! What a negotiation is held under: bounds on what may happen without a person, the pool's weights, and whose they are.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::calibration::{Calibration, Counts};
use super::conformal::{CONTAINED, MISSED, Promise};
use super::evidence::sha256_hex;
use super::refit::Refit;
use super::said::Rests;
use super::weights::Weights;

/// Characters of a digest that name it.
const NAME_CHARS: usize = 16;

/// What the operator, or a calibration on labelled cases, allows to happen without a person. The default allows
/// nothing: without labelled cases there is no ground for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Bounds {
    /// Close cases up to this probability, at most [`Bounds::CLOSE_MAX`].
    pub close_up_to: Option<f64>,
    pub close_by: Source,
    /// Take tier-1 steps from this probability on, at least [`Bounds::AUTOMATIC_MIN`].
    pub act_from: Option<f64>,
    /// The same where no model answered for the sceptic; at least `act_from` and [`Bounds::AUTOMATIC_ALONE_MIN`].
    pub act_from_without_models: Option<f64>,
    pub act_by: Source,
    /// Labelled cases that a calibration's bounds rest on, or would if there were enough.
    pub labelled: Counts,
}

/// Whose a bound is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The operator set it.
    #[default]
    Hand,
    /// Conformal risk control found it on labelled cases.
    Labels,
}

impl Bounds {
    pub const CLOSE_MAX: f64 = 0.25;
    pub const AUTOMATIC_MIN: f64 = 0.90;
    pub const AUTOMATIC_ALONE_MIN: f64 = 0.95;

    /// Fills what the operator left open from a calibration. `alone` is the operator's leave to take from it, too, the bound
    /// for steps where no model answered for the sceptic.
    #[must_use]
    pub fn or_calibrated(self, calibration: &Calibration, alone: bool) -> Self {
        // Those that served a refit bound nothing.
        let labelled = Counts { attacks: calibration.close.cases, benign: calibration.act.cases };
        let mut bounds = Self { labelled, ..self };
        if bounds.close_up_to.is_none() {
            (bounds.close_up_to, bounds.close_by) = (calibration.close.at, Source::Labels);
        }
        if bounds.act_from.is_none() && bounds.act_from_without_models.is_none() {
            bounds.act_from = calibration.act.at;
            bounds.act_from_without_models = calibration.act_without_models.at.filter(|_| alone);
            bounds.act_by = Source::Labels;
        }
        bounds
    }

    pub(super) fn close_below(&self) -> Option<f64> {
        self.close_up_to.map(|bound| bound.min(Self::CLOSE_MAX))
    }

    pub(super) fn automatic_from(&self, has_model: bool) -> Option<f64> {
        let with_models = self.act_from.map(|bound| bound.max(Self::AUTOMATIC_MIN));
        if has_model {
            return with_models;
        }
        let alone = self.act_from_without_models?.max(Self::AUTOMATIC_ALONE_MIN);
        with_models.map(|bound| bound.max(alone))
    }

    /// What the closing bound rests on, or why there is none.
    pub(super) fn closing_rests_on(&self) -> Rests {
        rests_on(self.close_up_to, self.close_by, self.labelled.attacks, MISSED)
    }

    /// The same of the bound for steps.
    pub(super) fn acting_rests_on(&self) -> Rests {
        rests_on(self.act_from, self.act_by, self.labelled.benign, CONTAINED)
    }
}

fn rests_on(bound: Option<f64>, by: Source, cases: u32, promise: Promise) -> Rests {
    let of = u32::try_from(promise.cases_min()).unwrap_or(u32::MAX);
    match (bound, by, cases) {
        (Some(_), Source::Hand, _) => Rests::ByHand,
        (Some(_), Source::Labels, _) => Rests::OnLabelled { cases },
        (None, _, 0) => Rests::Unlabelled,
        (None, _, _) if cases >= of => Rests::Unkept { cases },
        (None, _, _) => Rests::TooFew { cases, of },
    }
}

/// What a negotiation is held under.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Terms {
    pub bounds: Bounds,
    /// Of the pool, where a model gave its word on the case; without them the published priors.
    pub weights: Option<Arc<Weights>>,
    pub refits: Refits,
    /// Name of the bundle that weighs cases; `None` where none does.
    pub model: Option<Arc<str>>,
    /// Digest of the calibration that bounds and refits come from.
    pub calibration: Option<Arc<str>>,
}

/// What labels taught the pool, by what it rests on. The default is the identity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Refits {
    /// Where fitted weights speak.
    pub fitted: Refit,
    /// Where the published priors do.
    pub published: Refit,
}

impl Refits {
    pub fn of(self, is_fitted: bool) -> Refit {
        if is_fitted { self.fitted } else { self.published }
    }
}

impl From<Bounds> for Terms {
    fn from(bounds: Bounds) -> Self {
        Self { bounds, ..Self::default() }
    }
}

impl Terms {
    /// Names them: what is judged under other terms may come out otherwise on the same evidence. The model's name stands for
    /// its weights.
    pub fn name(&self) -> String {
        let told = (&self.bounds, &self.refits, self.model.as_deref(), self.calibration.as_deref());
        let json = serde_json::to_string(&told).expect("numbers and texts serialise");
        let mut name = sha256_hex(&[json.as_bytes()]);
        name.truncate(NAME_CHARS);
        name
    }
}

/// What a judgement was reached under, and what it takes to calibrate on the case once somebody has labelled it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Basis {
    /// Of [`Terms::name`].
    pub terms: String,
    pub model: Option<String>,
    pub calibration: Option<String>,
    pub bounds: Bounds,
    pub pooled: Pooled,
}

/// What the pool made of a case, in its parts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Pooled {
    /// Stage one's log-odds, before any refit.
    pub prior: f64,
    /// What roles added, in log-odds.
    pub roles: f64,
    /// The same without any model's contribution.
    pub roles_deterministic: f64,
    /// Whether fitted weights spoke, or the published priors.
    pub is_fitted: bool,
    /// Whether, at a low probability, nothing but a bound keeps the case from being closed.
    pub may_close: bool,
    /// Whether, at a high one, nothing in the evidence but a bound keeps steps from being taken.
    pub may_act: bool,
}

#[cfg(test)]
mod tests {
    use super::super::calibration::Bounded;
    use super::*;

    fn calibration() -> Calibration {
        Calibration {
            labelled: Counts { attacks: 600, benign: 1_800 },
            close: Bounded { cases: 400, at: Some(0.03) },
            act: Bounded { cases: 1_200, at: Some(0.97) },
            act_without_models: Bounded { cases: 1_200, at: Some(0.98) },
            ..Calibration::default()
        }
    }

    #[test]
    fn what_the_operator_set_wins_and_is_said_to_be_by_hand() {
        let none = Bounds::default().or_calibrated(&calibration(), false);
        assert_eq!((none.close_below(), none.close_by), (Some(0.03), Source::Labels));
        assert_eq!((none.automatic_from(true), none.automatic_from(false)), (Some(0.97), None));
        assert_eq!(none.closing_rests_on(), Rests::OnLabelled { cases: 400 });
        let alone = Bounds::default().or_calibrated(&calibration(), true);
        assert_eq!(alone.automatic_from(false), Some(0.98));
        let hand = Bounds {
            close_up_to: Some(0.01),
            act_from: Some(0.99),
            act_from_without_models: None,
            ..Bounds::default()
        };
        let hand = hand.or_calibrated(&calibration(), true);
        assert_eq!(
            (hand.close_below(), hand.automatic_from(true), hand.automatic_from(false)),
            (Some(0.01), Some(0.99), None)
        );
        assert_eq!((hand.closing_rests_on(), hand.acting_rests_on()), (Rests::ByHand, Rests::ByHand));
    }

    #[test]
    fn why_there_is_no_bound_is_told_with_its_number() {
        let mut bounds = Bounds::default();
        assert_eq!(bounds.closing_rests_on(), Rests::Unlabelled);
        bounds.labelled = Counts { attacks: 1, benign: 1_500 };
        assert_eq!(bounds.closing_rests_on(), Rests::TooFew { cases: 1, of: 199 });
        assert_eq!(bounds.acting_rests_on(), Rests::Unkept { cases: 1_500 });
    }

    #[test]
    fn terms_are_named_by_what_moves_a_judgement() {
        let terms = Terms::default();
        let other = |change: fn(&mut Terms)| {
            let mut terms = Terms::default();
            change(&mut terms);
            terms.name()
        };
        let names = [
            terms.name(),
            other(|terms| terms.bounds.close_up_to = Some(0.1)),
            other(|terms| terms.bounds.close_by = Source::Labels),
            other(|terms| terms.refits.published.slope = 1.1),
            other(|terms| terms.model = Some("a".into())),
            other(|terms| terms.calibration = Some("a".into())),
        ];
        assert_eq!(names.iter().collect::<std::collections::BTreeSet<_>>().len(), names.len());
        assert_eq!(terms.name(), Terms::default().name());
        assert_eq!(terms.name().len(), NAME_CHARS);
    }
}
