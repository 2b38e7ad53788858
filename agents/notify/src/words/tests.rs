use trailwarden_core::alert::Step;

use super::*;

pub(crate) fn case(severity: Severity) -> Alert {
    let step = |playbook: &str, target: &str, state| Step { playbook: playbook.into(), target: target.into(), state };
    let at = |text: &str| Timestamp::parse(text);
    Alert {
        account: "505999070655".into(),
        case: Some("10703b6e".into()),
        score: Some(0.997),
        verdict: "malicious".into(),
        reasons: vec![
            "created a credential for another principal".into(),
            "came from a network not seen before".into(),
        ],
        steps: vec![
            step("disable_access_key", "AKIAEXAMPLE", StepState::Done),
            step("quarantine_user_hard", "farid.olsen", StepState::Waits { approvers: 1 }),
        ],
        receipt: Receipt {
            event: at("2026-03-22T12:06:21Z"),
            delivered: at("2026-03-22T12:10:00Z"),
            scored: at("2026-03-22T12:10:00.020Z"),
            judged: at("2026-03-22T12:10:01Z"),
            acted: None,
        },
        ..Alert::new(
            "case:10703b6e:1",
            Kind::Case,
            severity,
            Timestamp::default(),
            "arn:aws:iam::505999070655:user/farid.olsen",
        )
    }
}

fn message(alert: Alert, count: u64) -> Message {
    let since = Timestamp::parse("2026-03-22T12:05:00Z").expect("a time");
    Message { id: "id".into(), alert: alert.bounded(), count, since }
}

fn said(alert: Alert, count: u64, language: Language) -> Words {
    words(&message(alert, count), language, None, Timestamp::parse("2026-03-22T12:10:03.500Z").expect("a time"))
}

#[test]
fn a_case_is_read_in_ten_seconds() {
    let words = said(case(Severity::Critical), 10, Language::English);
    assert_eq!(words.subject, "[CRITICAL] malicious activity by farid[.]olsen in 505999070655");
    assert_eq!(
        words.lines().join("\n"),
        "Probability of an attack by arn:aws:iam::505999070655:user/farid[.]olsen: > 99 %.
- created a credential for another principal
- came from a network not seen before

Response: 1 step done; 1 step waiting for one approver.
- disable_access_key AKIAEXAMPLE: done
- quarantine_user_hard farid[.]olsen: waits for one approver

9 more of this kind were held back since 12:05 UTC.

Look at the case: trailwarden case get 10703b6e
Severity: CRITICAL
Who: arn:aws:iam::505999070655:user/farid[.]olsen
Account: 505999070655
Case: 10703b6e
Probability: > 99 %
When: 2026-03-22 12:06:21 UTC
AWS delivered after: 3 min 39 s
You were told after: 3 s (20 ms + 980 ms + 2 s)"
    );
    let words = said(case(Severity::Critical), 10, Language::Korean);
    assert_eq!(words.subject, "[긴급] 악성 활동: farid[.]olsen (계정 505999070655)");
    assert_eq!(
        words.lines().join("\n"),
        "arn:aws:iam::505999070655:user/farid[.]olsen: 공격일 확률 > 99 %
- created a credential for another principal
- came from a network not seen before

대응: 완료 1건, 승인 대기(1명 필요) 1건.
- disable_access_key AKIAEXAMPLE: 완료
- quarantine_user_hard farid[.]olsen: 승인 대기(1명 필요)

12:05 UTC 이후 같은 종류의 알림 9건을 묶었습니다.

사건 보기: trailwarden case get 10703b6e
심각도: 긴급
주체: arn:aws:iam::505999070655:user/farid[.]olsen
계정: 505999070655
사건: 10703b6e
확률: > 99 %
발생 시각: 2026-03-22 12:06:21 UTC
AWS 전달까지: 3분 39초
알림까지: 3초 (20 ms + 980 ms + 2초)"
    );
}

#[test]
fn every_kind_says_something_of_its_own_in_both_languages() {
    for language in [Language::English, Language::Korean] {
        let mut subjects = std::collections::BTreeSet::new();
        for kind in Kind::ALL {
            for ended in [false, true] {
                let alert = Alert { kind: *kind, ended, what: "iam:CreateUser".into(), ..case(Severity::High) };
                let words = said(alert, 1, language);
                assert!(!words.lead.is_empty() && words.held.is_empty(), "{kind}");
                assert!(words.subject.contains("farid[.]olsen"), "{}", words.subject);
                assert!(subjects.insert(words.subject.clone()), "{} is said twice", words.subject);
                assert!(words.lines().iter().all(|line| !line.contains('\n')));
                let is_korean = words.lines().concat().chars().any(|c| ('\u{ac00}'..='\u{d7a3}').contains(&c));
                assert_eq!(is_korean, language == Language::Korean);
            }
        }
    }
}

#[test]
fn what_an_attacker_wrote_is_neither_a_line_nor_a_link() {
    let evil = "x\r\nBcc: all@example.org\u{202e}\u{1b}[2J https://evil.example www.evil.example; rm -rf /";
    let alert = Alert {
        account: evil.into(),
        case: Some(evil.into()),
        what: evil.into(),
        verdict: evil.into(),
        reasons: vec![evil.into()],
        steps: vec![Step { playbook: "p".into(), target: evil.into(), state: StepState::Proposed }],
        ..Alert::new(evil, Kind::Case, Severity::High, Timestamp::default(), evil)
    };
    for kind in Kind::ALL {
        for language in [Language::English, Language::Korean] {
            let words = said(Alert { kind: *kind, ..alert.clone() }, 3, language);
            for line in words.lines().iter().chain([&words.subject]) {
                assert!(!line.contains(trailwarden_core::untrusted::is_hidden), "{line:?}");
                assert!(!line.contains("://") && !line.contains("www.evil"), "{line:?}");
            }
            let Some(Link::Command { command, .. }) = words.link else { panic!() };
            assert!(command.bytes().all(|byte| byte.is_ascii_alphanumeric() || b" -_".contains(&byte)), "{command}");
        }
    }
    let url = Some("https://console.example/cases/{id}");
    let words = words(&message(alert, 1), Language::English, url, Timestamp::default());
    let Some(Link::Address { url, .. }) = words.link else { panic!() };
    assert!(url.starts_with("https://console.example/cases/x%5Cu%7Bd%7D") && !url.contains(' '), "{url}");
}

#[test]
fn a_receipt_says_what_is_known_and_no_more() {
    let whole = case(Severity::High);
    let of = |receipt: Receipt| {
        let words = said(Alert { receipt, ..whole.clone() }, 1, Language::English);
        words.facts.into_iter().map(|(label, value)| format!("{label}: {value}")).collect::<Vec<_>>().split_off(5)
    };
    let Receipt { event, delivered, judged, .. } = whole.receipt;
    assert_eq!(
        of(Receipt { delivered: None, scored: None, judged, ..whole.receipt })[1..],
        ["You were told after: 3 min 42 s (3 min 40 s + 2 s)"]
    );
    assert_eq!(of(Receipt { event, ..Receipt::default() })[1..], ["You were told after: 3 min 42 s"]);
    assert_eq!(of(Receipt { event, delivered, ..Receipt::default() }).len(), 3);
    // A clock that goes back makes no negative time.
    let later = Timestamp::parse("2027-01-01T00:00:00Z");
    assert_eq!(of(Receipt { event: later, ..Receipt::default() })[1..], ["You were told after: 0 s"]);
    assert_eq!(of(Receipt::default()).len(), 1);
}

#[test]
fn no_name_of_a_host_can_be_made_a_link_of() {
    for (text, expect) in [
        ("see evil.example/x or a.b.evil.co.uk", "see evil[.]example/x or a.b[.]evil[.]co[.]uk"),
        ("https://login.evil.example", "https[:]//login[.]evil[.]example"),
        ("xn--80ak6aa92e.xn--p1ai", "xn--80ak6aa92e[.]xn--p1ai"),
        ("пример.рф", "пример[.]рф"),
        ("mail@evil.zip, 203.0.113.7, 3.5 s. Then", "mail@evil[.]zip, 203.0.113.7, 3.5 s. Then"),
        ("www.1.2", "www[.]1.2"),
        ("arn:aws:iam::1:user/ada", "arn:aws:iam::1:user/ada"),
    ] {
        assert_eq!(inert(text), expect);
    }
}
