//! YAML as rules need it: maps in order, lists, and scalars by their text.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::detection::error::Problem;

/// A rule file's size limit; the largest public rule files have a few kilobytes a rule.
pub(crate) const FILE_BYTES_MAX: usize = 1024 * 1024;
const DEPTH_MAX: usize = 16;
const DOCUMENTS_MAX: usize = 1_000;
const NODES_MAX: usize = 100_000;
const ANCHORS_MAX: usize = 64;
const YAML_MESSAGE_CHARS_MAX: usize = 300;

/// A YAML value. Numbers and booleans are kept as text, because Sigma compares them so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<(String, Node)>),
}

/// All documents of one file.
pub(crate) fn read(yaml: &str) -> Result<Vec<Node>, Problem> {
    if yaml.len() > FILE_BYTES_MAX {
        return Err(Problem::TooLarge { what: "file size in bytes", limit: FILE_BYTES_MAX });
    }
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_depth: DEPTH_MAX,
            flow_nesting_limit: DEPTH_MAX,
            max_documents: DOCUMENTS_MAX,
            max_nodes: NODES_MAX,
            max_events: 4 * NODES_MAX,
            max_anchors: ANCHORS_MAX,
            max_aliases: ANCHORS_MAX,
            max_recorded_anchor_events: NODES_MAX,
            max_recorded_anchor_bytes: FILE_BYTES_MAX,
            max_total_scalar_bytes: 2 * FILE_BYTES_MAX,
            max_merge_keys: 0,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: NODES_MAX,
            max_replay_stack_depth: DEPTH_MAX,
        },
        merge_keys: serde_saphyr::MergeKeyPolicy::Error,
        // `NO` and `yes` are values of CloudTrail fields, not booleans; account ids start with zeros.
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        non_finite_float_policy: serde_saphyr::NonFiniteFloatPolicy::AsString,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(yaml, options)
        .map_err(|error| Problem::Yaml(error.to_string().chars().take(YAML_MESSAGE_CHARS_MAX).collect()))
}

impl Node {
    /// The value of a map's key; `None` when this is no map or has no such key.
    pub(crate) fn get(&self, key: &str) -> Option<&Node> {
        match self {
            Node::Map(entries) => entries.iter().find(|(name, _)| name == key).map(|(_, node)| node),
            _ => None,
        }
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A key's text, where the key is given and not null.
    pub(crate) fn text(&self, key: &str) -> Result<Option<&str>, Problem> {
        match self.get(key) {
            None | Some(Node::Null) => Ok(None),
            Some(Node::Text(text)) => Ok(Some(text)),
            Some(_) => Err(wrong_shape(key, "text")),
        }
    }

    /// A key's texts: a list of texts, one text, or nothing.
    pub(crate) fn texts(&self, key: &str) -> Result<Vec<&str>, Problem> {
        match self.get(key) {
            None | Some(Node::Null) => Ok(Vec::new()),
            Some(Node::Text(text)) => Ok(vec![text]),
            Some(Node::List(nodes)) => {
                nodes.iter().map(|node| node.as_text().ok_or_else(|| wrong_shape(key, "a list of texts"))).collect()
            }
            Some(Node::Map(_)) => Err(wrong_shape(key, "a list of texts")),
        }
    }

    /// A key's `true` or `false`.
    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, Problem> {
        match self.text(key)? {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(_) => Err(wrong_shape(key, "true or false")),
        }
    }

    /// The entries of the map `name`, refusing keys that are not `known`.
    pub(crate) fn entries_of(&self, name: &'static str, known: &[&str]) -> Result<&[(String, Node)], Problem> {
        let Node::Map(entries) = self else {
            return Err(wrong_shape(name, "a map"));
        };
        match entries.iter().find(|(key, _)| !known.contains(&key.as_str())) {
            Some((key, _)) => Err(Problem::UnknownKey { key: key.clone(), of: name }),
            None => Ok(entries),
        }
    }
}

pub(crate) fn wrong_shape(key: &str, expected: &'static str) -> Problem {
    Problem::WrongShape { key: key.to_owned(), expected }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

macro_rules! visit_as_text {
    ($($method:ident: $type:ty),+) => {
        $(fn $method<E>(self, value: $type) -> Result<Node, E> {
            Ok(Node::Text(value.to_string()))
        })+
    };
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a YAML value")
    }

    visit_as_text!(visit_bool: bool, visit_i64: i64, visit_i128: i128, visit_u64: u64, visit_u128: u128, visit_f64: f64, visit_str: &str);

    fn visit_string<E>(self, value: String) -> Result<Node, E> {
        Ok(Node::Text(value))
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_none<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Node, D::Error> {
        Node::deserialize(deserializer)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut sequence: A) -> Result<Node, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = sequence.next_element()? {
            nodes.push(node);
        }
        Ok(Node::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry::<String, Node>()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Node {
        Node::Text(text.to_owned())
    }

    #[test]
    fn scalars_keep_the_text_that_sigma_compares() {
        let cases = [
            ("a: NO", text("NO")),
            ("a: yes", text("yes")),
            ("a: True", text("true")),
            ("a: 'true'", text("true")),
            ("a: 012345678901", text("012345678901")),
            ("a: 42", text("42")),
            ("a: -1.5", text("-1.5")),
            ("a: 2021-09-23", text("2021-09-23")),
            ("a: 1_000", text("1_000")),
            ("a: null", Node::Null),
            ("a: ~", Node::Null),
            ("a:", Node::Null),
            ("a: ''", text("")),
            ("a: 'null'", text("null")),
            ("a: .nan", text(".nan")),
            ("a: 'C:\\x\\*'", text("C:\\x\\*")),
        ];
        for (yaml, expected) in cases {
            let documents = read(yaml).expect(yaml);
            assert_eq!(documents[0].get("a"), Some(&expected), "{yaml}");
        }
    }

    #[test]
    fn hostile_yaml_is_refused() {
        let deep = format!("a: {}{}", "[".repeat(100), "]".repeat(100));
        let indented: String = (0..100).map(|depth| format!("{}a:\n", " ".repeat(depth))).collect();
        let bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\nd: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e,*e,*e,*e,*e,*e,*e,*e,*e]\n";
        let wide = format!("a: [{}]", "x,".repeat(NODES_MAX + 1));
        let large = "#".repeat(FILE_BYTES_MAX + 1);
        for yaml in [&deep, &indented, bomb, &wide, &large, "a: 1\na: 2", "a: [", "b: &x 1\nc:\n  <<: *x"] {
            assert!(read(yaml).is_err(), "{}", &yaml[..yaml.len().min(40)]);
        }
    }
}
