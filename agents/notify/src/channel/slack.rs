//! Slack, by an incoming webhook. Texts of others are plain text there, and the three characters that begin its markup are
//! written as it asks for.

use async_trait::async_trait;
use serde_json::{Value, json};
use trailwarden_runtime::transport::Transport;

use super::{Channel, Deps, Error, Service, Told};
use crate::config::{self, ChannelKind, ChannelSpec, secret};
use crate::words::{Link, Words};

/// Characters that Slack takes in a heading, a section and a field.
const HEADER_CHARS_MAX: usize = 150;
const SECTION_CHARS_MAX: usize = 2_900;
/// Fields of a section.
const FIELDS_MAX: usize = 10;

pub(super) struct Slack {
    name: String,
    service: Service,
}

impl Slack {
    pub(super) fn new(spec: &ChannelSpec, transport: Transport, deps: &Deps<'_>) -> Result<Self, config::Error> {
        let url = secret(spec, spec.url_variable.as_deref().unwrap_or_default(), deps.environment)?;
        let service = Service::new(spec, transport, url.reveal(), vec![url.clone()])?;
        Ok(Self { name: spec.name.clone(), service })
    }
}

#[async_trait]
impl Channel for Slack {
    fn name(&self) -> &str {
        &self.name
    }

    fn kind(&self) -> ChannelKind {
        ChannelKind::Slack
    }

    async fn send(&self, told: &Told<'_>) -> Result<(), Error> {
        self.service.post_json(&[], &body(told.words)).await.map(drop)
    }
}

fn body(words: &Words) -> Value {
    let plain =
        |text: &str, chars_max| json!({ "type": "plain_text", "text": escaped(text, chars_max), "emoji": false });
    let mut lines = vec![words.lead.clone()];
    lines.extend(words.reasons.iter().map(|reason| format!("• {reason}")));
    lines.extend([&words.done, &words.held].into_iter().filter(|text| !text.is_empty()).cloned());
    lines.extend(words.steps.iter().map(|step| format!("• {step}")));
    let mut blocks = vec![
        json!({ "type": "header", "text": plain(&words.subject, HEADER_CHARS_MAX) }),
        json!({ "type": "section", "text": plain(&lines.join("\n"), SECTION_CHARS_MAX) }),
    ];
    let facts = words.facts.iter().take(FIELDS_MAX);
    let fields: Vec<Value> = facts.map(|(label, value)| plain(&format!("{label}: {value}"), 500)).collect();
    blocks.push(json!({ "type": "section", "fields": fields }));
    match &words.link {
        // Of the operator's address and an encoded id: nothing in it ends the markup.
        Some(Link::Address { url, label }) => {
            let text = format!("<{}|{label}>", escaped(url, 1_000));
            blocks.push(json!({ "type": "section", "text": { "type": "mrkdwn", "text": text, "verbatim": true } }));
        }
        Some(Link::Command { command, label }) => {
            blocks.push(json!({ "type": "section", "text": plain(&format!("{label}: {command}"), 500) }));
        }
        None => {}
    }
    json!({ "text": escaped(&words.subject, HEADER_CHARS_MAX), "mrkdwn": false, "blocks": blocks, "unfurl_links": false, "unfurl_media": false })
}

/// At most so many characters as they are sent: Slack refuses a longer text whole, and a name may be of such signs alone.
fn escaped(text: &str, chars_max: usize) -> String {
    let (mut out, mut room) = (String::with_capacity(text.len()), chars_max);
    for c in text.chars() {
        let mut own = [0; 4];
        let written: &str = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            c => c.encode_utf8(&mut own),
        };
        let Some(left) = room.checked_sub(written.chars().count()) else { break };
        room = left;
        out.push_str(written);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_fit_as_they_are_sent_and_no_sign_is_cut() {
        assert_eq!(escaped("a<b>&\u{ac00}", 99), "a&lt;b&gt;&amp;\u{ac00}");
        assert_eq!(escaped("\u{ac00}&&&", 11), "\u{ac00}&amp;&amp;");
        assert_eq!(escaped(&"&".repeat(500), HEADER_CHARS_MAX).chars().count(), HEADER_CHARS_MAX);
    }
}
