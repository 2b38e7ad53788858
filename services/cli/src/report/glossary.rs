//! The last section: what the report's words and figures mean.

use maud::{Markup, html};

use crate::findings::Findings;

pub(super) fn section(findings: &Findings) -> Markup {
    html! {
        section #reading {
            h2 { "How to read this" }
            dl.glossary {
                dt { "Verdict" }
                dd {
                    b { "malicious" } ": the evidence says attack. " b { "suspicious" } ": worth a look by a person. "
                    b { "undecided" } ": the evidence does not carry a decision. " b { "benign" } ": an innocent cause explains it."
                }
                dt { "Severity" }
                dd { "How bad it is if it is what it looks like, from informational to critical. Some acts, such as stopping a trail, have a floor that nothing lowers." }
                dt { "Weight" }
                dd { "Log-odds: +0.7 doubles the odds that it is an attack, +2.3 makes them ten times, a minus sign divides alike." }
                dt { "Evidence numbers" }
                dd { code { "E1" } ", " code { "E2" } " … count the signals of one case in time. Event ids are CloudTrail’s own where a record has one, so they can be looked up." }
                dt { "Spelled-out characters" }
                dd {
                    "Names in a log may be written by an attacker. Characters that hide, reorder or control text are shown as "
                    span.hidden { "\\u{202e}" } " instead of taking effect."
                }
                dt { "Plan" }
                dd { "A proposal. Nothing was changed in any account: the mode " b { "dry run" } " means that the calls were only written down." }
                dt { "Limits" }
                dd {
                    "Judged by " (crate::figures::counted(findings.rules.len() as u64, "rule")) " and the features of schema "
                    (findings.feature_schema_version) @if findings.model.is_some() { ", by a model trained on generated logs," }
                    " on the logs given, and on nothing else. The model says nothing of an account before it has a week of history."
                }
            }
        }
    }
}
