//! Conformal risk control: how far a bound may go so that what it lets through unseen is wrong rarely enough.
//!
//! Angelopoulos, Bates, Fisch, Lei and Schuster, "Conformal Risk Control" (arXiv 2208.02814), theorem 1. A case of the dangerous kind
//! loses 1 when the bound lets it pass, else 0. The loss never falls as the bound opens, so with the losses of `n` labelled
//! cases the bound is the widest one for which
//!
//! `(n / (n + 1)) * mean loss + 1 / (n + 1) <= alpha`, that is `(passed + 1) / (n + 1) <= alpha`.
//!
//! The `+ 1` is the finite-sample correction: the next case is taken to be the worst that can come. If the next case is
//! exchangeable with the labelled ones, its chance of passing is at most alpha, over the draw of all of them; that says nothing
//! of attacks that are unlike those labelled so far, nor of one bound's luck. Without the correction the promise does not hold (a test shows it).

/// At most one case of the dangerous kind in so many may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Promise {
    one_in: usize,
}

/// Of attacks, at most 0.5 % are closed without a person.
pub const MISSED: Promise = Promise { one_in: 200 };
/// Of benign cases, at most 0.1 % are acted upon without a person.
pub const CONTAINED: Promise = Promise { one_in: 1_000 };

impl Promise {
    /// Alpha.
    pub fn rate(self) -> f64 {
        1.0 / self.one_in as f64
    }

    /// Labelled cases below which nothing may pass.
    pub const fn cases_min(self) -> usize {
        self.one_in - 1
    }

    /// How many of `cases` may pass; `None` when there are too few of them to let anything pass.
    pub const fn allowed(self, cases: usize) -> Option<usize> {
        (cases.saturating_add(1) / self.one_in).checked_sub(1)
    }

    /// What is promised with so many cases: at most [`Self::rate`].
    pub fn kept(self, cases: usize) -> Option<f64> {
        self.allowed(cases).map(|allowed| (allowed as f64 + 1.0) / (cases as f64 + 1.0))
    }
}

/// Scores of labelled cases of the dangerous kind, the lower the sooner they pass. What can never pass is at infinity.
#[derive(Clone, Debug, PartialEq)]
pub struct Scores(Vec<f64>);

impl Scores {
    /// In any order. A score that is no number is taken to pass first.
    pub fn new(scores: impl IntoIterator<Item = f64>) -> Self {
        let worst = |score: f64| if score.is_nan() { f64::NEG_INFINITY } else { score };
        let mut scores: Vec<f64> = scores.into_iter().map(worst).collect();
        scores.sort_unstable_by(f64::total_cmp);
        Self(scores)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// What is *below* it may pass. Of scores that are equal all pass or none does. `None` when there are too few.
    pub fn threshold(&self, promise: Promise) -> Option<f64> {
        self.0.get(promise.allowed(self.len())?).copied()
    }

    /// How many would have passed, each under the threshold that the others give as `bound` makes it; `None` when there are
    /// too few for a threshold without one of them.
    ///
    /// Of exchangeable cases at most alpha, whatever the scores are: this is the theorem's own argument.
    pub fn left_out(&self, promise: Promise, bound: impl Fn(f64) -> f64) -> Option<usize> {
        let allowed = promise.allowed(self.len().checked_sub(1)?)?;
        // Without one of the lowest, the next takes the threshold's place; without another, it stays.
        let (own, next) = (*self.0.get(allowed)?, self.0.get(allowed + 1).copied().unwrap_or(f64::INFINITY));
        let low = self.0[..=allowed].iter().filter(|score| **score < bound(next)).count();
        let high = self.0[allowed + 1..].iter().filter(|score| **score < bound(own)).count();
        Some(low + high)
    }

    /// How many are below a bound.
    pub fn below(&self, bound: f64) -> usize {
        self.0.partition_point(|score| *score < bound)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TENTH: Promise = Promise { one_in: 10 };

    #[test]
    fn the_fewest_cases_are_those_of_the_protocol() {
        for (promise, min) in [(MISSED, 199), (CONTAINED, 999)] {
            assert_eq!(promise.cases_min(), min);
            for (cases, allowed) in
                [(0, None), (min - 1, None), (min, Some(0)), (2 * min, Some(0)), (2 * min + 1, Some(1))]
            {
                assert_eq!(promise.allowed(cases), allowed, "{cases}");
                assert!(promise.kept(cases).is_none_or(|kept| kept <= promise.rate()));
            }
            assert_eq!(promise.allowed(usize::MAX).map(|allowed| allowed > 0), Some(true));
        }
        let few = Scores::new([0.9; 198]);
        assert_eq!((few.threshold(MISSED), few.left_out(MISSED, |bound| bound)), (None, None));
        assert_eq!(Scores::new([]).threshold(MISSED), None);
        assert_eq!(Scores::new([0.9; 199]).threshold(MISSED), Some(0.9));
        assert_eq!(Scores::new([0.9; 199]).left_out(MISSED, |bound| bound), None, "one less is too few");
        // What is no number is the worst there can be.
        let hostile = Scores::new([0.9; 198].into_iter().chain([f64::NAN]));
        assert_eq!(hostile.threshold(MISSED), Some(f64::NEG_INFINITY));
    }

    #[test]
    fn equal_scores_pass_together_or_not_at_all() {
        let scores = Scores::new([0.1, 0.2, 0.2, 0.2].into_iter().chain([0.8; 16]));
        assert_eq!(TENTH.allowed(20), Some(1));
        let threshold = scores.threshold(TENTH).expect("enough");
        assert_eq!((threshold, scores.below(threshold)), (0.2, 1));
    }

    /// With ties, and with cases that can never pass.
    fn any_scores(cases: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Vec<f64>> {
        let score = prop_oneof![
            2 => (0u8..12).prop_map(|step| f64::from(step) / 10.0),
            2 => 0.0..1.0f64,
            1 => Just(f64::INFINITY),
        ];
        prop::collection::vec(score, cases)
    }

    /// Passed, each under the threshold of the others, by definition.
    fn left_out_by_definition(scores: &[f64], threshold: impl Fn(&Scores) -> Option<f64>) -> Option<usize> {
        let mut passed = 0;
        for (at, score) in scores.iter().enumerate() {
            let others = scores.iter().enumerate().filter(|(other, _)| *other != at).map(|(_, score)| *score);
            passed += usize::from(*score < threshold(&Scores::new(others))?);
        }
        Some(passed)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        /// Exchangeable cases: whichever of a bag is the next one, it passes in at most alpha of all choices. That holds for each
        /// bag, and so on average over any distribution of bags.
        #[test]
        fn the_promise_holds_over_every_choice_of_the_next_case(bag in any_scores(1..80)) {
            let passed = left_out_by_definition(&bag, |others| others.threshold(TENTH));
            prop_assert_eq!(Scores::new(bag.iter().copied()).left_out(TENTH, |bound| bound), passed);
            if let Some(passed) = passed {
                prop_assert!(passed as f64 <= TENTH.rate() * bag.len() as f64, "{passed} of {}", bag.len());
            } else {
                prop_assert!(bag.len() <= TENTH.cases_min());
            }
        }

        #[test]
        fn more_dangerous_labels_never_open_a_bound(scores in any_scores(9..60), worse in any_scores(1..10)) {
            let before = Scores::new(scores.iter().copied()).threshold(TENTH).expect("enough");
            // Each of them replaces a case that passes later.
            let mut lowered = scores.clone();
            for (place, score) in worse.iter().enumerate() {
                let at = place % lowered.len();
                lowered[at] = lowered[at].min(*score);
            }
            prop_assert!(Scores::new(lowered).threshold(TENTH).expect("enough") <= before);
        }

        #[test]
        fn what_passes_on_the_labelled_is_what_is_allowed(scores in any_scores(9..60)) {
            let scores = Scores::new(scores);
            let passed = scores.below(scores.threshold(TENTH).expect("enough"));
            prop_assert!(passed <= TENTH.allowed(scores.len()).expect("enough"));
        }
    }

    /// Draws from a fixed population, as a reader would simulate it: xorshift64 (Marsaglia, 2003).
    fn realised(threshold: impl Fn(&Scores) -> Option<f64>) -> f64 {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            // To thousandths, so that there are ties.
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        let (rounds, mut passed) = (20_000, 0);
        for _ in 0..rounds {
            let labelled = Scores::new((0..14).map(|_| (next() * 1e3).floor() / 1e3));
            let future = (next() * 1e3).floor() / 1e3;
            passed += usize::from(threshold(&labelled).is_some_and(|threshold| future < threshold));
        }
        passed as f64 / f64::from(rounds)
    }

    #[test]
    fn realised_risk_is_as_promised_and_without_the_correction_it_is_not() {
        // Fourteen cases allow none to pass: the next one does in one of fifteen draws.
        let kept = realised(|scores| scores.threshold(TENTH));
        assert!(kept <= TENTH.rate() && kept > 0.05, "{kept}");
        // The mistake: the mean over the labelled cases alone. One of them may pass, and two of fifteen future ones do.
        let uncorrected = realised(|scores| scores.0.get(scores.len() / TENTH.one_in).copied());
        assert!(uncorrected > 1.2 * TENTH.rate(), "{uncorrected}");
    }
}
