//! A rule document: what a person is told about it, and its detection or correlation.

use super::document::{Node, wrong_shape};
use super::program::Program;
use crate::detection::Rule;
use crate::detection::correlation::Correlation;
use crate::detection::error::Problem;
use crate::feature::Feature;
use crate::level::Severity;
use crate::negotiation::predicate::Predicate;
use crate::spelling::nearest;

const TEXT_BYTES_MAX: usize = 16 * 1024;
const LABELS_MAX: usize = 200;
const PREDICATE_BYTES_MAX: usize = 64;
/// What a rule without `level` counts as.
const LEVEL_DEFAULT: Severity = Severity::Medium;

/// One document of a rule file, read.
#[derive(Debug)]
pub(crate) struct RuleDocument {
    /// `raises` is settled once all rules are known.
    pub(crate) rule: Rule,
    /// What correlations may call the rule, beside its id.
    pub(crate) name: Option<String>,
    /// What the file says about `raises`.
    pub(crate) raises: Option<bool>,
    pub(crate) body: Body,
}

#[derive(Debug)]
pub(crate) enum Body {
    Detection(Program),
    Correlation(Correlation),
}

/// The keys under `trailwarden:`.
#[derive(Default)]
struct Extension {
    predicate: Option<String>,
    floor: Option<Severity>,
    raises: Option<bool>,
    first_seen: Option<Feature>,
}

/// What to call a document in an error: its title, else its id or name.
pub(crate) fn label(document: &Node) -> Option<String> {
    let text = ["title", "id", "name"].iter().find_map(|key| document.get(key)?.as_text())?;
    Some(text.chars().take(200).collect())
}

impl RuleDocument {
    pub(crate) fn parse(document: &Node) -> Result<Self, Problem> {
        if !matches!(document, Node::Map(_)) {
            return Err(wrong_shape("document", "a map"));
        }
        check_log_source(document)?;
        let extension = Extension::parse(document)?;
        let body = match (document.get("detection"), document.get("correlation")) {
            (Some(_), Some(_)) => {
                return Err(Problem::Contradiction("a document is a detection or a correlation, not both"));
            }
            (Some(detection), None) => Body::Detection(Program::parse(detection)?),
            (None, Some(_)) if extension.first_seen.is_some() => {
                return Err(Problem::Contradiction("a correlation cannot be a first-seen rule"));
            }
            (None, Some(correlation)) => Body::Correlation(Correlation::parse(correlation)?),
            (None, None) if extension.first_seen.is_some() => Body::Detection(Program::always()),
            (None, None) => return Err(Problem::Missing("detection")),
        };
        if extension.first_seen.is_some() && extension.raises.is_some() {
            return Err(Problem::Contradiction("whether a first-seen rule raises is its feature's to say"));
        }
        let name = document.text("name")?.map(str::to_owned);
        let id = document.text("id")?.map(str::to_owned).or_else(|| name.clone());
        let (techniques, tactics) = attack_tags(document)?;
        let rule = Rule {
            id: id.ok_or(Problem::Missing("id"))?,
            title: bounded(document.text("title")?.ok_or(Problem::Missing("title"))?)?.to_owned(),
            description: bounded(document.text("description")?.unwrap_or_default())?.trim().to_owned(),
            severity: match document.text("level")? {
                None => LEVEL_DEFAULT,
                Some(word) => severity(word)?,
            },
            techniques,
            tactics,
            false_positives: labels(document, "falsepositives")?.into_iter().map(str::to_owned).collect(),
            predicate: extension.predicate,
            floor: extension.floor,
            raises: false,
            first_seen: extension.first_seen,
        };
        Ok(Self { rule, name, raises: extension.raises, body })
    }
}

impl Extension {
    fn parse(document: &Node) -> Result<Self, Problem> {
        let Some(node) = document.get("trailwarden") else {
            return Ok(Self::default());
        };
        node.entries_of("trailwarden", &["predicate", "floor", "raises", "first_seen"])?;
        let predicate = node.text("predicate")?;
        let is_word = |text: &str| {
            (1..=PREDICATE_BYTES_MAX).contains(&text.len())
                && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        };
        if predicate.is_some_and(|text| !is_word(text)) {
            return Err(wrong_shape("predicate", "a word of lower-case letters, digits and underscores"));
        }
        if let Some(word) = predicate.filter(|word| Predicate::named(word).is_none()) {
            return Err(Problem::UnknownPredicate { word: word.to_owned(), nearest: nearest_predicates(word) });
        }
        Ok(Self {
            predicate: predicate.map(str::to_owned),
            floor: node.text("floor")?.map(severity).transpose()?,
            raises: node.flag("raises")?,
            first_seen: node.text("first_seen")?.map(first_seen_feature).transpose()?,
        })
    }
}

/// The three predicates that differ from a word by the fewest letters.
fn nearest_predicates(word: &str) -> Vec<&'static str> {
    nearest(word, Predicate::ALL.iter().map(|predicate| predicate.name()), 3)
}

fn severity(word: &str) -> Result<Severity, Problem> {
    word.parse().map_err(|_| Problem::UnknownWord { word: word.to_owned(), scale: "severity" })
}

fn first_seen_feature(name: &str) -> Result<Feature, Problem> {
    let is_flag = |feature: &&Feature| {
        let definition = feature.definition();
        definition.name == name && definition.unit == "0 or 1"
    };
    Feature::ALL
        .iter()
        .find(is_flag)
        .copied()
        .ok_or_else(|| Problem::UnknownWord { word: name.to_owned(), scale: "feature that is 0 or 1" })
}

/// Rules of other products name fields that mean something else here.
fn check_log_source(document: &Node) -> Result<(), Problem> {
    let Some(source) = document.get("logsource") else {
        return Ok(());
    };
    if !matches!(source, Node::Map(_)) {
        return Err(wrong_shape("logsource", "a map"));
    }
    let (product, service) = (source.text("product")?, source.text("service")?);
    let category = source.text("category")?;
    if product.is_none_or(|product| product == "aws")
        && service.is_none_or(|service| service == "cloudtrail")
        && category.is_none()
    {
        return Ok(());
    }
    let named = [product, category, service];
    Err(Problem::LogSource(named.into_iter().flatten().collect::<Vec<_>>().join("/")))
}

/// ATT&CK techniques (`T1098.001`) and tactics (`privilege-escalation`) among the tags. Groups and software
/// (`attack.g0016`, `attack.s0002`) and other namespaces say nothing that a rule carries.
fn attack_tags(document: &Node) -> Result<(Vec<String>, Vec<String>), Problem> {
    let (mut techniques, mut tactics) = (Vec::new(), Vec::new());
    for tag in labels(document, "tags")? {
        let tag = tag.to_ascii_lowercase();
        let Some(name) = tag.strip_prefix("attack.") else {
            continue;
        };
        let numbered = |letter: char| {
            name.strip_prefix(letter).is_some_and(|number| number.starts_with(|c: char| c.is_ascii_digit()))
        };
        if numbered('t') {
            techniques.push(name.to_ascii_uppercase());
        } else if !numbered('g') && !numbered('s') {
            tactics.push(name.replace('_', "-"));
        }
    }
    Ok((techniques, tactics))
}

fn labels<'d>(document: &'d Node, key: &'static str) -> Result<Vec<&'d str>, Problem> {
    let labels = document.texts(key)?;
    if labels.len() > LABELS_MAX {
        return Err(Problem::TooLarge { what: key, limit: LABELS_MAX });
    }
    labels.into_iter().map(bounded).collect()
}

fn bounded(text: &str) -> Result<&str, Problem> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Problem::TooLarge { what: "text in bytes", limit: TEXT_BYTES_MAX });
    }
    Ok(text)
}
