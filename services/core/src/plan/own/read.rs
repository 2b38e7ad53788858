//! A playbook's file, read: each flaw by its place, and none of them hides the next.

use std::collections::{BTreeMap, BTreeSet};

use super::tree::{self, Node, Value};
use super::{Answers, Condition, Draft, Expected, Flaw, OwnCall, OwnCheck, OwnPlaybook, OwnUndo, Place, Texts};
use super::{is_word, pieces};
use crate::level::Severity;
use crate::negotiation::predicate::Predicate;
use crate::plan::{Playbook, Tier};
use crate::resource::ResourceKind;
use crate::spelling::nearest;
use crate::untrusted::{is_hidden, name as shown};

/// Bytes of a file.
pub const FILE_BYTES_MAX: usize = 64 * 1_024;
/// Hours that a step may stand; a person may renew it.
pub const LEASE_H_MAX: u32 = 168;
const LEASE_H_DEFAULT: u32 = 24;
const FLAWS_MAX: usize = 16;
const NAME_BYTES_MIN: usize = 3;
/// Bytes of a parameter or an expected text: a policy document fits.
const TEXT_BYTES_MAX: usize = 4_096;
/// Characters of what people are told.
const WORDS_CHARS_MAX: usize = 300;
const NOTES_MAX: usize = 8;
/// Calls of each part.
const CALLS_MAX: usize = 8;
const PARAMETERS_MAX: usize = 16;
const ITEMS_MAX: usize = 32;
const KEPT_MAX: usize = 8;
const ANSWERED_MAX: usize = 64;
const PATH_BYTES_MAX: usize = 200;

/// What a playbook may act on, as files name it.
const TARGETS: [(&str, ResourceKind); 15] = [
    ("user", ResourceKind::User),
    ("role", ResourceKind::Role),
    ("access_key", ResourceKind::AccessKey),
    ("login_profile", ResourceKind::LoginProfile),
    ("instance", ResourceKind::Instance),
    ("bucket", ResourceKind::Bucket),
    ("function", ResourceKind::Function),
    ("trail", ResourceKind::Trail),
    ("detector", ResourceKind::Detector),
    ("config_recorder", ResourceKind::ConfigRecorder),
    ("image", ResourceKind::Image),
    ("snapshot", ResourceKind::Snapshot),
    ("db_snapshot", ResourceKind::DbSnapshot),
    ("kms_key", ResourceKind::KmsKey),
    ("account", ResourceKind::Account),
];

/// Reads a file: a playbook as far as core can tell.
///
/// # Errors
/// What is wrong with it, in the order of the file; the first sixteen.
pub fn read(yaml: &str) -> Result<Draft, Vec<Flaw>> {
    let root = tree::parse(yaml, FILE_BYTES_MAX).map_err(|flaw| vec![flaw])?;
    let mut reader = Reader::default();
    let own = reader.playbook(&root);
    reader.flaws.sort();
    reader.flaws.dedup();
    reader.flaws.truncate(FLAWS_MAX);
    match (own, reader.flaws.is_empty()) {
        (Some(own), true) => Ok(Draft { own, places: reader.places }),
        _ => Err(reader.flaws),
    }
}

#[derive(Default)]
struct Reader {
    flaws: Vec<Flaw>,
    places: BTreeMap<String, Place>,
}

/// The entries of a map, by key.
struct Entries<'n> {
    at: Place,
    by_key: BTreeMap<&'n str, &'n Node>,
}

impl<'n> Entries<'n> {
    fn get(&self, key: &str) -> Option<&'n Node> {
        self.by_key.get(key).copied().filter(|node| node.value != Value::Null)
    }
}

impl Reader {
    fn flaw(&mut self, at: Place, text: impl Into<String>) {
        self.flaws.push(Flaw { at, text: text.into() });
    }

    fn playbook(&mut self, root: &Node) -> Option<OwnPlaybook> {
        const KEYS: [&str; 11] = [
            "name",
            "affects",
            "answers",
            "tier",
            "lease_h",
            "notes",
            "capture",
            "steps",
            "checks",
            "undo",
            "no_undo_because",
        ];
        let entries = self.entries(root, "", "a playbook", &KEYS)?;
        let name = self.required(&entries, "name").and_then(|node| self.name(node));
        let affects = self.required(&entries, "affects").and_then(|node| self.words(node, "affects"));
        let answers = self.required(&entries, "answers").and_then(|node| self.answers(node));
        let tier = self.required(&entries, "tier").and_then(|node| self.tier(node));
        let lease_h = entries.get("lease_h").map_or(Some(LEASE_H_DEFAULT), |node| self.lease(node));
        let notes = entries.get("notes").map_or(Some(vec![]), |node| self.notes(node));
        let capture = entries.get("capture").map_or(Some(vec![]), |node| self.calls(node, "capture"));
        let steps = self.required(&entries, "steps").and_then(|node| self.calls(node, "steps"));
        let checks = self.required(&entries, "checks").and_then(|node| self.checks(node));
        let undo = self.undo(&entries, tier);
        let own = OwnPlaybook {
            name: name?,
            affects: affects?,
            answers: answers?,
            tier: tier?,
            lease_h: lease_h?,
            notes: notes?,
            capture: capture?,
            steps: steps?,
            checks: checks?,
            undo: undo?,
        };
        for (part, places) in [("steps", own.steps.len()), ("checks", own.checks.len())] {
            if places == 0 {
                self.flaw(self.places.get(part).copied().unwrap_or_default(), format!("`{part}` names at least one"));
            }
        }
        self.kept(&own);
        Some(own)
    }

    /// What is filled in later has to be kept before.
    fn kept(&mut self, own: &OwnPlaybook) {
        let mut known: BTreeSet<String> = BTreeSet::new();
        let mut wrong = Vec::new();
        let all = own.calls();
        let (checks, rest): (Vec<_>, Vec<_>) = all.iter().partition(|(place, _)| place.starts_with("checks"));
        for (place, call) in rest.into_iter().chain(checks) {
            let texts = call.with.values().flat_map(Texts::all);
            let condition = call.only_if.as_ref().map(|condition| condition.name().to_owned());
            let used = texts.flat_map(|text| kept_names(text)).chain(condition);
            wrong.extend(used.filter(|name| !known.contains(name)).map(|name| (place.clone(), name)));
            for name in call.keep.keys() {
                if !known.insert(name.clone()) {
                    wrong.push((place.clone(), format!("{name} twice")));
                }
            }
        }
        for (at, check) in own.checks.iter().enumerate() {
            let used = match &check.expect {
                Expected::Equals(text) | Expected::Contains(text) | Expected::Statements(text) => kept_names(text),
                Expected::Has(members) => members.values().flat_map(|text| kept_names(text)).collect(),
                Expected::Nothing | Expected::Any => vec![],
            };
            let unknown = used.into_iter().filter(|name| !known.contains(name));
            wrong.extend(unknown.map(|name| (format!("checks.{at}"), name)));
        }
        for (place, name) in wrong {
            let at = self.places.get(&place).copied().unwrap_or_default();
            self.flaw(
                at,
                format!("nothing keeps `{name}` before this; a call of `capture` or `steps` does, by `keep`"),
            );
        }
    }

    fn entries<'n>(&mut self, node: &'n Node, path: &str, what: &str, known: &[&str]) -> Option<Entries<'n>> {
        let Value::Map(entries) = &node.value else {
            self.flaw(node.at, format!("{what} is a map of {}", known.join(", ")));
            return None;
        };
        let mut by_key = BTreeMap::new();
        for (key, node) in entries {
            if known.contains(&key.as_str()) {
                by_key.insert(key.as_str(), node);
                self.places.insert(joined(path, key), node.at);
            } else {
                let near = nearest(&shown(key), known.iter().copied(), 2).join("` or `");
                self.flaw(node.at, format!("`{}` is no key of {what}; is it `{near}`?", shown(key)));
            }
        }
        Some(Entries { at: node.at, by_key })
    }

    fn required<'n>(&mut self, entries: &Entries<'n>, key: &str) -> Option<&'n Node> {
        let found = entries.get(key);
        if found.is_none() {
            self.flaw(entries.at, format!("`{key}` is missing"));
        }
        found
    }

    fn text<'n>(&mut self, node: &'n Node, what: &str) -> Option<&'n str> {
        match &node.value {
            Value::Text(text) if text.len() > TEXT_BYTES_MAX => {
                self.flaw(node.at, format!("{what} has at most {TEXT_BYTES_MAX} bytes"));
                None
            }
            Value::Text(text) if text.contains(|c: char| c != '\n' && is_hidden(c)) => {
                self.flaw(node.at, format!("{what} holds a character that does not show; write it anew"));
                None
            }
            Value::Text(text) => Some(text),
            _ => {
                self.flaw(node.at, format!("{what} is a text"));
                None
            }
        }
    }

    /// A text with slots.
    fn filled(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text(node, what)?;
        if let Err(why) = pieces(text) {
            self.flaw(node.at, why);
        }
        Some(text.to_owned())
    }

    fn words(&mut self, node: &Node, what: &str) -> Option<String> {
        let text = self.text(node, &format!("`{what}`"))?.trim();
        if text.is_empty() || text.chars().count() > WORDS_CHARS_MAX {
            self.flaw(node.at, format!("`{what}` says something, in {WORDS_CHARS_MAX} characters at most"));
            return None;
        }
        Some(text.to_owned())
    }

    fn name(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node, "`name`")?;
        if !is_word(text) || text.len() < NAME_BYTES_MIN {
            let what =
                "`name` is 3 to 64 lower-case letters, digits and underscores, a letter first: `lock_deploy_role`";
            self.flaw(node.at, what);
            return None;
        }
        if Playbook::ALL.iter().any(|known| known.as_str() == text) || text == Playbook::Own.as_str() {
            self.flaw(node.at, format!("`{text}` is a built-in playbook; give yours another name"));
            return None;
        }
        Some(text.to_owned())
    }

    fn tier(&mut self, node: &Node) -> Option<Tier> {
        match self.text(node, "`tier`")? {
            "T1" => Some(Tier::T1),
            "T2" => Some(Tier::T2),
            "T3" => Some(Tier::T3),
            _ => {
                self.flaw(node.at, "`tier` is T1 (narrow and reversible), T2 (one approver) or T3 (two approvers)");
                None
            }
        }
    }

    fn lease(&mut self, node: &Node) -> Option<u32> {
        let hours = self.text(node, "`lease_h`")?.parse().ok().filter(|hours| (1..=LEASE_H_MAX).contains(hours));
        if hours.is_none() {
            self.flaw(node.at, format!("`lease_h` is a number of hours from 1 to {LEASE_H_MAX}"));
        }
        hours
    }

    /// A list's items, at most `count_max`.
    fn items<'n>(&mut self, node: &'n Node, what: &str, count_max: usize) -> Option<&'n [Node]> {
        let Value::List(nodes) = &node.value else {
            self.flaw(node.at, format!("`{what}` is a list"));
            return None;
        };
        if nodes.len() > count_max {
            self.flaw(node.at, format!("`{what}` has at most {count_max} items"));
            return None;
        }
        Some(nodes)
    }

    fn notes(&mut self, node: &Node) -> Option<Vec<String>> {
        self.items(node, "notes", NOTES_MAX)?.iter().map(|node| self.words(node, "notes")).collect()
    }

    fn answers(&mut self, node: &Node) -> Option<Answers> {
        const KEYS: [&str; 5] = ["target", "predicates", "techniques", "severity", "accounts"];
        let entries = self.entries(node, "answers", "`answers`", &KEYS)?;
        let target = self.required(&entries, "target").and_then(|node| self.target(node));
        let mut listed = |key| entries.get(key).map_or(Some(vec![]), |node| self.listed(node, key));
        let (predicates, techniques, accounts) = (listed("predicates"), listed("techniques"), listed("accounts"));
        let severity = match entries.get("severity") {
            None => Some(Severity::Medium),
            Some(node) => self.severity(node),
        };
        let predicates = predicates?.into_iter().map(|(at, word)| self.predicate(at, word)).collect::<Option<_>>();
        let techniques = techniques?.into_iter().map(|(at, word)| self.technique(at, word)).collect::<Option<_>>();
        let accounts = accounts?.into_iter().map(|(at, word)| self.account(at, word)).collect::<Option<_>>();
        let answers = Answers {
            target: target?,
            predicates: predicates?,
            techniques: techniques?,
            severity: severity?,
            accounts: accounts?,
        };
        if answers.predicates.is_empty() && answers.techniques.is_empty() {
            self.flaw(entries.at, "`answers` names `predicates` or `techniques`: what it is an answer to");
        }
        Some(answers)
    }

    fn listed<'n>(&mut self, node: &'n Node, what: &str) -> Option<Vec<(Place, &'n str)>> {
        let nodes = self.items(node, what, ANSWERED_MAX)?;
        nodes.iter().map(|node| Some((node.at, self.text(node, &format!("an item of `{what}`"))?))).collect()
    }

    fn target(&mut self, node: &Node) -> Option<ResourceKind> {
        let text = self.text(node, "`target`")?;
        let found = TARGETS.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
        if found.is_none() {
            let all: Vec<_> = TARGETS.iter().map(|(name, _)| *name).collect();
            self.flaw(node.at, format!("`target` is one of {}", all.join(", ")));
        }
        found
    }

    fn severity(&mut self, node: &Node) -> Option<Severity> {
        let read = self.text(node, "`severity`")?.parse();
        if read.is_err() {
            self.flaw(node.at, "`severity` is informational, low, medium, high or critical");
        }
        read.ok()
    }

    fn predicate(&mut self, at: Place, word: &str) -> Option<Predicate> {
        let found = Predicate::named(word);
        if found.is_none() {
            let word = shown(word);
            let near = nearest(&word, Predicate::ALL.iter().map(|known| known.name()), 3).join(", ");
            self.flaw(at, format!("`{word}` is not a predicate; the nearest are {near}"));
        }
        found
    }

    fn technique(&mut self, at: Place, word: &str) -> Option<String> {
        let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
        let rest = word.strip_prefix('T').unwrap_or_default();
        let is_one = match rest.split_once('.') {
            Some((whole, part)) => digits(whole, 4) && digits(part, 3),
            None => digits(rest, 4),
        };
        if !is_one {
            self.flaw(at, "an ATT&CK technique is written T1098 or T1098.001");
        }
        is_one.then(|| word.to_owned())
    }

    fn account(&mut self, at: Place, word: &str) -> Option<String> {
        let is_one = word.len() == 12 && word.bytes().all(|byte| byte.is_ascii_digit());
        if !is_one {
            self.flaw(at, "an account is 12 digits; put it in quotes");
        }
        is_one.then(|| word.to_owned())
    }

    fn calls(&mut self, node: &Node, part: &str) -> Option<Vec<OwnCall>> {
        const KEYS: [&str; 5] = ["call", "with", "keep", "only_if", "may_be_absent"];
        let nodes = self.items(node, part, CALLS_MAX)?;
        let calls = nodes.iter().enumerate().map(|(at, node)| {
            let path = format!("{part}.{at}");
            self.places.insert(path.clone(), node.at);
            let entries = self.entries(node, &path, "a call", &KEYS)?;
            self.call(&entries, &path)
        });
        // Each is read, so that a flaw of one does not hide those of the next.
        let calls: Vec<_> = calls.collect();
        calls.into_iter().collect()
    }

    fn call(&mut self, entries: &Entries<'_>, path: &str) -> Option<OwnCall> {
        let named = self.required(entries, "call").and_then(|node| {
            let text = self.text(node, "`call`")?;
            let words: Vec<&str> = text.split_whitespace().collect();
            let [service, operation] = words[..] else {
                self.flaw(node.at, "`call` is a service and an operation: `iam UpdateAccessKey`");
                return None;
            };
            Some((service.to_owned(), operation.to_owned()))
        });
        let with = entries.get("with").map_or(Some(BTreeMap::new()), |node| self.parameters(node, path));
        let keep = entries.get("keep").map_or(Some(BTreeMap::new()), |node| self.keep(node));
        let only_if = match entries.get("only_if") {
            None => Some(None),
            Some(node) => self.condition(node).map(Some),
        };
        let may_be_absent = entries.get("may_be_absent").map_or(Some(false), |node| self.flag(node, "may_be_absent"));
        let (service, operation) = named?;
        Some(OwnCall { service, operation, with: with?, keep: keep?, only_if: only_if?, may_be_absent: may_be_absent? })
    }

    fn flag(&mut self, node: &Node, what: &str) -> Option<bool> {
        match self.text(node, &format!("`{what}`"))? {
            "true" => Some(true),
            "false" => Some(false),
            _ => {
                self.flaw(node.at, format!("`{what}` is true or false"));
                None
            }
        }
    }

    /// A map of names to texts.
    fn map<'n>(&mut self, node: &'n Node, what: &str, count_max: usize) -> Option<&'n [(String, Node)]> {
        match &node.value {
            Value::Map(entries) if entries.len() <= count_max => Some(entries),
            _ => {
                self.flaw(node.at, format!("`{what}` is a map of at most {count_max} names"));
                None
            }
        }
    }

    fn parameters(&mut self, node: &Node, path: &str) -> Option<BTreeMap<String, Texts>> {
        let entries = self.map(node, "with", PARAMETERS_MAX)?;
        let mut with = BTreeMap::new();
        for (name, node) in entries {
            self.places.insert(format!("{path}.with.{name}"), node.at);
            let texts = match &node.value {
                Value::List(items) if items.len() <= ITEMS_MAX => items
                    .iter()
                    .map(|item| self.filled(item, "an item of a parameter"))
                    .collect::<Option<_>>()
                    .map(Texts::Many),
                Value::Text(_) => self.filled(node, "a parameter").map(Texts::One),
                _ => {
                    let what = "a parameter is a text, or a list of at most 32; what lies deeper is named by its place, \
                                `Tags[0].Key`";
                    self.flaw(node.at, what);
                    None
                }
            };
            with.insert(name.clone(), texts?);
        }
        Some(with)
    }

    fn keep(&mut self, node: &Node) -> Option<BTreeMap<String, String>> {
        let entries = self.map(node, "keep", KEPT_MAX)?;
        let mut keep = BTreeMap::new();
        for (name, node) in entries {
            if !is_word(name) || name == "new_password" {
                self.flaw(node.at, "what is kept is named by lower-case letters, digits and underscores");
            }
            keep.insert(name.clone(), self.path(node)?);
        }
        Some(keep)
    }

    /// Where in an answer a value stands.
    fn path(&mut self, node: &Node) -> Option<String> {
        let text = self.text(node, "a place in an answer")?;
        let is_part = |part: &str| {
            let name = part.strip_suffix("[]").unwrap_or(part);
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric())
        };
        let is_path = text == "@" || (text.len() <= PATH_BYTES_MAX && text.split('.').all(is_part));
        if !is_path {
            let what = "a place in an answer is member names joined by dots, [] for a list's items: `Keys[].Status`";
            self.flaw(node.at, what);
        }
        is_path.then(|| text.to_owned())
    }

    fn condition(&mut self, node: &Node) -> Option<Condition> {
        const KEYS: [&str; 4] = ["known", "unknown", "kept", "is"];
        let entries = self.entries(node, "", "`only_if`", &KEYS)?;
        let mut word = |key: &str| match entries.get(key) {
            None => Some(None),
            Some(node) => self.text(node, &format!("`{key}`")).map(|text| Some(text.to_owned())),
        };
        match (word("known")?, word("unknown")?, word("kept")?, word("is")?) {
            (Some(name), None, None, None) => Some(Condition::Known(name)),
            (None, Some(name), None, None) => Some(Condition::Unknown(name)),
            (None, None, Some(name), Some(text)) => Some(Condition::Is(name, text)),
            _ => {
                self.flaw(node.at, "`only_if` is {known: NAME}, {unknown: NAME} or {kept: NAME, is: TEXT}");
                None
            }
        }
    }

    fn checks(&mut self, node: &Node) -> Option<Vec<OwnCheck>> {
        let nodes = self.items(node, "checks", CALLS_MAX)?;
        let checks: Vec<_> =
            nodes.iter().enumerate().map(|(at, node)| self.check(node, &format!("checks.{at}"))).collect();
        checks.into_iter().collect()
    }

    fn check(&mut self, node: &Node, path: &str) -> Option<OwnCheck> {
        const EXPECTED: [&str; 6] = ["equals", "contains", "has", "statements", "nothing", "any"];
        const KEYS: [&str; 10] =
            ["call", "with", "may_be_absent", "at", "equals", "contains", "has", "statements", "nothing", "any"];
        self.places.insert(path.to_owned(), node.at);
        let entries = self.entries(node, path, "a check", &KEYS)?;
        let read = self.call(&entries, path);
        let at = self.required(&entries, "at").and_then(|node| self.path(node));
        let given: Vec<_> = EXPECTED.iter().filter_map(|key| Some((*key, entries.get(key)?))).collect();
        let [(key, expected)] = given[..] else {
            self.flaw(node.at, format!("a check expects one thing: {}", EXPECTED.join(", ")));
            return None;
        };
        let expect = match key {
            "equals" => self.filled(expected, "`equals`").map(Expected::Equals),
            "contains" => self.filled(expected, "`contains`").map(Expected::Contains),
            "statements" => self.filled(expected, "`statements`").map(Expected::Statements),
            "has" => self.members(expected).map(Expected::Has),
            "nothing" => self.flag(expected, key).map(|_| Expected::Nothing),
            _ => self.flag(expected, key).map(|_| Expected::Any),
        };
        Some(OwnCheck { read: read?, at: at?, expect: expect? })
    }

    fn members(&mut self, node: &Node) -> Option<BTreeMap<String, String>> {
        let entries = self.map(node, "has", PARAMETERS_MAX)?;
        entries.iter().map(|(name, node)| Some((name.clone(), self.filled(node, "a member")?))).collect()
    }

    fn undo(&mut self, entries: &Entries<'_>, tier: Option<Tier>) -> Option<OwnUndo> {
        let node = self.required(entries, "undo")?;
        let reason = entries.get("no_undo_because");
        if !matches!(&node.value, Value::Text(text) if text == "none") {
            if let Some(reason) = reason {
                self.flaw(reason.at, "`no_undo_because` goes with `undo: none`");
            }
            let calls = self.calls(node, "undo")?;
            if calls.is_empty() {
                self.flaw(node.at, "`undo` names the calls that bring back what was, or is none");
            }
            return Some(OwnUndo::Calls(calls));
        }
        if tier == Some(Tier::T1) {
            self.flaw(node.at, "what cannot be undone is T2 at least");
        }
        let Some(reason) = reason else {
            self.flaw(node.at, "`undo: none` wants a reason: `no_undo_because: it restores what was`");
            return None;
        };
        self.words(reason, "no_undo_because").map(OwnUndo::Nothing)
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// The kept values that a text is made of.
fn kept_names(text: &str) -> Vec<String> {
    let pieces = pieces(text).unwrap_or_default();
    let names = pieces.into_iter().filter_map(|piece| match piece {
        super::Piece::Slot(super::Slot::Kept(name)) => Some(name.to_owned()),
        _ => None,
    });
    names.collect()
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
