//! What passes between a negotiation and whoever answers in it.

use super::brain::{Lean, Opinion, Pick, Standing};
use super::rebuttal::{Attack, Play};
use super::response::PlanOption;
use super::{Brain, Judgement, Role};

/// What the shell is to do next.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    Ask(Ask),
    Concluded(Box<Judgement>),
}

/// A question to a role.
#[derive(Clone, Debug, PartialEq)]
pub struct Ask {
    pub role: Role,
    /// Of all that the role is shown; its answer must carry it.
    pub input_digest: String,
    pub question: Question,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Question {
    /// Claims from the role's part of the vocabulary.
    Opinion,
    /// Which of these attacks to play against claims that stand. Asked of the sceptic alone, on conflict, and once.
    Rebut(Vec<Attack>),
    /// Which way these surviving claims lean.
    Lean(Vec<Standing>),
    /// Which of these steps to propose.
    Choose(Vec<PlanOption>),
    /// One sentence on these surviving claims.
    Report(Vec<Standing>),
}

/// A role's answer, as recorded.
#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub role: Role,
    pub brain: Brain,
    pub input_digest: String,
    pub reply: Reply,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    Opinion(Opinion),
    Rebuttal(Vec<Play>),
    Lean(Lean),
    Choice(Vec<Pick>),
    Sentence(String),
    /// Nobody answered in time or in form.
    Missing,
}
