use trailwarden::findings::Findings;
use trailwarden::report::{self, CASES_MAX};
use trailwarden::words::Words;
use trailwarden_core::language::Language;
use trailwarden_core::level::{Level, Severity, Verdict};

use crate::{hostile, sample};

/// Tags that the report itself writes; anything else came in from outside.
const TAGS: &str = "a article b bdi body br circle code dd details div dl dt em figure footer h1 h2 h3 h4 head header html i li line main \
    meta ol p pre rect section span strong style summary svg table tbody td text th thead title tr ul wbr";

fn html(findings: &Findings) -> String {
    report::html(findings, Words::of(Language::English))
}

fn check_inert(html: &str) {
    let known: Vec<&str> = TAGS.split_whitespace().collect();
    let (_, body) = html.split_once("</head>").expect("a head");
    for piece in body.split('<').skip(1) {
        let tag: String = piece.trim_start_matches('/').chars().take_while(char::is_ascii_alphanumeric).collect();
        assert!(known.contains(&tag.as_str()), "foreign tag <{tag}");
    }
    for (at, _) in body.match_indices("href=\"") {
        assert!(body[at + 6..].starts_with('#'), "a link leads out: {}", &body[at..(at + 40).min(body.len())]);
    }
    for resource in ["src=\"http", "href=\"http", "url(http"] {
        assert!(!html.contains(resource), "an outside resource");
    }
    let foreign = html
        .chars()
        .find(|c| (c.is_control() && *c != '\n') || matches!(c, '\u{202a}'..='\u{202e}' | '\u{200b}' | '\u{e0041}'));
    assert_eq!(foreign, None);
}

#[test]
fn hostile_text_stays_text() {
    let findings = hostile::findings();
    check_inert(&report::html(&findings, Words::of(Language::Korean)));
    let html = self::html(&findings);
    check_inert(&html);
    assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"));
    assert!(html.contains(r"\u{202e}") && html.contains(r"\u{1b}"));
    assert!(html.contains("… (+10,") && !html.contains(&"x".repeat(1_000)), "a long name is cut and the cut is said");
    assert_eq!(html, self::html(&findings), "two runs differ");
}

#[test]
fn the_sample_says_all_a_reader_needs() {
    let html = self::html(&sample::findings());
    check_inert(&html);
    for expected in [
        "Begin with <bdi>ci-deploy</bdi>",
        "granted far-reaching permissions, created a credential for another principal",
        "2024-07-30 21:31 to 21:45 UTC",
        "The longest stretch without any event is 7 h",
        "Disable or Modify Cloud Logs",
        "aws iam update-access-key --access-key-id AKIAIOSFODNN7EXAMPLE --status Inactive --user-name ci-deploy",
        "The 200 strongest of 412 signals",
        "&quot;userName&quot;: &quot;backup-operator&quot;",
        "Claims that did not survive the check",
        "Innocent causes: ",
        "sceptic: llm:local-1.5b",
        "The caller has been active for a week or more. Yet age tells whose credential it is",
        "its calls from this address in 1 h (412 events, +1.3)",
        "With an ordinary rate and a usual source address this would be insufficient (low).",
        "Rejected: truncated gzip",
        "id=\"c1e3\"",
        "href=\"#c1e3\"",
    ] {
        assert!(html.contains(expected), "missing: {expected}");
    }
    for (at, _) in html.match_indices("href=\"#") {
        let target: String = html[at + 7..].chars().take_while(|c| *c != '"').collect();
        assert!(html.contains(&format!("id=\"{target}\"")), "a dead link to #{target}");
    }
}

/// Words of English that no name, rule or command of the sample explains.
#[test]
fn a_page_in_korean_has_no_english_of_its_own() {
    let mut findings = sample::findings();
    for rule in &mut findings.rules {
        rule.title = "규칙".into();
        rule.description = "설명".into();
        rule.false_positives.clear();
    }
    let html = report::html(&findings, Words::of(Language::Korean));
    check_inert(&html);
    assert!(html.contains("<html lang=\"ko\">"));
    let (_, body) = html.split_once("</head>").expect("a head");
    let mut shown = String::new();
    for piece in body.split('<').skip(1) {
        let (tag, text) = piece.split_once('>').expect("a whole tag");
        // What stands in code, in a block of commands and in quotes is somebody else's.
        if !tag.starts_with("code") && !tag.starts_with("pre") {
            shown.push_str(text);
            shown.push(' ');
        }
    }
    for word in [
        " the ",
        " of ",
        "Verdict",
        "Severity",
        "detected",
        "weaker",
        "Evidence",
        "event ",
        " case",
        "undo",
        "suspicious",
    ] {
        assert!(!shown.contains(word), "{word}: {shown}");
    }
    for expected in [
        "IAM 사용자 ci-deploy의 장기 접근 키가 MFA 없이 계정 111122223333에서 광범위한 권한을 부여하고, 다른 주체의 자격 증명을 생성하고, 감사 추적을 중지하거나 약화했습니다.",
        "판정이 바뀌는 조건",
        "평소의 호출 속도, 평소의 소스 주소 조건에서라면",
        "이 주소에서의 1시간 호출 수(412건, +1.3)",
        "접근 키 비활성화",
        "이 접근 키를 사용하는 모든 작업",
    ] {
        assert!(html.contains(expected), "missing: {expected}");
    }
}

#[test]
fn cases_stand_by_urgency_whatever_order_they_came_in() {
    let mut findings = sample::findings();
    let html = self::html(&findings);
    let place = |text: &str| html.find(text).unwrap_or_else(|| panic!("missing: {text}"));
    let (section, rest) = (place("id=\"cases\""), place("id=\"case-1\""));
    let table = &html[section..rest];
    let order: Vec<_> = ["ci-deploy", "nightly-report-lambda", "SecurityAudit"].map(|who| table.find(who)).into();
    assert!(order.is_sorted() && order.iter().all(Option::is_some), "{order:?}");
    findings.cases.reverse();
    assert_eq!(html, self::html(&findings));
}

#[test]
fn emptiness_is_told_as_it_is() {
    let nothing_read = html(&Findings::default());
    check_inert(&nothing_read);
    assert!(nothing_read.contains("There was nothing to judge") && !nothing_read.contains("id=\"timeline\""));

    let quiet = html(&sample::with_cases(sample::findings(), vec![]));
    check_inert(&quiet);
    for expected in [
        "gave cause for a case",
        "It is not proof that nothing happened",
        "Not looked for",
        "4 records could not be read",
    ] {
        assert!(quiet.contains(expected), "missing: {expected}");
    }

    let benign = sample::with_cases(sample::findings(), sample::findings().cases[..1].to_vec());
    assert!(html(&benign).contains("No case looks like an attack; 1 case proved benign."));
}

#[test]
fn many_cases_are_cut_and_the_cut_is_said() {
    let cases = (0..CASES_MAX + 37)
        .map(|number| {
            let at = sample::time("2024-07-26T09:00:00Z").plus_ms(number as i64 * 60_000);
            let signals = vec![sample::signal(number, at, ("iam", "ListUsers"), Level::Caution, &[4])];
            sample::finding(&format!("{number:016x}"), signals, Verdict::Suspicious, Severity::Medium, 0.6)
        })
        .collect();
    let findings = sample::with_cases(sample::findings(), cases);
    let html = self::html(&findings);
    assert_eq!(html.matches("<article").count(), CASES_MAX);
    assert!(html.contains("The 200 most urgent of 237 cases stand here; the other 37 are in the file"));
    assert!(html.contains("not marked here for want of room"));
}

#[test]
fn a_clock_set_to_1970_does_not_squeeze_the_timeline() {
    let mut findings = sample::findings();
    for text in ["1970-01-01T00:00:00Z", "9999-12-30T00:00:00Z"] {
        findings.histogram.record(sample::time(text), Level::None);
    }
    let html = self::html(&findings);
    assert!(html.contains("one bar is 2 h") && html.contains("2 events far outside this time are not drawn"));
}

#[test]
fn the_file_stays_bounded() {
    let mut findings = sample::findings();
    findings.cases = vec![findings.cases[2].clone(); CASES_MAX];
    for signal in findings.cases.iter_mut().take(20).flat_map(|finding| &mut finding.case.signals) {
        signal.details.parameters = format!("{{\"text\":\"{}\"}}", "y".repeat(4_000));
    }
    let html = self::html(&findings);
    assert!(html.contains("Parameters left out to keep this file small"));
    assert!(html.len() < 24 << 20, "{} bytes", html.len());
}
