use trailwarden::findings::{Findings, Input};
use trailwarden::terminal::{self, Screen};
use trailwarden::words::Words;
use trailwarden_core::language::Language;
use trailwarden_core::level::Severity;

use crate::{hostile, sample};

const PLAIN: Screen = Screen { colour: false, width: 80 };

fn english() -> &'static Words {
    Words::of(Language::English)
}

#[test]
fn at_80_columns_it_reads_like_this() {
    insta::assert_snapshot!(terminal::cases(&sample::findings(), PLAIN, english()));
}

#[test]
fn in_korean_it_reads_like_this() {
    insta::assert_snapshot!(terminal::cases(&sample::findings(), PLAIN, Words::of(Language::Korean)));
}

#[test]
fn hostile_text_never_reaches_the_terminal() {
    let findings = hostile::findings();
    let words = Language::ALL.iter().map(|language| Words::of(*language));
    for (words, width) in words.flat_map(|words| [0, 40, 80, 120, 160, 5_000].map(|width| (words, width))) {
        let shown = terminal::cases(&findings, Screen { width, ..PLAIN }, words)
            + &terminal::planted(&findings, Screen { width, ..PLAIN }, words)
            + &terminal::summary(&findings.input, f64::NAN);
        let foreign = shown
            .chars()
            .find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202e}' | '\u{200b}' | '\u{e0041}'));
        assert_eq!(foreign, None, "at {width}");
        assert!(shown.contains("\\u{1b}"));
        assert!(!shown.contains(&"x".repeat(161)), "a long name is cut");
    }
}

#[test]
fn colour_is_ours_alone_and_changes_nothing_else() {
    let findings = hostile::findings();
    let coloured = terminal::cases(&findings, Screen { colour: true, width: 100 }, english());
    assert!(coloured.contains("\x1b[1;31m"));
    let stripped = ["1", "2", "0", "31", "32", "33", "36", "1;31"]
        .iter()
        .fold(coloured, |text, style| text.replace(&format!("\x1b[{style}m"), ""));
    assert!(!stripped.contains('\x1b'));
    let plain = terminal::cases(&findings, Screen { colour: false, width: 100 }, english());
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert_eq!(squeezed(&stripped), squeezed(&plain));
}

#[test]
fn lower_cases_are_counted_and_none_is_said_to_be_none() {
    let mut cases = sample::findings().cases;
    for finding in &mut cases {
        finding.judgement.severity = Severity::Low;
    }
    let findings = sample::with_cases(sample::findings(), cases);
    let shown = terminal::cases(&findings, PLAIN, english());
    assert!(shown.starts_with("No case at medium severity or above."));
    assert!(shown.contains("3 cases below medium"));
    assert!(terminal::cases(&Findings::default(), PLAIN, english()).contains("nothing was judged"));
}

#[test]
fn the_summary_counts_what_was_read_and_what_was_not() {
    insta::assert_snapshot!(terminal::summary(&sample::findings().input, 0.25));
    assert!(terminal::summary(&Input::default(), 0.0).contains("0 events/s"));
}
