use proptest::prelude::*;

use super::*;
use crate::activity::{Credential, Details, PrincipalKind};
use crate::feature::FeatureVector;
use crate::level::Level;

fn at(minutes: i64) -> Timestamp {
    Timestamp::from_millis(minutes * MINUTE_MS)
}

fn signal(minutes: i64, session: &str, score: f64) -> Signal {
    Signal {
        event_id: format!("{session}-{minutes}"),
        event_time: at(minutes),
        account: "111122223333".into(),
        region: "eu-west-1".into(),
        service: "iam".into(),
        call: "CreateUser".into(),
        principal: format!("principal of {session}"),
        principal_kind: PrincipalKind::Role,
        session: session.into(),
        session_name: String::new(),
        credential: Credential::TemporaryKey,
        mfa: None,
        source: String::new(),
        user_agent: String::new(),
        error_code: None,
        read_only: None,
        score,
        level: Level::None,
        detections: Vec::new(),
        features: FeatureVector::default(),
        learned: None,
        reasons: Vec::new(),
        details: Details::default(),
    }
}

fn link(parent: &str, child: &str) -> Link {
    Link { parent: Node::Session(parent.into()), child: Node::Session(child.into()) }
}

/// Runs steps in the given order; each is (minute, links, signal).
fn run(steps: Vec<(i64, Vec<Link>, Option<Signal>)>) -> Vec<Vec<String>> {
    let mut builder = Builder::new(Limits::default());
    let mut cases = Vec::new();
    for (minutes, links, signal) in steps {
        cases.extend(builder.step(at(minutes), &links, signal));
    }
    cases.extend(builder.finish());
    let mut ids: Vec<Vec<String>> =
        cases.iter().map(|case| case.signals.iter().map(|signal| signal.event_id.clone()).collect()).collect();
    ids.sort();
    ids
}

#[test]
fn cuts_by_quiet_time_and_length() {
    let steps = |minutes: &[i64]| minutes.iter().map(|m| (*m, vec![], Some(signal(*m, "a", 0.5)))).collect();
    assert_eq!(run(steps(&[0, 15, 30])).len(), 1);
    assert_eq!(run(steps(&[0, 16])).len(), 2);
    let long: Vec<i64> = (0..50).map(|step| step * 10).collect();
    let cases = run(steps(&long));
    assert_eq!(cases.iter().map(Vec::len).sum::<usize>(), 50);
    assert_eq!(cases.len(), 2);
}

#[test]
fn a_lineage_is_one_case_over_principals_and_accounts() {
    let cases = run(vec![
        (0, vec![], Some(signal(0, "a", 0.5))),
        (1, vec![link("a", "b")], None),
        (2, vec![], Some(signal(2, "b", 0.5))),
        (3, vec![], Some(signal(3, "stranger", 0.5))),
    ]);
    assert_eq!(cases, vec![vec!["a-0".to_owned(), "b-2".to_owned()], vec!["stranger-3".to_owned()]]);
}

#[test]
fn keeps_the_heaviest_in_full_and_the_ids_of_all() {
    let mut builder = Builder::new(Limits { signals_full_max: 4, ..Limits::default() });
    for step in 0..40 {
        builder.step(
            at(step / 4),
            &[],
            Some(Signal {
                event_id: format!("{step:02}"),
                ..signal(step / 4, "a", if step == 20 { 0.9 } else { 0.1 })
            }),
        );
    }
    let cases = builder.finish();
    assert_eq!((cases.len(), cases[0].signals.len(), cases[0].further_event_ids.len()), (1, 4, 36));
    assert!(cases[0].signals.iter().any(|signal| signal.score > 0.8));
}

proptest! {
    /// Links that come up to a quarter of an hour late, in any order, end in the same cases.
    #[test]
    fn late_links_change_nothing(delays in prop::collection::vec(0_i64..14, 4), minutes in prop::collection::vec(0_i64..40, 5..20)) {
        let names = ["a", "b", "c", "d", "e"];
        let signals = || minutes.iter().enumerate().map(|(index, minute)| {
            (*minute, vec![], Some(Signal { event_id: format!("{index}"), ..signal(*minute, names[index % 5], 0.5) }))
        });
        let links = |delay: &dyn Fn(usize) -> i64| {
            (0..4).map(|index| (delay(index), vec![link(names[index], names[index + 1])], None)).collect::<Vec<_>>()
        };
        let ordered = |late: Vec<(i64, Vec<Link>, Option<Signal>)>| {
            let mut steps: Vec<_> = signals().chain(late).collect();
            steps.sort_by_key(|(minute, _, _)| *minute);
            run(steps)
        };
        prop_assert_eq!(ordered(links(&|_| 0)), ordered(links(&|index| delays[index])));
    }
}

fn builder(steps: Vec<(i64, Vec<Link>, Option<Signal>)>) -> Builder {
    let mut builder = Builder::new(Limits::default());
    steps.into_iter().for_each(|(minutes, links, signal)| {
        builder.step(at(minutes), &links, signal);
    });
    builder
}

#[test]
fn an_open_case_is_shown_as_it_would_end() {
    let steps = || {
        vec![
            (0, vec![], Some(signal(0, "a", 0.5))),
            (20, vec![], Some(signal(20, "a", 0.5))),
            (25, vec![], Some(signal(25, "a", 0.9))),
        ]
    };
    let mut open = builder(steps());
    let shown = open.open_case(&Place::of(&signal(25, "a", 0.9))).expect("open");
    let ended = builder(steps()).finish();
    assert_eq!((ended.len(), &shown), (2, &ended[1]));
    assert_eq!(open.open_case(&Place::of(&signal(0, "a", 0.5))).as_ref(), ended.first());
    assert_eq!(open.open_case(&Place::of(&signal(1, "a", 0.5))), None);
    assert_eq!(open.finish(), ended);
    assert_eq!(open.open_case(&Place::of(&signal(25, "a", 0.9))), None);
}

#[test]
fn a_case_names_the_ids_that_it_was_shown_under() {
    let mut builder = builder(vec![
        (0, vec![], Some(signal(0, "a", 0.5))),
        (3, vec![], Some(signal(3, "b", 0.5))),
        (5, vec![], Some(signal(5, "c", 0.5))),
    ]);
    let mut shown = |minutes: i64, session: &str| {
        let case = builder.open_case(&Place::of(&signal(minutes, session, 0.5))).expect("open");
        (case.id, case.replaces)
    };
    let (a, b, c) = (shown(0, "a"), shown(3, "b"), shown(5, "c"));
    assert!(a.1.is_empty() && b.1.is_empty() && a.0 != b.0);
    builder.step(at(6), &[link("b", "c")], None);
    assert_eq!(builder.open_case(&Place::of(&signal(5, "c", 0.5))).map(|case| case.replaces), Some(vec![c.0.clone()]));
    builder.step(at(7), &[link("a", "b")], None);
    // A late signal comes first.
    builder.step(at(8), &[], Some(Signal { event_id: "late".into(), ..signal(-1, "c", 0.5) }));
    let cases = builder.finish();
    let mut expected = vec![a.0, b.0, c.0];
    expected.sort();
    assert_eq!((cases.len(), &cases[0].replaces), (1, &expected));
}
