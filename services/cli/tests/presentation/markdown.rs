//! A ticket in Markdown, as a renderer with GitHub's extensions reads it.

use comrak::nodes::{AstNode, NodeValue};
use comrak::{Arena, Options, parse_document};
use trailwarden::line::Line;
use trailwarden::markdown;
use trailwarden::words::Words;
use trailwarden_core::language::Language;

use crate::{hostile, sample};

fn options() -> Options<'static> {
    let mut options = Options::default();
    options.extension.table = true;
    options.extension.autolink = true;
    options.extension.strikethrough = true;
    options.extension.tasklist = true;
    options.extension.footnotes = true;
    options
}

/// What a renderer makes of it, node by node.
fn kinds(markdown: &str) -> Vec<&'static str> {
    let arena = Arena::new();
    let mut kinds = Vec::new();
    let root: &AstNode<'_> = parse_document(&arena, markdown, &options());
    for node in root.descendants() {
        kinds.push(match &node.data.borrow().value {
            NodeValue::Link(_) | NodeValue::Image(_) | NodeValue::FootnoteReference(_) => "link",
            NodeValue::HtmlInline(_) | NodeValue::HtmlBlock(_) => "html",
            NodeValue::Emph | NodeValue::Strikethrough => "emphasis",
            NodeValue::Heading(_) => "heading",
            NodeValue::TableRow(_) => "row",
            NodeValue::TableCell => "cell",
            NodeValue::CodeBlock(_) => "block",
            NodeValue::Strong => "strong",
            NodeValue::Item(_) => "item",
            _ => "other",
        });
    }
    kinds
}

fn count(kinds: &[&str], kind: &str) -> usize {
    kinds.iter().filter(|known| **known == kind).count()
}

#[test]
fn what_an_attacker_wrote_makes_no_markup() {
    for language in Language::ALL {
        let findings = hostile::findings();
        let told = markdown::report(&findings, Words::of(*language));
        let kinds = kinds(&told);
        for kind in ["link", "html", "emphasis"] {
            assert_eq!(count(&kinds, kind), 0, "{kind}: {told}");
        }
        // One step is strong; the page, the case and its parts have headings.
        assert_eq!((count(&kinds, "strong"), count(&kinds, "heading")), (1, 8), "{told}");
        // The head's table has two columns, the reasons' four, the evidence's six.
        assert_eq!(count(&kinds, "cell"), 2 * 9 + 4 * (2 + 4) + 6 * 3, "{told}");
        let foreign = told.chars().find(|c| c.is_control() && *c != '\n' || matches!(c, '\u{202e}' | '\u{200b}'));
        assert_eq!(foreign, None);
        assert!(told.contains("u{202e}"), "it is there to be seen");
    }
}

#[test]
fn the_check_can_fail() {
    let kinds =
        kinds("# a\n\n[a](http://b) <b>x</b> *c* **d** mail me@example.com, www.example.com\n\n|a|b|\n|-|-|\n|c|d|\n");
    assert_eq!((count(&kinds, "link"), count(&kinds, "html"), count(&kinds, "emphasis")), (3, 2, 1));
    assert_eq!((count(&kinds, "strong"), count(&kinds, "row"), count(&kinds, "cell")), (1, 2, 4));
}

#[test]
fn a_case_reads_like_this() {
    let findings = sample::findings();
    for language in Language::ALL {
        let line = Line::of(&findings.cases[1], &findings.rules, *language);
        insta::assert_snapshot!(language.as_str(), markdown::case(&line, Words::of(*language)));
    }
}

#[test]
fn a_scan_and_a_council_tell_the_same() {
    let findings = sample::findings();
    for finding in &findings.cases {
        let logged = serde_json::to_string(&Line::of(finding, &findings.rules, Language::English)).expect("JSON");
        let read = || Line::read(logged.as_bytes()).expect("a line");
        for language in Language::ALL {
            let told = markdown::case(&Line::of(finding, &findings.rules, *language), Words::of(*language));
            assert_eq!(markdown::retold(read(), Some(*language)), told);
        }
        assert_eq!(markdown::retold(read(), None), markdown::retold(read(), Some(Language::English)));
    }
}
