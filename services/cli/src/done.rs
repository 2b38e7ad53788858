//! What was done about a case, beside the case itself.

use std::time::Duration;

use anyhow::{Context, Result};
use trailwarden_bus::{Connection, JetStream};
use trailwarden_core::response::life::{Outcome, State};
use trailwarden_playbooks::executor::{Acted, History, history};

use crate::config::Config;
use crate::untrusted::{addresses, name, visible, visible_json};

/// How long the bus may take.
const DEADLINE: Duration = Duration::from_secs(10);
const LINE_CHARS_MAX: usize = 600;

/// What the bus holds of it; `None` where there is no bus of a deployment to ask.
pub(crate) async fn of_case(config: &Config, case: &str) -> Result<Option<History>> {
    let Some(url) = &config.bus.url else { return Ok(None) };
    let tenant = config.run.tenant.clone();
    let asked = async {
        let bus = JetStream::connect(Connection { url: url.clone(), tenant: tenant.clone() }).await?;
        crate::doctor::answers(&bus).await?;
        anyhow::Ok(history(&bus, &tenant, case).await?)
    };
    let found = tokio::time::timeout(DEADLINE, asked).await.context("the bus does not answer in time")?;
    Ok(Some(found.with_context(|| format!("the bus at {}", addresses(url)))?))
}

/// A case's line with what was done as its last member.
pub(crate) fn added(line: &str, history: &History) -> Result<String> {
    let Some(open) = line.trim_end().strip_suffix('}') else { return Ok(line.to_owned()) };
    let response = visible_json(&serde_json::to_string(history)?);
    Ok(format!("{open},\"response\":{response}}}\n"))
}

/// What was done as a section of a ticket.
pub(crate) fn section(history: &History) -> String {
    let items: String = told(history).iter().map(|line| format!("- `{}`\n", line.replace('`', "'"))).collect();
    format!("\n### What was done\n\n{items}")
}

/// What was done, a line each: orders, then how each action stands.
pub(crate) fn told(history: &History) -> Vec<String> {
    let ordered = history.orders.iter().map(|order| {
        let intent = format!("{:?}", order.intent).to_lowercase();
        format!("{} {intent}: order of {}: {}", order.stored_at, name(&order.approver), name(&order.reason))
    });
    let refused = history.audit.iter().filter(|entry| entry.what == "refused");
    let refused = refused.map(|entry| format!("{} refused: {}", entry.at, visible(&entry.detail, LINE_CHARS_MAX)));
    let lacking = history.lacking.iter().map(|what| format!("not told: {}", visible(what, LINE_CHARS_MAX)));
    ordered.chain(refused).chain(history.actions.iter().map(acted)).chain(lacking).collect()
}

fn acted(action: &Acted) -> String {
    let state = match (action.outcome, action.state) {
        (Some(Outcome::DoneVerified), _) => "done and verified",
        (Some(Outcome::Failed), _) => "failed",
        (Some(Outcome::Undone), _) => "undone",
        (None, State::Intent) => "not applied yet",
        (None, _) => "applied, not verified yet",
    };
    let until = action.lease_until.map_or_else(String::new, |until| format!("; undone by itself at {until}"));
    let last =
        action.evidence.last().map_or_else(String::new, |line| format!("; {}", visible(&line.text, LINE_CHARS_MAX)));
    format!(
        "{} {} on {} of account {}: {state}{until}{last}",
        action.begun_at,
        name(&action.playbook),
        name(&action.target),
        name(&action.account)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use trailwarden_core::response::approval::Intent;
    use trailwarden_core::time::Timestamp;
    use trailwarden_playbooks::executor::Ordered;

    use super::*;

    #[test]
    fn it_is_the_last_member_of_the_line_and_does_nothing_to_the_terminal() {
        let at = Timestamp::from_millis(0);
        let order = Ordered {
            intent: Intent::Approve,
            approver: "ann".to_owned(),
            reason: "\u{1b}[2Jseen".to_owned(),
            signed_at: at,
            stored_at: at,
            proposal: String::new(),
        };
        let action = Acted {
            key: String::new(),
            playbook: "lock_user".to_owned(),
            target: "alice`x".to_owned(),
            account: "111122223333".to_owned(),
            state: State::Verified,
            outcome: Some(Outcome::DoneVerified),
            approvers: vec![],
            begun_at: at,
            lease_until: Some(at),
            next: None,
            evidence: vec![],
        };
        let history = History { orders: vec![order], actions: vec![action], ..History::default() };
        let line = added("{\"case_id\":\"c1\"}\n", &history).expect("writes");
        let read: Value = serde_json::from_str(&line).expect("JSON");
        assert_eq!(read["case_id"], "c1");
        assert_eq!(read["response"]["orders"][0]["reason"], json!("\u{1b}[2Jseen"));
        assert!(!line.contains('\u{1b}'), "{line:?}");
        let told = told(&history);
        assert!(told[0].contains("approve: order of ann") && !told[0].contains('\u{1b}'), "{told:?}");
        assert!(told[1].contains("lock_user on alice`x of account 111122223333: done and verified; undone by itself"));
        assert_eq!(section(&history).matches('`').count(), 4);
        assert_eq!(added("no object", &history).expect("unchanged"), "no object");
    }
}
