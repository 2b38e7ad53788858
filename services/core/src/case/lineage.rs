//! Which credentials belong together: union-find over links, forgetting links that nothing renewed.

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::Signal;
use crate::activity::PrincipalKind;
use crate::hash::hash64_of;
use crate::link::Node;
use crate::time::{HOUR_MS, Timestamp};

/// How long a link holds after it was last seen: three of the longest role sessions (12 h), one issued by the other.
const LINK_LIFETIME_MS: i64 = 36 * HOUR_MS;
/// How long after a command to an instance its role's doings are joined with the commander's: an instance's
/// credentials are renewed every 6 h.
const COMMAND_LIFETIME_MS: i64 = 6 * HOUR_MS;
/// Links held at once. Beyond it those not renewed longest are forgotten early, and counted.
const LINKS_MAX: usize = 250_000;

/// A link that holds, as it is kept: its ends by their hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct HeldLink {
    parent: NodeKey,
    child: NodeKey,
    /// When it was last seen.
    latest: Timestamp,
}

/// A node by its hash; the same node has the same key in every run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct NodeKey(u64);

impl NodeKey {
    /// `None` for a node without a name, which links nothing.
    pub(super) fn of(node: &Node) -> Option<Self> {
        let (kind, name) = match node {
            Node::Session(name) => ("session", name),
            Node::Principal(name) => return (!name.is_empty()).then(|| Self::of_principal(name)),
            Node::Instance(name) => ("instance", name),
        };
        (!name.is_empty()).then(|| Self(hash64_of([kind, name])))
    }

    /// A user is known by account and name: calls that name a user do not carry its path.
    fn of_principal(arn: &str) -> Self {
        match (arn.split_once(":user/"), arn.rsplit_once('/')) {
            (Some((account, _)), Some((_, name))) => Self(hash64_of(["principal", account, name])),
            _ => Self(hash64_of(["principal", arn, ""])),
        }
    }

    /// Where a signal belongs. Without a session that is the user, or as much of the caller as tells people apart;
    /// a caller that nobody named belongs to nothing but its own event.
    pub(super) fn of_signal(signal: &Signal) -> Self {
        match (signal.session.as_str(), signal.principal_kind) {
            ("", PrincipalKind::IamUser | PrincipalKind::Root) => Self::of_principal(&signal.principal),
            ("", PrincipalKind::Unknown) => Self(hash64_of(["event", &signal.event_id])),
            ("", _) => Self(hash64_of(["caller", &signal.account, &signal.principal, &signal.session_name])),
            (session, _) => Self(hash64_of(["session", session])),
        }
    }
}

/// All links that hold, and the lineages they make.
#[derive(Debug, Default)]
pub(super) struct Lineages {
    links: FxHashMap<(NodeKey, NodeKey), Timestamp>,
    parents: FxHashMap<NodeKey, NodeKey>,
    /// Who took hold of an instance last. Whoever commands an instance is joined with what its role does next, and
    /// never with others who commanded it before.
    commanders: FxHashMap<NodeKey, (NodeKey, Timestamp)>,
    last_expiry: Option<Timestamp>,
    forgotten: u64,
}

impl Lineages {
    /// Joins two nodes; returns their former lineages when they were apart, first the one that goes on.
    pub(super) fn join(&mut self, a: NodeKey, b: NodeKey, at: Timestamp) -> Option<(NodeKey, NodeKey)> {
        let held = self.links.entry((a, b)).or_insert(at);
        *held = (*held).max(at);
        self.union(a, b)
    }

    /// As [`Self::join`], for a link that was kept.
    pub(super) fn hold(&mut self, link: &HeldLink) -> Option<(NodeKey, NodeKey)> {
        self.join(link.parent, link.child, link.latest)
    }

    /// All links of the lineages that these nodes belong to, in order.
    pub(super) fn links_of(&mut self, nodes: impl Iterator<Item = NodeKey>) -> Vec<HeldLink> {
        let roots: BTreeSet<NodeKey> = nodes.map(|node| self.find(node)).collect();
        let all = self.links.iter().map(|((parent, child), latest)| (*parent, *child, *latest));
        let mut all: Vec<_> = all.collect();
        all.retain(|(parent, _, _)| roots.contains(&self.find(*parent)));
        all.sort_unstable();
        all.into_iter().map(|(parent, child, latest)| HeldLink { parent, child, latest }).collect()
    }

    /// Somebody took hold of an instance.
    pub(super) fn command(&mut self, instance: NodeKey, commander: NodeKey, at: Timestamp) {
        self.commanders.insert(instance, (commander, at));
    }

    /// Who took hold of an instance last, within the time that its role's credentials live.
    pub(super) fn commander(&self, instance: NodeKey, now: Timestamp) -> Option<NodeKey> {
        let (commander, at) = self.commanders.get(&instance)?;
        (now.since_ms(*at) <= COMMAND_LIFETIME_MS).then_some(*commander)
    }

    /// Whether more is held than should be, so that [`Self::expire`] is due at once.
    pub(super) fn is_crowded(&self) -> bool {
        self.links.len() > LINKS_MAX || self.commanders.len() > LINKS_MAX
    }

    /// The lineage a node belongs to, named by one of its nodes.
    pub(super) fn find(&mut self, node: NodeKey) -> NodeKey {
        let mut root = node;
        while let Some(parent) = self.parents.get(&root) {
            root = *parent;
        }
        let mut step = node;
        while step != root {
            let Some(next) = self.parents.insert(step, root) else {
                break;
            };
            step = next;
        }
        root
    }

    /// Links forgotten early for want of room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// Drops links that nothing renewed, at most once an hour of event time. Returns whether lineages may
    /// have new names, so that what is keyed by them must be keyed again.
    pub(super) fn expire(&mut self, now: Timestamp) -> bool {
        let last = *self.last_expiry.get_or_insert(now);
        if now.since_ms(last) < HOUR_MS && !self.is_crowded() {
            return false;
        }
        self.last_expiry = Some(now);
        self.commanders.retain(|_, (_, at)| now.since_ms(*at) <= COMMAND_LIFETIME_MS);
        if self.commanders.len() > LINKS_MAX {
            // So many instances at once are no lead any more.
            self.forgotten += self.commanders.len() as u64;
            self.commanders.clear();
        }
        self.links.retain(|_, at| now.since_ms(*at) <= LINK_LIFETIME_MS);
        if self.links.len() > LINKS_MAX {
            let mut order: Vec<(Timestamp, (NodeKey, NodeKey))> =
                self.links.iter().map(|(link, at)| (*at, *link)).collect();
            order.sort_unstable();
            let excess = order.len() - LINKS_MAX * 7 / 8;
            for (_, link) in &order[..excess] {
                self.links.remove(link);
            }
            self.forgotten += excess as u64;
        }
        self.parents.clear();
        let links: Vec<(NodeKey, NodeKey)> = self.links.keys().copied().collect();
        for (a, b) in links {
            self.union(a, b);
        }
        true
    }

    fn union(&mut self, a: NodeKey, b: NodeKey) -> Option<(NodeKey, NodeKey)> {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return None;
        }
        // The smaller key is the root, so a lineage has the same name whatever the order of its links.
        let (root, child) = (a.min(b), a.max(b));
        self.parents.insert(child, root);
        Some((root, child))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> NodeKey {
        NodeKey::of(&Node::Session(name.to_owned())).expect("named")
    }

    #[test]
    fn joins_and_forgets() {
        let mut lineages = Lineages::default();
        let hour = |hours: i64| Timestamp::from_millis(hours * HOUR_MS);
        lineages.expire(hour(0));
        lineages.join(key("a"), key("b"), hour(0));
        lineages.join(key("b"), key("c"), hour(30));
        assert_eq!(lineages.find(key("a")), lineages.find(key("c")));
        assert!(lineages.expire(hour(40)));
        assert_ne!(lineages.find(key("a")), lineages.find(key("c")));
        assert_eq!(lineages.find(key("b")), lineages.find(key("c")));
        assert_eq!(NodeKey::of(&Node::Session(String::new())), None);
    }
}
