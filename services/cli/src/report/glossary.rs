//! The last section: what the report's words and figures mean.

use maud::{Markup, html};

use crate::findings::Findings;
use crate::words::Words;

pub(super) fn section(findings: &Findings, w: &Words) -> Markup {
    let limits =
        (w.limits_told)(findings.rules.len() as u64, findings.feature_schema_version, findings.model.is_some());
    html! {
        section #reading {
            h2 { (w.how_to_read) }
            dl.glossary {
                @for (term, meaning) in w.glossary { dt { (term) } dd { (meaning) } }
                dt { (w.limits) }
                dd { (limits) }
            }
        }
    }
}
