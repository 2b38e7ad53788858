//! Observations: activities with links, rule matches and details. Rules travel by id, in a table that a batch's matches
//! refer to by place, since two processes may hold their rules in another order, or not the same ones.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};

use trailwarden_core::activity::{Details, Observation};
use trailwarden_core::detection::{CountedValue, Match, RuleIndex, RuleSet};
use trailwarden_core::link::{Link, Node};
use trailwarden_core::resource::{Resource, ResourceKind};

use super::{activity, activity_to_wire};
use crate::{Invalid, v1};

/// This process's rules by id.
#[derive(Debug, Default)]
pub struct Rules {
    by_id: BTreeMap<String, RuleIndex>,
    unknown: AtomicU64,
}

impl Rules {
    pub fn new(rules: &RuleSet) -> Self {
        // No set has more rules than an index can name.
        let indices = (0..=u16::MAX).map(RuleIndex);
        let by_id = rules.rules().iter().zip(indices).map(|(rule, index)| (rule.id.clone(), index)).collect();
        Self { by_id, unknown: AtomicU64::new(0) }
    }

    /// Matches and counted values left out so far since their rule is none of this process's.
    pub fn unknown(&self) -> u64 {
        self.unknown.load(Ordering::Relaxed)
    }

    /// An observation off the wire; `table` is its batch's.
    ///
    /// # Errors
    /// When a part that must be there is not, or a value is none of those known. A rule that this process does not have is no
    /// error: its match is left out and counted.
    pub fn observation<'w>(&self, wire: &'w v1::Observation, table: &[String]) -> Result<Observation<'w>, Invalid> {
        let told = wire.activity.as_ref().ok_or(Invalid::Field { field: "activity", what: "is missing" })?;
        Ok(Observation {
            activity: activity(told)?,
            links: wire.links.iter().map(link).collect::<Result<_, _>>()?,
            matches: self.matches(&wire.matches, table)?,
            details: wire.details.as_ref().map(details).transpose()?,
        })
    }

    fn matches(&self, wire: &[v1::RuleMatch], table: &[String]) -> Result<Vec<Match>, Invalid> {
        let mut matches = Vec::with_capacity(wire.len());
        for hit in wire {
            let rule = self.rule(hit.rule, table, "matches.rule")?;
            let mut counted = Vec::with_capacity(hit.counted.len());
            for value in &hit.counted {
                let v1::CountedValue { correlation, group_hash, value_hash } = *value;
                let correlation = self.rule(correlation, table, "matches.counted.correlation")?;
                counted.extend(correlation.map(|correlation| CountedValue { correlation, group_hash, value_hash }));
            }
            matches.extend(rule.map(|rule| Match { rule, counted }));
        }
        matches.sort_by_key(|hit| hit.rule);
        match matches.windows(2).any(|pair| pair[0].rule == pair[1].rule) {
            true => Err(Invalid::Field { field: "matches", what: "name a rule twice" }),
            false => Ok(matches),
        }
    }

    fn rule(&self, place: u32, table: &[String], field: &'static str) -> Result<Option<RuleIndex>, Invalid> {
        let rule = self.by_id.get(id(place, table, field)?).copied();
        if rule.is_none() {
            self.unknown.fetch_add(1, Ordering::Relaxed);
        }
        Ok(rule)
    }
}

fn id<'t>(place: u32, table: &'t [String], field: &'static str) -> Result<&'t String, Invalid> {
    let at = usize::try_from(place).ok().and_then(|place| table.get(place));
    at.ok_or(Invalid::Field { field, what: "is no place of the batch's rules" })
}

/// The ids of the rules that the observations of one batch refer to, in the order in which they are met.
#[derive(Clone, Debug, Default)]
pub struct Table {
    places: BTreeMap<String, u32>,
    ids: Vec<String>,
}

impl Table {
    /// An observation for the wire; its rules go into the table. A rule that is none of `rules` is left out.
    pub fn observation(&mut self, rules: &RuleSet, observation: &Observation<'_>) -> v1::Observation {
        let Observation { activity, links, matches, details } = observation;
        let matches = matches.iter().filter_map(|hit| self.hit(rules, hit)).collect();
        v1::Observation {
            activity: Some(activity_to_wire(activity)),
            links: links.iter().map(link_to_wire).collect(),
            matches,
            details: details.as_ref().map(details_to_wire),
        }
    }

    /// Takes over an observation that refers to another batch's table.
    ///
    /// # Errors
    /// When a place is none of that table's; the observation is of no use then.
    pub fn adopt(&mut self, observation: &mut v1::Observation, from: &[String]) -> Result<(), Invalid> {
        for hit in &mut observation.matches {
            hit.rule = self.place(id(hit.rule, from, "matches.rule")?);
            for value in &mut hit.counted {
                value.correlation = self.place(id(value.correlation, from, "matches.counted.correlation")?);
            }
        }
        Ok(())
    }

    /// The table as its batch carries it.
    pub fn into_ids(self) -> Vec<String> {
        self.ids
    }

    fn hit(&mut self, rules: &RuleSet, hit: &Match) -> Option<v1::RuleMatch> {
        let rule = self.place(&rules.rule(hit.rule)?.id);
        let counted = hit.counted.iter().filter_map(|value| {
            let correlation = self.place(&rules.rule(value.correlation)?.id);
            let CountedValue { group_hash, value_hash, .. } = *value;
            Some(v1::CountedValue { correlation, group_hash, value_hash })
        });
        Some(v1::RuleMatch { rule, counted: counted.collect() })
    }

    fn place(&mut self, id: &str) -> u32 {
        if let Some(place) = self.places.get(id) {
            return *place;
        }
        // A batch's matches are fewer than that by far: it has to fit into a message.
        let place = u32::try_from(self.ids.len()).unwrap_or(u32::MAX);
        self.places.insert(id.to_owned(), place);
        self.ids.push(id.to_owned());
        place
    }
}

fn link(wire: &v1::Link) -> Result<Link, Invalid> {
    let end = |wire: &Option<v1::Node>, field| {
        let kind = wire.as_ref().and_then(|node| node.kind.as_ref());
        let kind = kind.ok_or(Invalid::Field { field, what: "is missing" })?;
        Ok::<_, Invalid>(match kind {
            v1::node::Kind::Session(text) => Node::Session(text.clone()),
            v1::node::Kind::Principal(text) => Node::Principal(text.clone()),
            v1::node::Kind::Instance(text) => Node::Instance(text.clone()),
        })
    };
    Ok(Link { parent: end(&wire.parent, "links.parent")?, child: end(&wire.child, "links.child")? })
}

fn link_to_wire(link: &Link) -> v1::Link {
    let end = |node: &Node| {
        let kind = match node {
            Node::Session(text) => v1::node::Kind::Session(text.clone()),
            Node::Principal(text) => v1::node::Kind::Principal(text.clone()),
            Node::Instance(text) => v1::node::Kind::Instance(text.clone()),
        };
        Some(v1::Node { kind: Some(kind) })
    };
    v1::Link { parent: end(&link.parent), child: end(&link.child) }
}

fn details(wire: &v1::Details) -> Result<Details, Invalid> {
    let resource = |wire: &v1::Resource| {
        let kind =
            kind_of_word(&wire.kind).ok_or(Invalid::Field { field: "details.resources.kind", what: "is not known" })?;
        let v1::Resource { account, region, id, created, .. } = wire.clone();
        Ok::<_, Invalid>(Resource { kind, account, region, id, created })
    };
    Ok(Details {
        resources: wire.resources.iter().map(resource).collect::<Result<_, _>>()?,
        parameters: wire.parameters.clone(),
        error_message: wire.error_message.clone(),
    })
}

fn details_to_wire(details: &Details) -> v1::Details {
    let resources = details.resources.iter().map(|resource| {
        let Resource { kind, account, region, id, created } = resource.clone();
        v1::Resource { kind: word_of_kind(kind).to_owned(), account, region, id, created }
    });
    v1::Details {
        resources: resources.collect(),
        parameters: details.parameters.clone(),
        error_message: details.error_message.clone(),
    }
}

macro_rules! kinds {
    ($($variant:ident = $word:literal),+ $(,)?) => {
        const fn word_of_kind(kind: ResourceKind) -> &'static str {
            match kind { $(ResourceKind::$variant => $word),+ }
        }

        fn kind_of_word(word: &str) -> Option<ResourceKind> {
            match word { $($word => Some(ResourceKind::$variant),)+ _ => None }
        }

        #[cfg(test)]
        pub(super) const KINDS: &[ResourceKind] = &[$(ResourceKind::$variant),+];
    };
}

kinds! {
    User = "user", Role = "role", AccessKey = "access_key", LoginProfile = "login_profile", Instance = "instance",
    Bucket = "bucket", Function = "function", Trail = "trail", Detector = "detector", ConfigRecorder = "config_recorder",
    Image = "image", Snapshot = "snapshot", DbSnapshot = "db_snapshot", KmsKey = "kms_key", Secret = "secret",
    Parameter = "parameter", SecurityGroup = "security_group", TrustAnchor = "trust_anchor", Policy = "policy",
    Model = "model", Account = "account", Other = "other",
}
