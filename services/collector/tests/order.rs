//! Order and duplicates: the same events whatever the files, the threads and the memory.

mod support;

use proptest::prelude::*;
use support::{gzip, memory, options, record, records, run};
use trailwarden_collector::{Input, Limits, Options};

#[test]
fn duplicates_collapse_and_conflicts_are_decided_by_content() {
    let same = record("same", 5);
    let text = vec![same.as_str(); 20_000].join("\n");
    let (summary, _) = run(&[memory("a", text.clone()), memory("b", text)], &options(2));
    assert_eq!((summary.events, summary.duplicates, summary.conflicting), (1, 39_999, 0));
    let other = same.replace("192.0.2.7", "192.0.2.8").replace("10:00:05", "10:00:01");
    let (first, one) = run(&[memory("a", same.clone()), memory("b", other.clone())], &options(1));
    let (_, two) = run(&[memory("a", other), memory("b", same)], &options(2));
    assert_eq!((first.events, first.conflicting), (1, 1));
    assert_eq!(one, two);
}

#[test]
fn what_does_not_fit_in_memory_is_spilled_and_comes_out_the_same() {
    let mut lines = records(60_000);
    lines.extend(records(5_000));
    lines.rotate_left(31_000);
    let text = lines.join("\n");
    let (roomy, expected) = run(&[memory("a", text.clone())], &options(2));
    assert_eq!((roomy.events, roomy.duplicates, roomy.runs_spilled), (60_000, 5_000, 0));
    let tight = Options { limits: Limits { memory_bytes_max: 3 << 20, ..Limits::default() }, ..options(2) };
    let (spilled, events) = run(&[memory("a", text)], &tight);
    assert!(spilled.runs_spilled > 4, "{}", spilled.runs_spilled);
    assert!(events == expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn any_split_over_files_and_threads_gives_the_same(
        picks in prop::collection::vec((0_u32..40, 0_u32..3, any::<bool>()), 1..80),
        files in 1_usize..6,
        threads in 1_usize..5,
        shuffle in any::<u64>(),
        chatty in any::<bool>(),
    ) {
        // Few ids and few times, so that duplicates, conflicts and ties all occur.
        let lines: Vec<String> = picks.iter().map(|(id, second, derived)| {
            let text = record(&format!("event-with-a-common-start-{id}"), *second);
            if *derived { text.replace("\"eventID\"", "\"x\"") } else { text }
        }).collect();
        let (mut summary, expected) = run(&[memory("all", lines.join("\n"))], &options(1));
        let mut parts = vec![Vec::new(); files];
        for (index, line) in lines.iter().enumerate() {
            parts[(index as u64).wrapping_mul(shuffle | 1).rotate_left(17) as usize % files].push(line.as_str());
        }
        let inputs: Vec<Input> = parts.iter().enumerate().rev().map(|(index, part)| {
            let text = match index % 3 {
                0 => part.join("\n"),
                1 => format!("{{\"Records\":[{}]}}", part.join(",")),
                _ => format!("[\n{}\n]", part.join(",\n")),
            };
            let bytes = if chatty { gzip(text.as_bytes()) } else { text.into_bytes() };
            memory(&format!("file-{index}"), bytes)
        }).collect();
        let tight = Options {
            limits: Limits { memory_bytes_max: 1 << 20, ..Limits::default() },
            ..options(threads)
        };
        let (split, events) = run(&inputs, &tight);
        prop_assert_eq!(events, expected);
        summary.files = split.files;
        prop_assert_eq!(split.duplicates, summary.duplicates);
        prop_assert_eq!(split.conflicting, summary.conflicting);
    }

    #[test]
    fn arbitrary_bytes_never_panic(
        bytes in prop::collection::vec(any::<u8>(), 0..300),
        json in r#"[\[\]{}",:\\ue0-9\n -]{0,60}"#,
        at in any::<prop::sample::Index>(),
        cut in any::<prop::sample::Index>(),
    ) {
        let valid = format!("{{\"Records\":[{}]}}", records(3).join(","));
        let place = at.index(valid.len());
        let mut spoilt = valid.clone().into_bytes();
        spoilt.splice(place..place, bytes.iter().copied());
        let mut spoilt_gzip = gzip(valid.as_bytes());
        let place = at.index(spoilt_gzip.len() - 2) + 2;
        spoilt_gzip[place] = spoilt_gzip[place].wrapping_add(1);
        let inputs = [
            memory("a", bytes), memory("b", json.clone().into_bytes()), memory("c", spoilt),
            memory("d", spoilt_gzip), memory("e", valid.as_bytes()[..cut.index(valid.len())].to_vec()),
            memory("f", format!("{{\"Records\":[{json}")), memory("g", format!("{{\"eventName\":{json}}}")),
        ];
        let (summary, _) = run(&inputs, &options(2));
        prop_assert_eq!(summary.files, 7);
    }
}
