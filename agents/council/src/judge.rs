//! What the council needs of whoever judges.

use trailwarden_core::case::Case;
use trailwarden_core::negotiation::exchange::Ask;
use trailwarden_core::negotiation::{Judgement, Negotiation};

/// Judges a case, without any model of language: the same case gives the same judgement, or what is logged could not be told from
/// what should be.
pub trait Judge: Send + Sync {
    /// What the model makes of a case as a whole, written into it. Cheap: most cases are not worth a judgement, and this
    /// tells.
    fn weigh(&self, case: &mut Case);

    /// Judges a case that was weighed. Runs on a thread where it may take its time.
    fn judge(&self, case: Case) -> Judged;

    /// Opens a negotiation about a case that was judged, on the same evidence.
    fn open(&self, case: &Case) -> (Negotiation, Vec<Ask>);

    /// A judged case with what came of that negotiation.
    fn tell(&self, case: Case, judgement: Judgement) -> Judged;
}

/// A case with the council's answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// The case as it was judged: weighed by the model, with its reasons.
    pub case: Case,
    pub judgement: Judgement,
    /// The line that `scan --cases` would write of it, without its end.
    pub line_json: String,
}
