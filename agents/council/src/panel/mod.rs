//! The panel: roles of the council that a model answers for.
//!
//! A model sees the frozen evidence and, later, claims as types and handles; it answers in a closed vocabulary, and core
//! checks what it said. [`deliberate`] asks within bounds of calls, time and tokens, and lets the deterministic brain
//! stand in wherever no answer comes in time and in form. Whatever was said is kept in a [`Transcript`], and [`replay`]
//! reaches the same judgement from it without any model.

mod advice;
mod allowance;
mod answer;
mod deliberation;
mod question;
mod transcript;

#[cfg(test)]
pub(crate) mod fixtures;
#[cfg(test)]
mod local_tests;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::Role;
use trailwarden_models::{Advisor, Model};

pub use advice::local_form;
pub use deliberation::deliberate;
pub use transcript::{
    Call, Diverged, Ended, RAW_BYTES_MAX, Round, TRANSCRIPT_BYTES_MAX, Tokens, Transcript, VERSION, replay,
};

use question::Prompt;

/// Every role that a model may answer for.
pub const ROLES: [Role; 6] =
    [Role::Analysis, Role::Context, Role::Sceptic, Role::Judge, Role::Responder, Role::Reporter];

/// What one case may cost. The default is the most; [`Panel::new`] takes no more than that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Of one call.
    pub call: Duration,
    /// Of all calls about a case together.
    pub case: Duration,
    /// Calls about a case, those to mend an answer included.
    pub calls_max: u32,
    /// Tokens of a case, read and written.
    pub tokens_max: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { call: Duration::from_secs(15), case: Duration::from_secs(90), calls_max: 12, tokens_max: 24_000 }
    }
}

impl Limits {
    fn at_most(self, most: Self) -> Self {
        Self {
            call: self.call.min(most.call),
            case: self.case.min(most.case),
            calls_max: self.calls_max.min(most.calls_max),
            tokens_max: self.tokens_max.min(most.tokens_max),
        }
    }
}

/// Models with the roles that they answer for.
#[derive(Clone)]
pub struct Panel {
    /// `None`: only the local model is asked.
    model: Option<Arc<dyn Model>>,
    prompts: Arc<BTreeMap<Role, Prompt>>,
    /// Speaks where nobody else answers for the judge.
    local: Option<Local>,
    from: Severity,
    limits: Limits,
}

impl Panel {
    /// `model` bounds its own rates and budgets; `limits` are those of one case. Cases that the deterministic brains find less
    /// severe than `from` are not worth a model.
    #[must_use]
    pub fn new(model: Arc<dyn Model>, roles: &BTreeSet<Role>, from: Severity, limits: Limits) -> Self {
        let prompts = roles.iter().map(|role| (*role, Prompt::of(*role))).collect();
        let limits = limits.at_most(Limits::default());
        Self { model: Some(model), prompts: Arc::new(prompts), local: None, from, limits }
    }

    /// Without any model but a local one, which answers for the judge.
    #[must_use]
    pub fn of_local(advisor: Arc<dyn Advisor>, from: Severity, limits: Limits) -> Self {
        let limits = limits.at_most(Limits::default());
        let prompts = Arc::default();
        Self { model: None, prompts, local: None, from, limits }.with_local(advisor)
    }

    /// With a local model that stands in for the judge where no other answers.
    #[must_use]
    pub fn with_local(self, advisor: Arc<dyn Advisor>) -> Self {
        Self { local: Some(Local { advisor, prompt_digest: advice::prompt_digest() }), ..self }
    }

    /// SHA-256 of what a role is told, hex; `None` for a role that no model answers for.
    #[must_use]
    pub fn prompt_digest(&self, role: Role) -> Option<&str> {
        self.prompts.get(&role).map(|prompt| prompt.digest.as_str())
    }

    /// Whether a case of this severity is worth a model.
    #[must_use]
    pub fn is_asked(&self, severity: Severity) -> bool {
        severity >= self.from
    }

    /// How long a deliberation takes at most.
    #[must_use]
    pub fn patience(&self) -> Duration {
        self.limits.case
    }
}

/// A local model, asked as [`local_form`] says.
#[derive(Clone)]
struct Local {
    advisor: Arc<dyn Advisor>,
    prompt_digest: String,
}

impl fmt::Debug for Panel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let roles: Vec<Role> = self.prompts.keys().copied().collect();
        let model = self.model.as_ref().map(|model| model.name());
        let local = self.local.as_ref().map(|local| local.advisor.name());
        let mut told = f.debug_struct("Panel");
        told.field("model", &model).field("roles", &roles).field("local", &local).finish_non_exhaustive()
    }
}
