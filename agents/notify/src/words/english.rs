//! English.

use trailwarden_core::alert::{Alert, Kind, StepState};
use trailwarden_core::level::Severity;

use super::{Label, Tongue, has_response, inert, parts, percent, short, tally};

pub(super) struct English;

impl Tongue for English {
    fn severity(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Informational => "INFO",
            Severity::Low => "LOW",
            Severity::Medium => "MEDIUM",
            Severity::High => "HIGH",
            Severity::Critical => "CRITICAL",
        }
    }

    fn subject(&self, alert: &Alert) -> String {
        let who = short(&alert.principal);
        let place = if alert.account.is_empty() { String::new() } else { format!(" in {}", inert(&alert.account)) };
        if alert.ended {
            return format!("over: {} ({who})", condition(alert.kind));
        }
        match alert.kind {
            Kind::Case => format!("{} activity by {who}{place}", verdict(&alert.verdict)),
            Kind::Anomaly => format!("anomaly: {} by {who}{place}", inert(&alert.what)),
            Kind::Block => format!("blocked: {who}{place}"),
            Kind::CallAdministrator => format!("your decision is needed: {who}{place}"),
            Kind::BackUpLogs => format!("logs kept as evidence: {who}{place}"),
            Kind::Respond => format!("response carried out: {who}{place}"),
            Kind::ChannelFailed => format!("alerts do not arrive by {who}"),
            Kind::Test => format!("test of {who}, nothing happened"),
            kind => format!("{}: {who}", condition(kind)),
        }
    }

    fn lead(&self, alert: &Alert) -> String {
        let (who, Alert { seen, limit, .. }) = (inert(&alert.principal), alert);
        if alert.ended {
            return format!("This is over: {} at {who}.", condition(alert.kind));
        }
        match alert.kind {
            Kind::Lag => format!("{seen} messages wait at {who}; more than {limit} are too many. Verdicts come late."),
            Kind::DeadLetters => format!(
                "Records could not be worked on and were set aside, {seen} in all. See `trailwarden doctor --dead-letters`."
            ),
            Kind::NotReady => format!("{who} has not been able to work for {}.", self.duration(seconds(*seen))),
            Kind::EventDelay => format!("Events reach {who} {} after they happen.", self.duration(seconds(*seen))),
            Kind::Cpu => format!("{who} has used {seen} % of its processors for five minutes; the limit is {limit} %."),
            Kind::Memory => format!("{who} holds {seen} % of its memory; the limit is {limit} %."),
            Kind::Anomaly => format!("{who} called {}, which is unlike what is known of it.", inert(&alert.what)),
            Kind::Case => match alert.score {
                Some(score) => format!("Probability of an attack by {who}: {}.", percent(score)),
                None => format!("A case about {who} was judged."),
            },
            Kind::Block => format!("{who} was blocked: {}.", inert(&alert.what)),
            Kind::CallAdministrator => format!("A response to {who} waits for a person: {}.", inert(&alert.what)),
            Kind::BackUpLogs => format!("The records about {who} were copied to the evidence store."),
            Kind::Respond => format!("A response to {who} was carried out: {}.", inert(&alert.what)),
            Kind::ChannelFailed => format!("The channel {who} does not deliver: {}", inert(&alert.what)),
            Kind::Test => "This is a test. If you read it, the channel works.".to_owned(),
        }
    }

    fn done(&self, alert: &Alert) -> String {
        if !has_response(alert.kind) {
            return String::new();
        }
        let ([proposed, waiting, done, failed, undone], approvers) = tally(alert);
        let mut parts = Vec::new();
        let mut part = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{} {what}", steps(count)));
            }
        };
        part(done, "done");
        part(failed, "FAILED");
        part(undone, "undone");
        part(proposed, "proposed, nothing was changed");
        if waiting > 0 {
            let people = if approvers == 1 { "one approver".to_owned() } else { format!("{approvers} approvers") };
            parts.push(format!("{} waiting for {people}", steps(waiting)));
        }
        match parts.is_empty() {
            true => "Nothing was done, and no step is proposed.".to_owned(),
            false => format!("Response: {}.", parts.join("; ")),
        }
    }

    fn state(&self, state: StepState) -> String {
        match state {
            StepState::Proposed => "proposed".to_owned(),
            StepState::Waits { approvers: 1 } => "waits for one approver".to_owned(),
            StepState::Waits { approvers } => format!("waits for {approvers} approvers"),
            StepState::Done => "done".to_owned(),
            StepState::Failed => "FAILED".to_owned(),
            StepState::Undone => "undone".to_owned(),
        }
    }

    fn steps_more(&self, more: u32) -> String {
        format!("and {more} more")
    }

    fn held(&self, others: u64, since: &str) -> String {
        match others {
            1 => format!("One more of this kind was held back since {since}."),
            others => format!("{others} more of this kind were held back since {since}."),
        }
    }

    fn label(&self, label: Label) -> &'static str {
        match label {
            Label::Severity => "Severity",
            Label::Who => "Who",
            Label::Account => "Account",
            Label::Case => "Case",
            Label::Score => "Probability",
            Label::When => "When",
            Label::Delivery => "AWS delivered after",
            Label::Ours => "You were told after",
            Label::Look => "Look at the case",
        }
    }

    fn duration(&self, ms: i64) -> String {
        match parts(ms) {
            (0, 0, 0, 0) if ms > 0 => format!("{ms} ms"),
            (0, 0, 0, seconds) => format!("{seconds} s"),
            (0, 0, minutes, seconds) => format!("{minutes} min {seconds} s"),
            (0, hours, minutes, _) => format!("{hours} h {minutes} min"),
            (days, hours, ..) => format!("{days} d {hours} h"),
        }
    }
}

fn steps(count: usize) -> String {
    if count == 1 { "1 step".to_owned() } else { format!("{count} steps") }
}

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
}

/// An own word of the product, which no attacker chose; whatever else stands there is shown.
fn verdict(verdict: &str) -> String {
    match verdict {
        "" => "suspicious".to_owned(),
        "insufficient" => "unclear".to_owned(),
        verdict => inert(verdict),
    }
}

const fn condition(kind: Kind) -> &'static str {
    match kind {
        Kind::Lag => "messages pile up",
        Kind::DeadLetters => "records set aside",
        Kind::NotReady => "not able to work",
        Kind::EventDelay => "events come late",
        Kind::Cpu => "processors busy",
        Kind::Memory => "memory short",
        Kind::Anomaly => "anomaly",
        Kind::Case => "case",
        Kind::Block => "block",
        Kind::CallAdministrator => "decision needed",
        Kind::BackUpLogs => "logs kept",
        Kind::Respond => "response",
        Kind::ChannelFailed => "a channel that did not deliver",
        Kind::Test => "test",
    }
}
