//! Where two outcomes of one case part, stage by stage and in words. Equal is equal to the byte; JSON is only read to say
//! what is not.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;
use trailwarden_core::language::Language;
use trailwarden_core::negotiation::said::Said;

use super::{EVENTS_MAX, Outcome};

/// Reasons of a judgement that are compared one by one; a council gives far fewer.
const REASONS_MAX: usize = 1_000;
/// Characters of a value that are quoted.
const QUOTED_MAX: usize = 120;

/// A stage of the way from a raw record to a plan, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    Records,
    Parse,
    Rules,
    Features,
    Score,
    Case,
    Evidence,
    Claims,
    Verdict,
    Plan,
}

impl Stage {
    pub const ALL: [Self; 10] = [
        Self::Records,
        Self::Parse,
        Self::Rules,
        Self::Features,
        Self::Score,
        Self::Case,
        Self::Evidence,
        Self::Claims,
        Self::Verdict,
        Self::Plan,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Records => "records",
            Self::Parse => "parse",
            Self::Rules => "rules",
            Self::Features => "features",
            Self::Score => "score",
            Self::Case => "case",
            Self::Evidence => "evidence",
            Self::Claims => "claims",
            Self::Verdict => "verdict",
            Self::Plan => "plan",
        }
    }
}

/// The first thing of a stage that is otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    pub stage: Stage,
    /// `feature session_age of event X was 3.0, is 4.0`. May quote what callers wrote.
    pub text: String,
    /// Events of which this stage is otherwise too.
    pub more: usize,
}

/// The differences between what was recorded and what came out now, at most one a stage, in order.
pub fn compare(was: &Outcome, is: &Outcome) -> Vec<Difference> {
    if was == is {
        return Vec::new();
    }
    let mut all = events(&was.events, &is.events);
    all.extend(whole(Stage::Case, &was.case, &is.case, "the case"));
    all.extend(whole(Stage::Evidence, &was.decided.evidence, &is.decided.evidence, "the evidence"));
    all.extend(judged(&was.decided.judgement, &is.decided.judgement));
    if !all.iter().any(|found| found.stage == Stage::Plan) {
        all.extend(whole(Stage::Plan, &was.decided.calls, &is.decided.calls, "the plan's calls"));
    }
    if all.is_empty() {
        // Something of the text that is not looked at above: still not equal.
        let text = "the outcome is written otherwise".to_owned();
        all.push(Difference { stage: Stage::Records, text, more: 0 });
    }
    all
}

/// An event's line, its parts as they are written.
#[derive(Deserialize)]
struct Line<'a> {
    event_id: String,
    #[serde(borrow)]
    seen: Seen<'a>,
    score: &'a RawValue,
    level: &'a RawValue,
    #[serde(borrow)]
    signal: Option<Signal<'a>>,
}

#[derive(Deserialize)]
struct Seen<'a> {
    #[serde(borrow)]
    activity: &'a RawValue,
    links: &'a RawValue,
    matches: &'a RawValue,
    details: &'a RawValue,
}

#[derive(Deserialize)]
struct Signal<'a> {
    #[serde(borrow)]
    features: &'a RawValue,
    learned: &'a RawValue,
    detections: &'a RawValue,
}

impl Line<'_> {
    /// What a stage made of the event, each part with its name; a part that is a tree of named ones has none.
    fn parts(&self, stage: Stage) -> Vec<(&'static str, Option<&RawValue>)> {
        let signal = self.signal.as_ref();
        match stage {
            Stage::Parse => vec![("", Some(self.seen.activity))],
            Stage::Rules => vec![
                ("matches", Some(self.seen.matches)),
                ("links", Some(self.seen.links)),
                ("details", Some(self.seen.details)),
            ],
            Stage::Features => vec![("", signal.map(|signal| signal.features))],
            Stage::Score => vec![
                ("learned", signal.map(|signal| signal.learned)),
                ("detections", signal.map(|signal| signal.detections)),
                ("score", Some(self.score)),
                ("level", Some(self.level)),
            ],
            _ => Vec::new(),
        }
    }
}

fn events(was: &str, is: &str) -> Vec<Difference> {
    let (Some(before), Some(now)) = (lines(was), lines(is)) else {
        let text = "the recorded events cannot be read".to_owned();
        return vec![Difference { stage: Stage::Records, text, more: 0 }];
    };
    let by_id: BTreeMap<&str, &Line<'_>> = now.iter().map(|line| (line.event_id.as_str(), line)).collect();
    let known: BTreeSet<&str> = before.iter().map(|line| line.event_id.as_str()).collect();
    let mut found = Vec::new();
    let gone = before.iter().filter(|line| !by_id.contains_key(line.event_id.as_str()));
    let gone = gone.map(|line| format!("the record of event {} gives no event any more", line.event_id));
    let new = now.iter().filter(|line| !known.contains(line.event_id.as_str()));
    let new = new.map(|line| format!("event {} was not there", line.event_id));
    found.extend(first(Stage::Records, gone.chain(new)));
    for stage in [Stage::Parse, Stage::Rules, Stage::Features, Stage::Score] {
        let both = before.iter().filter_map(|line| Some((line, *by_id.get(line.event_id.as_str())?)));
        found.extend(first(stage, both.filter_map(|(was, is)| of_event(stage, was, is))));
    }
    found
}

fn lines(text: &str) -> Option<Vec<Line<'_>>> {
    // Whoever forged it may have put more in.
    if text.lines().nth(EVENTS_MAX).is_some() {
        return None;
    }
    text.lines().map(|line| serde_json::from_str(line).ok()).collect()
}

fn first(stage: Stage, mut texts: impl Iterator<Item = String>) -> Option<Difference> {
    let text = texts.next()?;
    Some(Difference { stage, text, more: texts.count() })
}

fn of_event(stage: Stage, was: &Line<'_>, is: &Line<'_>) -> Option<String> {
    let what = format!("event {}", was.event_id);
    if matches!(stage, Stage::Features) && was.signal.is_some() != is.signal.is_some() {
        let now = if is.signal.is_some() { "is a signal of the case now" } else { "is no signal of the case any more" };
        return Some(format!("{what} {now}"));
    }
    let parts = was.parts(stage).into_iter().zip(is.parts(stage));
    let differing = parts.map(|((name, was), (_, is))| (name, was.map(RawValue::get), is.map(RawValue::get)));
    let (name, was, is) = differing.into_iter().find(|(_, was, is)| was != is)?;
    let (mut path, was, is) = parted(name, &read(was?), &read(is?));
    if stage == Stage::Features {
        path = format!("feature {path}");
    }
    Some(sentence(&path, &what, was, is))
}

/// The first difference of a text that is JSON as a whole.
fn whole(stage: Stage, was: &str, is: &str, what: &str) -> Option<Difference> {
    if was == is {
        return None;
    }
    let text = match (was.is_empty(), is.is_empty()) {
        (false, true) => format!("{what} is not made any more"),
        (true, false) => format!("{what} was not made"),
        _ => {
            let (path, was, is) = parted("", &read(was), &read(is));
            sentence(&path, what, was, is)
        }
    };
    Some(Difference { stage, text, more: 0 })
}

/// Claims, verdict and plan of a judgement.
fn judged(was: &str, is: &str) -> Vec<Difference> {
    if was == is {
        return Vec::new();
    }
    let (before, now) = (read(was), read(is));
    if is.is_empty() {
        let text = "nothing is judged any more".to_owned();
        return vec![Difference { stage: Stage::Verdict, text, more: 0 }];
    }
    let mut found = Vec::new();
    found.extend(first(Stage::Claims, claims(&before["reasons"], &now["reasons"]).into_iter()));
    let (mut verdict, mut others) = (Vec::new(), Vec::new());
    let mut names: Vec<&String> =
        [&before, &now].into_iter().filter_map(Value::as_object).flat_map(|o| o.keys()).collect();
    names.sort_by_key(|name| (!matches!(name.as_str(), "verdict" | "severity"), *name));
    names.dedup();
    for name in names {
        let (was, is) = (&before[name.as_str()], &now[name.as_str()]);
        if was == is {
            continue;
        }
        let (path, was, is) = parted(name, was, is);
        let difference = |stage| Difference { stage, text: sentence(&path, "the judgement", was, is), more: 0 };
        match name.as_str() {
            "reasons" => {}
            "rejected" | "techniques" => others.push(difference(Stage::Claims)),
            "plan" => others.push(difference(Stage::Plan)),
            _ => verdict.push(difference(Stage::Verdict)),
        }
    }
    verdict.truncate(1);
    for difference in others.into_iter().chain(verdict) {
        if !found.iter().any(|known: &Difference| known.stage == difference.stage) {
            found.push(difference);
        }
    }
    if found.is_empty() {
        let text = "the judgement differs in its last digits".to_owned();
        found.push(Difference { stage: Stage::Verdict, text, more: 0 });
    }
    found.sort_by_key(|difference| difference.stage);
    found
}

/// What became of each reason: a claim is known by its words.
fn claims(was: &Value, is: &Value) -> Vec<String> {
    let text = |reason: &Value| match Said::deserialize(&reason["said"]) {
        Ok(said) => Language::English.reason(&said),
        // Of another version.
        Err(_) => reason["said"].to_string(),
    };
    let list = |value| -> Vec<(String, &Value)> {
        let reasons = Value::as_array(value).into_iter().flatten().take(REASONS_MAX);
        reasons.map(|reason| (text(reason), reason)).collect()
    };
    let (before, now) = (list(was), list(is));
    let named = |text: &String| format!("claim {}", quoted(&Value::String(text.clone())));
    let mut found = Vec::new();
    for (text, reason) in &before {
        match now.iter().find(|(other, _)| other == text) {
            None => found.push(format!("{} is gone", named(text))),
            Some((_, other)) if other == reason => {}
            Some((_, other)) if other["weight"] != reason["weight"] => {
                let (was, is) = (quoted(&reason["weight"]), quoted(&other["weight"]));
                found.push(format!("{} weighed {was}, weighs {is}", named(text)));
            }
            Some((_, other)) => {
                let (path, was, is) = parted("", reason, other);
                found.push(sentence(&path, &named(text), was, is));
            }
        }
    }
    let is_new = |(text, _): &&(String, &Value)| !before.iter().any(|(other, _)| other == text);
    found.extend(now.iter().filter(is_new).map(|(text, _)| format!("{} is new", named(text))));
    if found.is_empty() && was != is {
        found.push("the claims are in another order".to_owned());
    }
    found
}

/// `path of what was this, is that`.
fn sentence(path: &str, what: &str, was: impl fmt::Display, is: impl fmt::Display) -> String {
    if path.is_empty() { format!("{what} was {was}, is {is}") } else { format!("{path} of {what} was {was}, is {is}") }
}

/// Where two trees part first, and what stands there in each.
fn parted(name: &str, was: &Value, is: &Value) -> (String, String, String) {
    let (mut path, mut was, mut is) = (name.to_owned(), was, is);
    loop {
        let next = match (was, is) {
            (Value::Object(before), Value::Object(now)) => {
                let keys: BTreeSet<&String> = before.keys().chain(now.keys()).collect();
                let key = keys.into_iter().find(|key| before.get(*key) != now.get(*key));
                key.map(|key| {
                    let dot = if path.is_empty() { "" } else { "." };
                    (format!("{dot}{key}"), before.get(key), now.get(key))
                })
            }
            (Value::Array(before), Value::Array(now)) => {
                let place = (0..before.len().max(now.len())).find(|at| before.get(*at) != now.get(*at));
                place.map(|at| (format!("[{at}]"), before.get(at), now.get(at)))
            }
            _ if was == is => return (path, quoted(was), format!("{}, but in its last digits", quoted(is))),
            _ => return (path, quoted(was), quoted(is)),
        };
        let Some((step, before, now)) = next else {
            return (path, "written one way".to_owned(), "written another".to_owned());
        };
        path.push_str(&step);
        match (before, now) {
            (Some(before), Some(now)) => (was, is) = (before, now),
            (before, now) => {
                let told = |value: Option<&Value>| value.map_or_else(|| "unknown".to_owned(), quoted);
                return (path, told(before), told(now));
            }
        }
    }
}

fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
}

/// A value as JSON, cut.
fn quoted(value: &Value) -> String {
    let text = value.to_string();
    match text.char_indices().nth(QUOTED_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}
