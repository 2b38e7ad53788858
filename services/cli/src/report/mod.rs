//! The HTML report: one file without scripts or outside resources, for a manager to get in a minute and an
//! engineer to check. Equal findings give equal bytes. Every text of the log is hostile until shown otherwise:
//! markup is escaped by maud, what hides or reorders is spelled out by [`crate::untrusted`].

mod case;
mod cases;
mod evidence;
mod glossary;
mod overview;
mod plan;
mod timeline;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use trailwarden_core::level::{Severity, Verdict};

use crate::figures;
use crate::findings::{Finding, Findings};
use crate::untrusted::{self, Piece};
use crate::words::Words;

/// Cases shown in full; the table names as many.
pub const CASES_MAX: usize = 200;
/// Evidence rows shown of one case.
pub const EVIDENCE_ROWS_MAX: usize = 200;

/// Characters of the last line.
const FOOTER_CHARS_MAX: usize = 320;

const STYLE: &str = include_str!("style.css");

/// The report as one HTML document.
pub fn html(findings: &Findings, w: &Words) -> String {
    let urgent = findings.by_urgency();
    let shown = &urgent[..urgent.len().min(CASES_MAX)];
    let mut room = evidence::Room::default();
    html! {
        (DOCTYPE)
        html lang=(w.language) {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Nothing may load or run, even if an escape failed.
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="referrer" content="no-referrer";
                meta name="color-scheme" content="light dark";
                title { (w.report_title) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a.skip href="#cases" { (w.skip) }
                (overview::masthead(findings, &urgent, w))
                main.wrap {
                    (overview::section(findings, w))
                    (overview::planted(findings, shown, w))
                    (timeline::section(findings, shown, w))
                    (cases::section(findings, shown, w))
                    @for (at, finding) in shown.iter().enumerate() {
                        (case::article(findings, finding, at + 1, &mut room, w))
                    }
                    (glossary::section(findings, w))
                }
                footer.wrap {
                    @let footer = (w.footer)(&findings.version, findings.feature_schema_version, findings.model.as_deref());
                    p { (text(&footer, FOOTER_CHARS_MAX)) }
                }
            }
        }
    }
    .into_string()
}

/// Untrusted text on one line.
fn text(text: &str, chars_max: usize) -> Markup {
    html! {
        @for piece in untrusted::pieces(text, chars_max) { (shown(piece)) }
    }
}

fn shown(piece: Piece<'_>) -> Markup {
    html! {
        @match piece {
            Piece::Plain(plain) => (plain),
            Piece::Hidden(character) => span.hidden { (format!("\\u{{{:x}}}", u32::from(character))) },
            Piece::Cut(more) => span.cut { "… (+" (figures::count(more as u64)) ")" },
        }
    }
}

/// A sentence that may quote names from the log.
fn sentence(sentence: &str) -> Markup {
    html! { bdi { (text(sentence, 1_000)) } }
}

/// An identifier: monospace, isolated from the direction of the text around it, broken anywhere.
fn id(identifier: &str) -> Markup {
    html! { code { (text(identifier, untrusted::NAME_CHARS_MAX)) } }
}

/// Text of several lines, in a block that wraps.
fn block(content: &str, chars_max: usize) -> Markup {
    html! {
        pre {
            @for piece in untrusted::pieces(content, chars_max) {
                @match piece {
                    Piece::Hidden('\n') => "\n",
                    piece => (shown(piece)),
                }
            }
        }
    }
}

fn severity_chip(severity: Severity, w: &Words) -> Markup {
    html! { span class={ "chip sev-" (severity) } { (w.language.severity(severity)) } }
}

fn verdict_chip(verdict: Verdict, w: &Words) -> Markup {
    html! { span class={ "verdict ver-" (verdict) } { (w.language.verdict(verdict)) } }
}

/// `T1098.001 Additional Cloud Credentials`.
fn technique(technique: &str) -> Markup {
    html! {
        span.technique { (id(technique)) @if let Some(name) = crate::techniques::name(technique) { " " (name) } }
    }
}

/// What a person calls the case's principal.
fn principal(finding: &Finding) -> Markup {
    html! { bdi { (text(figures::short_principal(&finding.case.principal), 48)) } }
}
