//! An alert in words: what a person reads in ten seconds at night. Pure.

mod english;
mod korean;

use trailwarden_core::alert::{Alert, Kind, Receipt, StepState};
use trailwarden_core::level::Severity;
use trailwarden_core::time::Timestamp;
use trailwarden_runtime::sigv4::encoded;

use crate::config::Language;
use crate::throttle::Message;

/// Characters of a subject: what the lock screen of a telephone shows, and a little more.
const SUBJECT_CHARS_MAX: usize = 160;

/// An alert as it is said, before a channel gives it its form. No text of it holds a line break or anything that hides; a name
/// may still hold markup of the channel's, which the channel escapes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words {
    /// What it is, how bad, who, where.
    pub subject: String,
    /// One sentence: what happened.
    pub lead: String,
    /// What speaks for it, most weighty first.
    pub reasons: Vec<String>,
    /// What was done, and what waits for whom.
    pub done: String,
    pub steps: Vec<String>,
    /// How many it stands for; empty for one.
    pub held: String,
    pub facts: Vec<(String, String)>,
    /// Where to look: an address, or a command.
    pub link: Option<Link>,
}

/// Where a case is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Link {
    /// An address of the operator's, with what is said of it.
    Address { url: String, label: String },
    /// A command to type, with what is said of it.
    Command { command: String, label: String },
}

/// What a language says.
trait Tongue {
    fn severity(&self, severity: Severity) -> &'static str;
    fn subject(&self, alert: &Alert) -> String;
    fn lead(&self, alert: &Alert) -> String;
    fn done(&self, alert: &Alert) -> String;
    fn state(&self, state: StepState) -> String;
    fn steps_more(&self, more: u32) -> String;
    fn held(&self, others: u64, since: &str) -> String;
    fn label(&self, label: Label) -> &'static str;
    fn duration(&self, ms: i64) -> String;
}

/// What stands before a fact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Severity,
    Who,
    Account,
    Case,
    Score,
    When,
    Delivery,
    Ours,
    Look,
}

/// Says an alert. `now` is when it is said: the receipt ends there.
pub fn words(message: &Message, language: Language, case_url: Option<&str>, now: Timestamp) -> Words {
    let tongue: &dyn Tongue = match language {
        Language::English => &english::English,
        Language::Korean => &korean::Korean,
    };
    let alert = &message.alert;
    let mut steps: Vec<String> = alert
        .steps
        .iter()
        .map(|step| format!("{} {}: {}", step.playbook, inert(&step.target), tongue.state(step.state)))
        .collect();
    if alert.steps_more > 0 {
        steps.push(tongue.steps_more(alert.steps_more));
    }
    let others = message.count.saturating_sub(1);
    Words {
        subject: format!("[{}] {}", tongue.severity(alert.severity), tongue.subject(alert))
            .chars()
            .take(SUBJECT_CHARS_MAX)
            .collect(),
        lead: tongue.lead(alert),
        reasons: alert.reasons.iter().map(|reason| inert(reason)).collect(),
        done: tongue.done(alert),
        steps,
        held: if others > 0 { tongue.held(others, &minute(message.since)) } else { String::new() },
        facts: facts(tongue, message, now),
        link: alert.case.as_ref().map(|case| link(tongue, case, case_url)),
    }
}

impl Words {
    /// As plain text, line by line.
    pub fn lines(&self) -> Vec<String> {
        let mut lines = vec![self.lead.clone()];
        lines.extend(self.reasons.iter().map(|reason| format!("- {reason}")));
        if !self.done.is_empty() {
            lines.extend([String::new(), self.done.clone()]);
        }
        lines.extend(self.steps.iter().map(|step| format!("- {step}")));
        if !self.held.is_empty() {
            lines.extend([String::new(), self.held.clone()]);
        }
        lines.push(String::new());
        match &self.link {
            Some(Link::Address { url, label }) => lines.push(format!("{label}: {url}")),
            Some(Link::Command { command, label }) => lines.push(format!("{label}: {command}")),
            None => {}
        }
        lines.extend(self.facts.iter().map(|(label, value)| format!("{label}: {value}")));
        lines
    }
}

fn facts(tongue: &dyn Tongue, message: &Message, now: Timestamp) -> Vec<(String, String)> {
    let alert = &message.alert;
    let mut facts = Vec::new();
    let mut fact = |label: Label, value: String| facts.push((tongue.label(label).to_owned(), value));
    fact(Label::Severity, tongue.severity(alert.severity).to_owned());
    fact(Label::Who, inert(&alert.principal));
    if !alert.account.is_empty() {
        fact(Label::Account, inert(&alert.account));
    }
    if let Some(case) = &alert.case {
        fact(Label::Case, inert(case));
    }
    if let Some(score) = alert.score {
        fact(Label::Score, percent(score));
    }
    let Receipt { event, delivered, scored, judged, acted } = alert.receipt;
    fact(Label::When, second(event.unwrap_or(alert.at)));
    // What lies before the delivery is AWS' share. Where that time is not known, the two cannot be told apart, and the whole
    // is said as ours.
    if let Some((event, delivered)) = event.zip(delivered) {
        fact(Label::Delivery, tongue.duration(delivered.since_ms(event)));
    }
    if let Some(from) = delivered.or(event) {
        let marks = [scored, judged, acted, Some(now)].into_iter().flatten();
        let spans: Vec<String> = marks
            .scan(from, |last, mark| {
                let span = tongue.duration(mark.since_ms(*last));
                *last = mark;
                Some(span)
            })
            .collect();
        let whole = tongue.duration(now.since_ms(from));
        fact(Label::Ours, if spans.len() > 1 { format!("{whole} ({})", spans.join(" + ")) } else { whole });
    }
    facts
}

fn link(tongue: &dyn Tongue, case: &str, case_url: Option<&str>) -> Link {
    let label = tongue.label(Label::Look).to_owned();
    match case_url {
        Some(url) => Link::Address { url: url.replace("{id}", &encoded(case, false)), label },
        None => {
            let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
            // A command is copied into a shell, so nothing but an id may stand in it.
            let case: String = case.chars().filter(|c| plain(*c)).collect();
            Link::Command { command: format!("trailwarden case get {case}"), label }
        }
    }
}

/// A text that may be an attacker's, with no address in it that a reader's program would make a link of: mail and chat programs
/// take bare names of hosts for addresses too. Which last words they know nobody can keep up with, so each that could be one is
/// taken for one.
fn inert(text: &str) -> String {
    let text = text.replace("://", "[:]//").replace("www.", "www[.]");
    let mut out = String::with_capacity(text.len());
    let mut before = None;
    for (at, letter) in text.char_indices() {
        let is_host = letter == '.' && before.is_some_and(char::is_alphanumeric) && ends_a_host(&text[at + 1..]);
        out.push_str(if is_host { "[.]" } else { "" });
        if !is_host {
            out.push(letter);
        }
        before = Some(letter);
    }
    out
}

/// Whether what follows a dot begins with a word that a host's name may end with: two letters or more, not digits alone.
fn ends_a_host(text: &str) -> bool {
    let mut letters = text.chars().take_while(|letter| letter.is_alphanumeric() || *letter == '-');
    letters.next().is_some_and(char::is_alphabetic) && letters.next().is_some()
}

/// What a name ends with: the user's or the role's own name.
fn short(principal: &str) -> String {
    inert(principal.rsplit(['/', ':']).find(|part| !part.is_empty()).unwrap_or(principal))
}

fn percent(score: f64) -> String {
    // Never 100: nothing is certain.
    match score * 100.0 {
        percent if percent >= 99.5 => "> 99 %".to_owned(),
        percent if percent < 0.5 => "< 1 %".to_owned(),
        percent => format!("{percent:.0} %"),
    }
}

/// `2026-03-22 12:06:21 UTC`.
fn second(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(..19).map_or(text.clone(), |second| format!("{} UTC", second.replace('T', " ")))
}

/// `12:06 UTC`.
fn minute(time: Timestamp) -> String {
    let text = time.to_string();
    text.get(11..16).map_or(text.clone(), |minute| format!("{minute} UTC"))
}

/// Whole parts of a time: days, hours, minutes, seconds; negative ones count as none.
fn parts(ms: i64) -> (i64, i64, i64, i64) {
    let seconds = ms.max(0) / 1_000;
    (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60)
}

/// Steps by how far they have come: proposed, waiting, done, failed, undone; and the most people that one waits for.
fn tally(alert: &Alert) -> ([usize; 5], u8) {
    let (mut tally, mut approvers) = ([0; 5], 0);
    for step in &alert.steps {
        let place = match step.state {
            StepState::Proposed => 0,
            StepState::Waits { approvers: people } => {
                approvers = approvers.max(people);
                1
            }
            StepState::Done => 2,
            StepState::Failed => 3,
            StepState::Undone => 4,
        };
        tally[place] += 1;
    }
    tally[0] += usize::try_from(alert.steps_more).unwrap_or(usize::MAX);
    (tally, approvers)
}

/// Whether a kind has a response to speak of.
const fn has_response(kind: Kind) -> bool {
    matches!(kind, Kind::Case | Kind::Block | Kind::CallAdministrator | Kind::BackUpLogs | Kind::Respond)
}

#[cfg(test)]
mod tests;
