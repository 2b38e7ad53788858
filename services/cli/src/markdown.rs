//! Cases in Markdown, as a person pastes them into a ticket. A case is told from its line alone, so that a scan and a council
//! give the same.
//!
//! What a caller wrote is hostile here too: names stand in code spans, and sentences that quote names are escaped, so that
//! nothing becomes a link, an image, a mention, markup or another row. What hides is spelled out by [`crate::untrusted`].

use std::fmt::Write;

use trailwarden_core::language::Language;

use crate::figures::{self, probability};
use crate::findings::Findings;
use crate::line::{Ended, Exhibit, Line, Reason, Step, Undo};
use crate::techniques;
use crate::untrusted::{NAME_CHARS_MAX, visible};
use crate::words::Words;

/// Cases told in full.
pub const CASES_MAX: usize = 50;
/// Characters of a sentence, and of a command.
const SENTENCE_CHARS_MAX: usize = 1_000;
const COMMAND_CHARS_MAX: usize = 16 * 1024;
const REASONS_MAX: usize = 40;
const TECHNIQUES_MAX: usize = 32;
/// Numbers of evidence that one reason names.
const REFERENCES_MAX: usize = 8;

/// A scan's cases, most urgent first.
pub fn report(findings: &Findings, w: &Words) -> String {
    let urgent = findings.by_urgency();
    let mut out = format!("# {}\n\n", w.report_title);
    if urgent.is_empty() {
        let events = findings.input.events;
        let none = if events == 0 { w.nothing_to_judge.to_owned() } else { (w.no_cause)(events) };
        out.push_str(&format!("{none}\n\n{}\n", if events == 0 { w.says_nothing } else { w.no_proof }));
        return out;
    }
    let total = findings.tally.total;
    let shown = urgent.len().min(CASES_MAX) as u64;
    if total > shown {
        out.push_str(&format!("{}\n\n", (w.most_urgent)(shown, total, total - shown)));
    }
    for finding in urgent.into_iter().take(CASES_MAX) {
        out.push_str(&case(&Line::of(finding, &findings.rules, w.language), w));
        out.push('\n');
    }
    let footer = (w.footer)(&findings.version, findings.feature_schema_version, findings.model.as_deref());
    out.push_str(&format!("---\n\n{}\n", text(&footer)));
    out
}

/// One case.
pub fn case(line: &Line<'_>, w: &Words) -> String {
    let mut out = String::new();
    head(&mut out, line, w);
    let (fors, againsts): (Vec<_>, Vec<_>) = weighed(line).partition(|reason| reason.speaks_for());
    reasons(&mut out, w.for_an_attack, &fors, line, w);
    reasons(&mut out, w.against, &againsts, line, w);
    not_counted(&mut out, line, w);
    shown_techniques(&mut out, line, w);
    evidence(&mut out, line, w);
    plan(&mut out, line, w);
    out
}

fn head(out: &mut String, line: &Line<'_>, w: &Words) {
    let language = w.language;
    let (verdict, severity) = (line.verdict.map(|v| language.verdict(v)), line.severity.map(|s| language.severity(s)));
    let told = (w.verdict_told)(verdict.unwrap_or("?"), severity.unwrap_or("?"));
    let who = code(figures::short_principal(&line.principal));
    put(out, &format!("## {who}{}{}{}: {}\n", w.in_account.0, code(&line.account), w.in_account.1, text(&told)));
    if !line.summary.text.is_empty() {
        put(out, &format!("{}\n", text(&line.summary.text)));
    }
    let changes =
        line.counterfactual.as_ref().map_or_else(|| w.no_change.to_owned(), |found| found.text.clone().into());
    let rows = [
        (w.verdict, text(&told)),
        (w.probability, (w.attack_probability)(&probability(line.score))),
        (w.when, (w.period)(line.first_event_time, line.last_event_time)),
        (w.principal, code(&line.principal)),
        (w.credential_head, code(&line.session)),
        (w.route, text(&line.route.text)),
        (w.would_change_it, text(&changes)),
        (w.case, code(&line.case_id)),
    ];
    put(out, "| | |\n|---|---|");
    for (label, value) in rows.into_iter().filter(|(_, value)| !value.is_empty()) {
        row(out, &[label.to_owned(), value]);
    }
    out.push('\n');
}

/// Reasons but for those that were set aside.
fn weighed<'l>(line: &'l Line<'_>) -> impl Iterator<Item = &'l Reason<'l>> {
    use trailwarden_core::negotiation::said::Said;
    line.reasons.iter().filter(|reason| !matches!(reason.said, Some(Said::SetAside { .. })))
}

fn reasons(out: &mut String, heading: &str, reasons: &[&Reason<'_>], line: &Line<'_>, w: &Words) {
    if reasons.is_empty() {
        return;
    }
    put(out, &format!("### {heading}\n"));
    table(out, &[w.weight_head, w.reason, w.claimed_by, w.evidence]);
    for reason in reasons.iter().take(REASONS_MAX) {
        let role = reason.role.map_or(w.by_code, |role| w.language.role(role));
        row(out, &[(w.weight)(reason.weight), text(&reason.text), role.to_owned(), references(reason, line, w)]);
    }
    if reasons.len() > REASONS_MAX {
        put(out, &format!("\n{}", (w.weaker)((reasons.len() - REASONS_MAX) as u64)));
    }
    out.push('\n');
}

/// `E1 E4`, by the table of evidence; those that it does not show are counted.
fn references(reason: &Reason<'_>, line: &Line<'_>, w: &Words) -> String {
    let place = |id: &str| line.evidence.iter().position(|exhibit| exhibit.event_id == id);
    let mut places: Vec<usize> = reason.event_ids.iter().filter_map(|id| place(id)).collect();
    places.sort_unstable();
    places.dedup();
    places.truncate(REFERENCES_MAX);
    let mut told: Vec<String> = places.iter().map(|place| format!("E{}", place + 1)).collect();
    match reason.event_ids.len() - places.len() {
        0 => {}
        further => told.push((w.more)(further as u64)),
    }
    told.join(" ")
}

fn not_counted(out: &mut String, line: &Line<'_>, w: &Words) {
    if !line.set_aside.is_empty() {
        put(out, &format!("### {}\n", w.set_aside));
        for one in line.set_aside.iter().take(REASONS_MAX) {
            put(out, &format!("- {}", text(&one.text)));
        }
        out.push('\n');
    }
    if !line.rejected.is_empty() {
        put(out, &format!("### {}\n", w.rejected));
        for claim in line.rejected.iter().take(REASONS_MAX) {
            let (role, finding) = (w.language.role(claim.role), w.language.finding(&claim.finding));
            put(out, &format!("- {role}{}{}{}{}", w.claimed.0, code(&claim.claim), w.claimed.1, text(&finding)));
        }
        out.push('\n');
    }
}

fn shown_techniques(out: &mut String, line: &Line<'_>, w: &Words) {
    if line.techniques.is_empty() {
        return;
    }
    put(out, &format!("### {}\n", w.attack_techniques));
    for technique in line.techniques.iter().take(TECHNIQUES_MAX) {
        let name = techniques::name(&technique.id).map(|name| format!(" {}", text(name))).unwrap_or_default();
        put(out, &format!("- {}{name}", code(&technique.id)));
    }
    out.push('\n');
}

fn evidence(out: &mut String, line: &Line<'_>, w: &Words) {
    if line.evidence.is_empty() {
        return;
    }
    put(out, &format!("### {}\n", w.evidence));
    table(out, &[w.number, w.time, w.call, w.outcome, w.source, w.detections]);
    for (at, exhibit) in line.evidence.iter().enumerate() {
        let titles: Vec<String> = exhibit.rules.iter().map(|title| text(title)).collect();
        row(
            out,
            &[
                format!("E{}", at + 1),
                exhibit.event_time.to_string(),
                code(&exhibit.api),
                outcome(exhibit, w),
                code(&exhibit.source),
                titles.join("; "),
            ],
        );
    }
    match line.event_ids.len().saturating_sub(line.evidence.len()) {
        0 => {}
        further => put(out, &format!("\n{}", (w.further_events)(further as u64))),
    }
    out.push('\n');
}

fn outcome(exhibit: &Exhibit<'_>, w: &Words) -> String {
    let word = match exhibit.outcome {
        Ended::Succeeded => w.succeeded,
        Ended::Denied => w.denied,
        Ended::Failed => w.failed,
    };
    exhibit.error.as_ref().map_or_else(|| word.to_owned(), |error| format!("{word} {}", code(error)))
}

fn plan(out: &mut String, line: &Line<'_>, w: &Words) {
    put(out, &format!("### {}\n", w.response));
    if line.plan.is_empty() {
        put(out, w.no_step);
        return;
    }
    put(out, &format!("{}\n", w.prepared));
    for (at, one) in line.plan.iter().enumerate() {
        step(out, at + 1, one, w);
    }
}

fn step(out: &mut String, number: usize, step: &Step<'_>, w: &Words) {
    let told = |words: &str| text(trailwarden_playbooks::told(words, w.language));
    let title = step.known().map_or_else(|| code(&step.playbook), |playbook| (w.playbook)(playbook));
    let kind = step.target_kind.map_or("", |kind| (w.resource_kind)(kind));
    let place = match step.account.is_empty() {
        true => String::new(),
        false => format!("{}{}{}", w.in_account.0, code(&step.account), w.in_account.1),
    };
    put(
        out,
        &format!(
            "{number}. **{title}**: {kind} {}{place} ({}; {})\n",
            code(&step.target),
            (w.tier)(step.tier),
            (w.mode)(step.mode)
        ),
    );
    if !step.affects.is_empty() {
        put(out, &format!("   {}: {}\n", w.affects, told(&step.affects)));
    }
    block(out, &step.commands);
    match &step.undo {
        Undo::Words(words) => put(out, &format!("   {}: {}\n", w.undo, told(words))),
        Undo::Commands(commands) if commands.is_empty() => {}
        Undo::Commands(commands) => {
            put(out, &format!("   {}:\n", w.undo));
            block(out, commands);
        }
    }
    for note in &step.notes {
        put(out, &format!("   {}: {}\n", w.note, told(note)));
    }
}

/// Command lines within a list's item, fenced by more backticks than any of them has in a row.
fn block(out: &mut String, commands: &[impl AsRef<str>]) {
    if commands.is_empty() {
        return;
    }
    let shown: Vec<String> = commands.iter().map(|one| visible(one.as_ref(), COMMAND_CHARS_MAX)).collect();
    let fence = "`".repeat(shown.iter().map(|one| ticks(one)).max().unwrap_or(0).max(2) + 1);
    put(out, &format!("   {fence}sh"));
    for command in shown {
        put(out, &format!("   {command}"));
    }
    put(out, &format!("   {fence}\n"));
}

fn put(out: &mut String, line: &str) {
    out.push_str(line);
    out.push('\n');
}

fn table(out: &mut String, heads: &[&str]) {
    row(out, &heads.iter().map(|head| (*head).to_owned()).collect::<Vec<_>>());
    put(out, &format!("|{}", "---|".repeat(heads.len())));
}

/// Cells are Markdown already; a bar in them, also in code, ends a cell unless it is escaped.
fn row(out: &mut String, cells: &[String]) {
    out.push('|');
    for cell in cells {
        let mut escaped = false;
        out.push(' ');
        for character in cell.chars() {
            if character == '|' && !escaped {
                out.push('\\');
            }
            escaped = character == '\\' && !escaped;
            out.push(character);
        }
        out.push_str(" |");
    }
    out.push('\n');
}

/// The longest run of backticks.
fn ticks(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// A name as it stands, in a code span; empty for an empty one.
fn code(name: &str) -> String {
    let shown = visible(name, NAME_CHARS_MAX);
    if shown.trim().is_empty() {
        return String::new();
    }
    let fence = "`".repeat(ticks(&shown) + 1);
    let is_bare = shown.starts_with(['`', ' ']) || shown.ends_with(['`', ' ']);
    let space = if is_bare { " " } else { "" };
    format!("{fence}{space}{shown}{space}{fence}")
}

/// A sentence that may quote names: every character that Markdown might read is escaped, and what renderers turn into links
/// by themselves (addresses, mentions) is broken by a code span.
fn text(sentence: &str) -> String {
    let shown = visible(sentence, SENTENCE_CHARS_MAX);
    let mut out = String::with_capacity(shown.len() + 16);
    let mut rest = shown.as_str();
    while let Some(character) = rest.chars().next() {
        if let Some(mark) = ["://", "@", "#"].into_iter().find(|mark| rest.starts_with(mark)) {
            // Writing to a String cannot fail.
            let _ = write!(out, "`{mark}`");
            rest = &rest[mark.len()..];
            continue;
        }
        let is_www = rest.get(..4).is_some_and(|start| start.eq_ignore_ascii_case("www."));
        if is_www {
            out.push_str(&rest[..3]);
            out.push_str("`.`");
            rest = &rest[4..];
            continue;
        }
        if "\\`*_[]<>|~&$".contains(character) || out.is_empty() && "-+=".contains(character) {
            out.push('\\');
        }
        out.push(character);
        rest = &rest[character.len_utf8()..];
    }
    out
}

/// A case in `language`, or as its line was written.
pub fn retold(line: Line<'_>, language: Option<Language>) -> String {
    let language = language.unwrap_or(line.language);
    case(&line.retold(language), Words::of(language))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_sentences_lose_their_force_and_nothing_else() {
        for (name, expected) in [
            ("ci-deploy", "`ci-deploy`"),
            ("a`b", "``a`b``"),
            ("``x", "``` ``x ```"),
            ("", ""),
            ("a\u{202e}b", "`a\\u{202e}b`"),
        ] {
            assert_eq!(code(name), expected, "{name:?}");
        }
        for (sentence, expected) in [
            ("A long-term key of IAM user x, without MFA.", "A long-term key of IAM user x, without MFA."),
            ("[a](http://b) <img>", "\\[a\\](http`://`b) \\<img\\>"),
            ("mail dana@example.com, see WWW.evil.example", "mail dana`@`example.com, see WWW`.`evil.example"),
            ("*b* _c_ `d` #1", "\\*b\\* \\_c\\_ \\`d\\` `#`1"),
        ] {
            assert_eq!(text(sentence), expected, "{sentence:?}");
        }
        let mut out = String::new();
        row(&mut out, &["a|b".into(), "c\\|d".into(), "`e|f`".into(), "\\\\|g".into()]);
        assert_eq!(out, "| a\\|b | c\\|d | `e\\|f` | \\\\\\|g |\n");
    }
}
