//! What a scan says on a terminal: the cases on stdout, the summary on stderr. Text from the log never reaches
//! the terminal's own language: what controls or hides is spelled out before it is written.

use std::fmt::Write;

use trailwarden_core::level::{Severity, Verdict};
use trailwarden_core::negotiation::Reason;
use trailwarden_core::negotiation::said::Said;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::figures::{self, count, counted};
use crate::findings::{Finding, Findings, Input, Tally};
use crate::line::{speaks_for, undercut};
use crate::untrusted;
use crate::words::Words;

/// Cases named in the table; the rest is counted.
const TABLE_CASES_MAX: usize = 50;
/// Cases explained below the table.
const EXPLAINED_MAX: usize = 3;
const REASONS_MAX: usize = 3;
const STEPS_MAX: usize = 3;
const COMMAND_BYTES_MAX: usize = 200;
const WIDTH_MIN: usize = 60;
const WIDTH_MAX: usize = 160;
/// Columns of the labels of a case.
const LABEL: usize = 11;
/// From here on a case fits on one line.
const WIDE: usize = 140;

/// Where the text will be shown; who calls decides, from the terminal and `NO_COLOR`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Screen {
    pub colour: bool,
    /// Columns.
    pub width: usize,
}

impl Screen {
    fn columns(&self) -> usize {
        self.width.clamp(WIDTH_MIN, WIDTH_MAX)
    }

    fn paint(&self, text: &str, style: &str) -> String {
        if self.colour && !text.is_empty() { format!("\x1b[{style}m{text}\x1b[0m") } else { text.to_owned() }
    }

    fn bold(&self, text: &str) -> String {
        self.paint(text, "1")
    }

    fn dim(&self, text: &str) -> String {
        self.paint(text, "2")
    }
}

/// The cases at medium or above as a table, the most urgent explained, and a count of the others.
pub fn cases(findings: &Findings, screen: Screen, words: &'static Words) -> String {
    let urgent = findings.by_urgency();
    let notable: Vec<&Finding> = urgent.iter().copied().filter(|finding| finding.is_notable()).collect();
    let mut lines = Lines { out: String::new(), screen, w: words };
    if notable.is_empty() {
        lines.nothing(findings);
    } else {
        lines.table(&notable);
        for finding in notable.iter().take(EXPLAINED_MAX) {
            lines.explanation(finding);
        }
    }
    lines.rest(&notable, &findings.tally);
    lines.out
}

/// For a demo: each planted attack, and whether a case found it.
pub fn planted(findings: &Findings, screen: Screen, words: &'static Words) -> String {
    let mut lines = Lines { out: String::new(), screen, w: words };
    let Some(planted) = &findings.planted else {
        return lines.out;
    };
    lines.line(&screen.bold(words.planted_head));
    for attack in planted {
        let found = match attack.case_ids.first() {
            Some(id) => screen.paint(&(words.found_as_case)(&untrusted::name(figures::short_id(id))), "32"),
            None => screen.paint(words.missed, "1;31"),
        };
        let share = (words.planted_share)(attack.events_found, attack.events);
        lines.line(&format!("  {}: {found}, {share}", untrusted::name(&attack.name)));
    }
    lines.out
}

/// What was read and what was not, for stderr. Only here does the time it took appear.
pub fn summary(input: &Input, elapsed_s: f64) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let per_s = if elapsed_s > 0.0 { (input.events + input.duplicates) as f64 / elapsed_s } else { 0.0 };
    let _ = writeln!(out, "read       {}, {}", counted(input.files, "file"), counted(input.events, "event"));
    if let (Some(first), Some(last)) = (input.first_event_time, input.last_event_time) {
        let _ = writeln!(out, "span       {}", figures::period(first, last));
    }
    let _ = writeln!(
        out,
        "from       {}, {}",
        counted(input.accounts.len() as u64, "account"),
        counted(input.principals, "principal")
    );
    let _ = writeln!(out, "duplicates {}", count(input.duplicates));
    let _ = writeln!(out, "rejected   {}", count(input.rejected.values().sum()));
    for (reason, records) in &input.rejected {
        let _ = writeln!(out, "           {} {}", count(*records), untrusted::name(reason));
    }
    for reject in &input.rejected_listed {
        let _ = writeln!(out, "           {}: {}", untrusted::name(&reject.place), untrusted::name(&reject.reason));
    }
    if input.future > 0 {
        let _ = writeln!(out, "future     {} beyond the clock: scored, but they move no window", count(input.future));
    }
    for (what, number) in &input.forgotten {
        let _ = writeln!(out, "left out   {} {what}", count(*number));
    }
    for (what, records) in &input.set_aside {
        let _ = writeln!(out, "set aside  {} {}", count(*records), untrusted::name(what));
    }
    let _ = writeln!(out, "speed      {} events/s, {elapsed_s:.2} s", count(per_s.round() as u64));
    let _ = writeln!(out, "memory     within {} and 64 bytes an event", mebibytes(input.memory_cap_bytes));
    out
}

/// A bound, so rounded up: `1,740 MiB`.
fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", count(bytes.div_ceil(1 << 20)))
}

struct Lines {
    out: String,
    screen: Screen,
    w: &'static Words,
}

impl Lines {
    fn line(&mut self, text: &str) {
        self.out.push_str(text.trim_end());
        self.out.push('\n');
    }

    /// Text broken between words, its first line after `head`, the others under it.
    fn wrapped(&mut self, head: &str, head_columns: usize, text: &str) {
        let indent = " ".repeat(head_columns);
        let lines = wrap(text, self.screen.columns().saturating_sub(head_columns));
        for (at, line) in lines.iter().enumerate() {
            let head = if at == 0 { head } else { &indent };
            self.line(&format!("{head}{line}"));
        }
    }

    fn nothing(&mut self, findings: &Findings) {
        if findings.input.events == 0 {
            self.line(&self.screen.bold(self.w.none_read));
            return;
        }
        self.line(&self.screen.bold(self.w.none_notable));
        let looked = (self.w.looked_at)(findings.input.events, findings.rules.len() as u64);
        self.wrapped("", 0, &looked);
    }

    fn table(&mut self, notable: &[&Finding]) {
        let (wide, w) = (self.screen.columns() >= WIDE, self.w);
        let mut head = format!(
            "{} {} {}  {}  {} {}",
            fit(w.head_severity, 9),
            fit(w.head_verdict, 10),
            fit(w.head_attack, 6),
            fit(w.head_when, 16),
            fit(w.head_who, 20),
            fit(w.head_account, 12)
        );
        if wide {
            head.push_str("  ");
            head.push_str(w.head_what);
        }
        self.line(&self.screen.dim(&head));
        for finding in notable.iter().take(TABLE_CASES_MAX) {
            self.row(finding, wide);
        }
    }

    fn row(&mut self, finding: &Finding, wide: bool) {
        let (case, judgement) = (&finding.case, &finding.judgement);
        let screen = self.screen;
        let when = figures::minute(case.first_event_time);
        let row = format!(
            "{} {} {}  {}  {} {}",
            screen.paint(&fit(self.w.language.severity(judgement.severity), 9), severity_style(judgement.severity)),
            screen.paint(&fit(self.w.language.verdict(judgement.verdict), 10), verdict_style(judgement.verdict)),
            format_args!("{:>6}", figures::probability(judgement.probability)),
            fit(when.trim_end_matches(" UTC"), 16),
            screen.bold(&fit(figures::short_principal(&case.principal), 20)),
            fit(&case.account, 12),
        );
        let what = untrusted::visible(&self.w.language.summary(&judgement.summary), 400);
        let columns = if wide { 82 } else { 4 };
        let indent = " ".repeat(columns);
        if wide {
            self.wrapped(&format!("{row}  "), columns, &what);
        } else {
            self.line(&row);
            self.wrapped(&indent, columns, &what);
        }
        if !judgement.techniques.is_empty() {
            self.line(&format!("{indent}{}", screen.dim(&techniques(finding))));
        }
    }

    fn explanation(&mut self, finding: &Finding) {
        let (case, judgement) = (&finding.case, &finding.judgement);
        let screen = self.screen;
        self.line("");
        self.line(&format!(
            "{} {}  {}",
            screen.bold(self.w.case),
            screen.bold(&untrusted::name(figures::short_id(&case.id))),
            screen.dim(&format!(
                "{}, {}",
                (self.w.period)(case.first_event_time, case.last_event_time),
                (self.w.signals)(finding.signals())
            ))
        ));
        let w = self.w;
        self.wrapped(&label(w.label_who), LABEL, &untrusted::name(&case.principal));
        let (set_aside, weighed): (Vec<&Reason>, Vec<&Reason>) =
            judgement.reasons.iter().partition(|reason| matches!(reason.said, Said::SetAside { .. }));
        let (fors, againsts): (Vec<&Reason>, Vec<&Reason>) =
            weighed.into_iter().partition(|reason| speaks_for(reason.weight, Some(&reason.said)));
        self.reasons(w.label_for, "31", &fors);
        self.reasons(w.label_against, "32", &againsts);
        for (at, reason) in set_aside.iter().take(REASONS_MAX).enumerate() {
            let head = if at == 0 { w.label_set_aside } else { "" };
            self.wrapped(&label(head), LABEL, &untrusted::visible(&undercut(&reason.said, w.language), 400));
        }
        self.rejected(finding);
        if let Some(found) = &judgement.counterfactual {
            self.wrapped(&label(w.label_changes), LABEL, &untrusted::visible(&w.language.counterfactual(found), 400));
        }
        self.steps(finding);
        let route = w.language.route(&judgement.route);
        self.wrapped(&label(w.label_route), LABEL, &untrusted::visible(&route, 400));
    }

    fn rejected(&mut self, finding: &Finding) {
        let w = self.w;
        for (at, claim) in finding.judgement.rejected.iter().take(REASONS_MAX).enumerate() {
            let head = if at == 0 { w.rejected_label } else { "" };
            let told = format!(
                "{}{}{}{}{}",
                w.language.role(claim.role),
                w.claimed.0,
                untrusted::name(&claim.predicate),
                w.claimed.1,
                untrusted::name(&w.language.finding(&claim.finding))
            );
            self.wrapped(&label(head), LABEL, &told);
        }
    }

    fn reasons(&mut self, head: &str, style: &str, reasons: &[&Reason]) {
        for (at, reason) in reasons.iter().take(REASONS_MAX).enumerate() {
            let label = label(if at == 0 { head } else { "" });
            let weight = (self.w.weight)(reason.weight);
            let blank = " ".repeat(5usize.saturating_sub(weight.width()));
            let weight = self.screen.paint(&format!("{blank}{weight}"), style);
            let text = self.w.language.reason(&reason.said);
            self.wrapped(&format!("{label}{weight}  "), 18, &untrusted::visible(&text, 400));
        }
        if reasons.len() > REASONS_MAX {
            self.line(&self.screen.dim(&format!(
                "{}{}",
                " ".repeat(18),
                (self.w.weaker)((reasons.len() - REASONS_MAX) as u64)
            )));
        }
    }

    fn steps(&mut self, finding: &Finding) {
        let actions = &finding.actions;
        for (at, action) in actions.iter().take(STEPS_MAX).enumerate() {
            let head = label(if at == 0 { self.w.label_propose } else { "" });
            let what = format!(
                "{} {} {} ({:?}, {})",
                action.name(),
                (self.w.resource_kind)(action.target.kind),
                untrusted::name(&action.target.id),
                action.tier,
                (self.w.mode)(action.mode)
            );
            self.wrapped(&head, LABEL, &what);
            for call in finding.steps.get(at).map_or(&[][..], |step| &step.calls) {
                let command = trailwarden_playbooks::cli_text(call);
                // Whole or not at all, and not broken into lines, so that it can be copied as it stands.
                let shown = if command.len() <= COMMAND_BYTES_MAX {
                    untrusted::visible(&command, COMMAND_BYTES_MAX)
                } else {
                    let api = untrusted::name(&format!("{}:{}", call.service, call.operation));
                    format!("{api}, {}", self.w.exact_call_elsewhere)
                };
                self.line(&self.screen.dim(&format!("             {shown}")));
            }
        }
        if actions.len() > STEPS_MAX {
            self.line(&self.screen.dim(&format!(
                "{}{}",
                " ".repeat(LABEL),
                (self.w.more_steps)((actions.len() - STEPS_MAX) as u64)
            )));
        }
    }

    fn rest(&mut self, notable: &[&Finding], tally: &Tally) {
        let listed = notable.len().min(TABLE_CASES_MAX) as u64;
        let unlisted = tally.notable.saturating_sub(listed);
        let lower = tally.total.saturating_sub(tally.notable);
        if unlisted == 0 && lower == 0 && tally.context_only == 0 {
            return;
        }
        self.line("");
        if unlisted > 0 {
            self.line(&(self.w.unlisted)(unlisted));
        }
        if lower > 0 {
            self.line(&self.screen.dim(&(self.w.below_medium)(lower)));
        }
        if tally.context_only > 0 {
            self.line(&self.screen.dim(&(self.w.routine)(tally.context_only)));
        }
    }
}

/// `T1562.008 T1098.003 +2`.
fn techniques(finding: &Finding) -> String {
    const SHOWN: usize = 3;
    let all = &finding.judgement.techniques;
    let mut text =
        all.iter().take(SHOWN).map(|technique| untrusted::visible(&technique.id, 12)).collect::<Vec<_>>().join(" ");
    if all.len() > SHOWN {
        let _ = write!(text, " +{}", all.len() - SHOWN);
    }
    text
}

/// A label in front of a case's line, [`LABEL`] columns wide.
fn label(text: &str) -> String {
    format!("  {}", fit(text, LABEL - 2))
}

fn severity_style(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "1;31",
        Severity::High => "31",
        Severity::Medium => "33",
        Severity::Low | Severity::Informational => "36",
    }
}

fn verdict_style(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Malicious => "1;31",
        Verdict::Suspicious => "33",
        Verdict::Insufficient => "36",
        Verdict::Benign => "32",
    }
}

/// Untrusted text in exactly `columns` columns.
pub(crate) fn fit(text: &str, columns: usize) -> String {
    let text = untrusted::visible(text, columns * 4);
    let too_wide = text.width() > columns;
    let room = if too_wide { columns - 1 } else { columns };
    let mut out = String::new();
    let mut used = 0;
    for character in text.chars() {
        let wide = character.width().unwrap_or(0);
        if used + wide > room {
            break;
        }
        out.push(character);
        used += wide;
    }
    if too_wide {
        out.push('…');
        used += 1;
    }
    out.extend(std::iter::repeat_n(' ', columns.saturating_sub(used)));
    out
}

/// Lines of at most `columns` columns, broken between words, and within a word only when it is longer than a line.
fn wrap(text: &str, columns: usize) -> Vec<String> {
    let columns = columns.max(8);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let wide = word.width();
        let gap = usize::from(used > 0);
        if used + gap + wide <= columns {
            push(&mut lines, if gap == 1 { " " } else { "" });
            push(&mut lines, word);
            used += gap + wide;
            continue;
        }
        if used > 0 {
            lines.push(String::new());
            used = 0;
        }
        for character in word.chars() {
            let wide = character.width().unwrap_or(0);
            if used + wide > columns {
                lines.push(String::new());
                used = 0;
            }
            push(&mut lines, character.encode_utf8(&mut [0; 4]));
            used += wide;
        }
    }
    lines
}

fn push(lines: &mut [String], text: &str) {
    if let Some(last) = lines.last_mut() {
        last.push_str(text);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_fits_its_columns() {
        for (text, columns, expect) in
            [("abc", 5, "abc  "), ("abcdef", 5, "abcd…"), ("日本語語", 5, "日本…"), ("a\x1b[2J", 12, "a\\u{1b}[2J  ")]
        {
            assert_eq!(fit(text, columns), expect);
            assert_eq!(fit(text, columns).width(), columns);
        }
        let wrapped = wrap(&format!("some words and one {} long", "x".repeat(50)), 20);
        assert!(wrapped.iter().all(|line| line.width() <= 20), "{wrapped:?}");
        assert_eq!(wrapped.concat().replace(' ', "").len(), "somewordsandonelong".len() + 50);
    }
}
