//! The panel: roles of the council that a model answers for.
//!
//! A model sees the frozen evidence and, later, claims as types and handles; it answers in a closed vocabulary, and core
//! checks what it said. [`deliberate`] asks within bounds of calls, time and tokens, and lets the deterministic brain
//! stand in wherever no answer comes in time and in form. Whatever was said is kept in a [`Transcript`], and [`replay`]
//! reaches the same judgement from it without any model.

mod account;
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
pub(crate) mod over_http;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use trailwarden_core::level::Severity;
use trailwarden_core::negotiation::Role;
use trailwarden_models::{Advisor, Model, Price};

pub use account::{Account, Grant};
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
    /// `None`: what is asked is not reckoned in money.
    price: Option<Price>,
    /// `None`: nothing but the model itself bounds a day.
    account: Option<Arc<Account>>,
    /// Whether the day leaves less than a case may cost.
    is_short: bool,
    from: Severity,
    limits: Limits,
}

impl Panel {
    /// `model` bounds its own rates and budgets; `limits` are those of one case. Cases that the deterministic brains find less
    /// severe than `from` are not worth a model.
    #[must_use]
    pub fn new(model: Arc<dyn Model>, roles: &BTreeSet<Role>, from: Severity, limits: Limits) -> Self {
        let prompts = roles.iter().map(|role| (*role, Prompt::of(*role))).collect();
        Self { model: Some(model), prompts: Arc::new(prompts), ..Self::empty(from, limits) }
    }

    /// Without any model but a local one, which answers for the judge.
    #[must_use]
    pub fn of_local(advisor: Arc<dyn Advisor>, from: Severity, limits: Limits) -> Self {
        Self::empty(from, limits).with_local(advisor)
    }

    fn empty(from: Severity, limits: Limits) -> Self {
        let limits = limits.at_most(Limits::default());
        let prompts = Arc::default();
        Self { model: None, prompts, local: None, price: None, account: None, is_short: false, from, limits }
    }

    /// With a local model that stands in for the judge where no other answers.
    #[must_use]
    pub fn with_local(self, advisor: Arc<dyn Advisor>) -> Self {
        Self { local: Some(Local { advisor, prompt_digest: advice::prompt_digest() }), ..self }
    }

    /// With what the model's tokens cost.
    #[must_use]
    pub fn priced(self, price: Price) -> Self {
        Self { price: Some(price), ..self }
    }

    /// With an account that bounds what a day may cost.
    #[must_use]
    pub fn with_account(self, account: Account) -> Self {
        Self { account: Some(Arc::new(account)), ..self }
    }

    /// The account that a case's tokens are to be taken from before it comes before the panel, and how many.
    pub(crate) fn account(&self) -> Option<(&Account, u64)> {
        self.model.as_ref()?;
        self.account.as_deref().map(|account| (account, self.limits.tokens_max))
    }

    /// The panel for a case that is granted so many tokens.
    pub(crate) fn granted(&self, tokens: u64) -> Self {
        let limits = Limits { tokens_max: tokens.min(self.limits.tokens_max), ..self.limits };
        Self { limits, is_short: tokens < self.limits.tokens_max, ..self.clone() }
    }

    /// The models that are asked, for a person.
    #[must_use]
    pub fn names(&self) -> String {
        let distant = self.model.as_ref().map(|model| model.name());
        let local = self.local.as_ref().map(|local| local.advisor.name());
        distant.into_iter().chain(local).collect::<Vec<_>>().join(", ")
    }

    /// SHA-256 of what a role is told, hex; `None` for a role that no model answers for.
    #[must_use]
    pub fn prompt_digest(&self, role: Role) -> Option<&str> {
        self.prompts.get(&role).map(|prompt| prompt.digest.as_str())
    }

    /// SHA-256 over what each role is told, and the local model, whoever is asked: it names the prompts of this build, hex.
    #[must_use]
    pub fn prompts_digest() -> String {
        let told = ROLES.map(|role| Prompt::of(role).digest);
        let all: Vec<String> = told.into_iter().chain([advice::prompt_digest()]).collect();
        question::digest(&all.join("\n"))
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
