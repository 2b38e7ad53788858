//! All rules of a run: loading them, and which of them an event matches.

use std::collections::BTreeMap;

use super::correlation::{Contribution, Correlation};
use super::error::{Error, Problem};
use super::index::Index;
use super::sigma::{self, Body, Event, Program, RuleDocument};
use super::{Match, Rule, RuleIndex};
use crate::activity::Activity;
use crate::feature::{Feature, FeatureVector};
use crate::record::RecordView;
use crate::registry::Registry;

/// Rules that one set can hold.
pub const RULES_MAX: usize = 4_096;

/// The rules of a run, compiled. Immutable and shared between threads.
#[derive(Clone, Debug, Default)]
pub struct RuleSet {
    rules: Vec<Rule>,
    /// By rule.
    detections: Vec<Option<Detection>>,
    correlations: Vec<(RuleIndex, Correlated)>,
    first_seen: Vec<(RuleIndex, Feature)>,
    index: Index,
}

/// A single-event rule at work.
#[derive(Clone, Debug)]
struct Detection {
    program: Program,
    contributions: Vec<Contribution>,
}

/// A correlation with its rules resolved.
#[derive(Clone, Debug)]
pub(crate) struct Correlated {
    pub(crate) correlation: Correlation,
    pub(crate) rules: Vec<RuleIndex>,
}

impl RuleSet {
    /// Compiles rules from YAML texts, each given with its file's name; a text may hold several documents.
    /// Rules are indexed in the order given.
    ///
    /// # Errors
    /// The first thing that is wrong, with the file and the rule it is in.
    pub fn load(documents: &[(&str, &str)]) -> Result<Self, Error> {
        let mut read = Vec::new();
        for (file, yaml) in documents {
            let error = |rule, problem| Error { file: (*file).to_owned(), rule, problem };
            for node in sigma::read(yaml).map_err(|problem| error(None, problem))? {
                let label = sigma::label(&node);
                if read.len() == RULES_MAX {
                    let problem = Problem::TooLarge { what: "number of rules", limit: RULES_MAX };
                    return Err(error(label, problem));
                }
                match RuleDocument::parse(&node) {
                    Ok(document) => read.push((*file, document)),
                    Err(problem) => return Err(error(label, problem)),
                }
            }
        }
        Self::assemble(read)
    }

    fn assemble(read: Vec<(&str, RuleDocument)>) -> Result<Self, Error> {
        let names = names(&read)?;
        let mut set = Self::default();
        let mut explicit = Vec::with_capacity(read.len());
        let mut correlations = Vec::new();
        for (place, (file, document)) in read.into_iter().enumerate() {
            let index = rule_index(place);
            let RuleDocument { rule, raises, body, .. } = document;
            set.first_seen.extend(rule.first_seen.map(|feature| (index, feature)));
            set.rules.push(rule);
            explicit.push(raises);
            set.detections.push(match body {
                Body::Detection(program) => {
                    set.index.add(index.0, &program);
                    Some(Detection { program, contributions: Vec::new() })
                }
                Body::Correlation(correlation) => {
                    correlations.push((file, index, correlation));
                    None
                }
            });
        }
        // A rule that is only part of correlations is not news by itself.
        let mut silenced = vec![false; set.rules.len()];
        let mut generated = silenced.clone();
        for (file, index, correlation) in correlations {
            let generate = correlation.generate;
            let title = set.rules[usize::from(index.0)].title.clone();
            let rules = set.connect(index, correlation, &names).map_err(|problem| Error {
                file: file.to_owned(),
                rule: Some(title),
                problem,
            })?;
            for rule in rules {
                silenced[usize::from(rule.0)] = true;
                generated[usize::from(rule.0)] |= generate;
            }
        }
        for (place, rule) in set.rules.iter_mut().enumerate() {
            let alone = rule.first_seen.is_none() && (!silenced[place] || generated[place]);
            rule.raises = explicit[place].unwrap_or(alone);
        }
        Ok(set)
    }

    /// Resolves a correlation's rules and tells each of them what to contribute.
    fn connect(
        &mut self,
        index: RuleIndex,
        correlation: Correlation,
        names: &BTreeMap<String, RuleIndex>,
    ) -> Result<Vec<RuleIndex>, Problem> {
        let mut rules = Vec::with_capacity(correlation.rules.len());
        for reference in &correlation.rules {
            let missing = || Problem::MissingRule(reference.clone());
            let rule = *names.get(reference).ok_or_else(missing)?;
            if self.rules[usize::from(rule.0)].first_seen.is_some() {
                return Err(Problem::CorrelatedFirstSeen(reference.clone()));
            }
            if rules.contains(&rule) {
                return Err(Problem::RepeatedRule(reference.clone()));
            }
            let detection = self.detections[usize::from(rule.0)].as_mut().ok_or_else(missing)?;
            detection.contributions.push(correlation.contribution(index, rule, reference)?);
            rules.push(rule);
        }
        let correlated = Correlated { correlation, rules: rules.clone() };
        self.correlations.push((index, correlated));
        Ok(rules)
    }

    /// Silences the rule of this id: it still counts towards correlations, but is no detection any more.
    /// `false` when there is none.
    pub fn silence(&mut self, id: &str) -> bool {
        let Some(place) = self.rules.iter().position(|rule| rule.id == id) else {
            return false;
        };
        let index = rule_index(place);
        let rule = &mut self.rules[place];
        rule.raises = false;
        rule.first_seen = None;
        self.first_seen.retain(|(rule, _)| *rule != index);
        true
    }

    /// Whether a rule matches because an account is foreign. Rules run before it is known whose trails an input
    /// holds, so such a match may have to be taken back.
    pub fn is_about_outsiders(&self, rule: RuleIndex) -> bool {
        const FIELDS: [&str; 3] =
            ["trailwarden.grant_external", "trailwarden.trust_external", "trailwarden.trust_unguarded"];
        let detection = self.detections.get(usize::from(rule.0)).and_then(Option::as_ref);
        detection.is_some_and(|detection| detection.program.asks_for(&FIELDS))
    }

    /// Every rule, by [`RuleIndex`].
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The rule at `index`; `None` when the index is of another set.
    pub fn rule(&self, index: RuleIndex) -> Option<&Rule> {
        self.rules.get(usize::from(index.0))
    }

    /// First-seen rules, each with the feature that decides whether its match is a detection.
    pub fn first_seen(&self) -> &[(RuleIndex, Feature)] {
        &self.first_seen
    }

    pub(crate) fn correlations(&self) -> &[(RuleIndex, Correlated)] {
        &self.correlations
    }

    /// Whether a match of `rule` is a detection of its own: what [`Rule::raises`] says, and for a first-seen rule
    /// whether its feature is 1. Base rules of correlations and unknown features are not.
    pub fn fires(&self, rule: RuleIndex, features: &FeatureVector) -> bool {
        self.rule(rule).is_some_and(|rule| match rule.first_seen {
            Some(feature) => features.is_set(feature),
            None => rule.raises,
        })
    }

    /// Appends the single-event rules (first-seen ones too) that the event matches, in order of the rules.
    /// An event that matches nothing costs a few look-ups and no allocation.
    pub fn evaluate(&self, view: &RecordView<'_>, activity: &Activity<'_>, registry: &Registry, out: &mut Vec<Match>) {
        let event = Event { view, activity, registry };
        let start = out.len();
        let head = &view.head;
        self.index.candidates([head.event_source, activity.service], [head.event_name, activity.call], |rule| {
            let Some(Some(detection)) = self.detections.get(usize::from(rule)) else {
                return;
            };
            if !detection.program.matches(&event) {
                return;
            }
            let mut counted = Vec::new();
            for contribution in &detection.contributions {
                contribution.collect(&event, &mut counted);
            }
            out.push(Match { rule: RuleIndex(rule), counted });
        });
        if out.len() - start > 1 {
            out[start..].sort_by_key(|matched| matched.rule);
            // A rule that is indexed under several keys may have been met under two of them.
            for place in (start + 1..out.len()).rev() {
                if out[place].rule == out[place - 1].rule {
                    out.remove(place);
                }
            }
        }
    }
}

/// Rules by what correlations may call them: id and name.
fn names(read: &[(&str, RuleDocument)]) -> Result<BTreeMap<String, RuleIndex>, Error> {
    let mut names = BTreeMap::new();
    for (place, (file, document)) in read.iter().enumerate() {
        let index = rule_index(place);
        let own = document.name.iter().chain([&document.rule.id]);
        for name in own {
            if names.insert(name.clone(), index).is_some_and(|other| other != index) {
                return Err(Error {
                    file: (*file).to_owned(),
                    rule: Some(document.rule.title.clone()),
                    problem: Problem::Duplicate(name.clone()),
                });
            }
        }
    }
    Ok(names)
}

fn rule_index(place: usize) -> RuleIndex {
    RuleIndex(u16::try_from(place).expect("RULES_MAX is below the number of u16 values"))
}
