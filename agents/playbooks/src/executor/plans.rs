//! What the council planned for a case, as it logged it: the word of nobody who sends an order.

use std::sync::Arc;

use serde::Deserialize;
use trailwarden_bus::{Bus, Error as BusError, Subject};
use trailwarden_core::plan::own::OwnPlaybook;
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::{Resource, ResourceKind};
use trailwarden_proto::v1::CaseTransition;
use trailwarden_proto::wire;

/// Entries of a log that are read at once, and at most.
const PAGE: usize = 64;
const ENTRIES_MAX: usize = 512;
/// Steps that are kept of all of a case's plans.
const STEPS_MAX: usize = 256;

/// As much of a case's line as tells its plan.
#[derive(Deserialize)]
struct Line {
    #[serde(default)]
    plan: Vec<Planned>,
}

#[derive(Deserialize)]
struct Planned {
    playbook: String,
    target: String,
    #[serde(default)]
    target_kind: Option<ResourceKind>,
    #[serde(default)]
    account: String,
    #[serde(default)]
    region: String,
    #[serde(default)]
    owner: Option<String>,
}

impl Planned {
    /// `own` are the operator's playbooks; a name that neither they nor the menu know is no step.
    fn action(self, own: &[Arc<OwnPlaybook>]) -> Option<Action> {
        let kind = self.target_kind?;
        let is_it = |playbook: &&Playbook| playbook.as_str() == self.playbook && playbook.target_kind() == kind;
        let of_menu = Playbook::ALL.iter().find(is_it);
        let of_own = own.iter().find(|own| own.name == self.playbook && own.answers.target == kind);
        let target = Resource { kind, account: self.account, region: self.region, id: self.target, created: false };
        let action = match (of_menu, of_own) {
            (Some(playbook), _) => Action::proposed(*playbook, target),
            (None, own) => Action::of_own(Arc::clone(own?), target),
        };
        Some(Action { owner: self.owner, ..action })
    }
}

/// The steps that the council planned for a case in any of its judgements, and those of `own` that it offered with them.
///
/// # Errors
/// [`BusError`]; an entry that cannot be read plans nothing.
pub(super) async fn planned(
    bus: &dyn Bus,
    tenant: &str,
    case: &str,
    own: &[Arc<OwnPlaybook>],
) -> Result<Vec<Action>, BusError> {
    let subject = Subject::case(tenant, case);
    let (mut planned, mut after, mut looked) = (Vec::new(), 0, 0);
    while looked < ENTRIES_MAX && planned.len() < STEPS_MAX {
        let page = bus.read(&subject, after, PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.sequence;
        looked += page.len();
        for stored in &page {
            let Ok(CaseTransition { case: Some(known), .. }) = wire::unpack::<CaseTransition>(&stored.payload) else {
                continue;
            };
            let plan = serde_json::from_str::<Line>(&known.line_json).map(|line| line.plan).unwrap_or_default();
            for action in plan.into_iter().filter_map(|planned| planned.action(own)) {
                if !planned.contains(&action) {
                    planned.push(action);
                }
            }
        }
    }
    planned.truncate(STEPS_MAX);
    Ok(planned)
}
