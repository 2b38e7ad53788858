//! A real model of 135 million weights. It is fetched by `tests/install_model.sh`; where it is not there, that is said.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::llama::Cache;
use super::*;

const SHA256_OF_MODEL: &str = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53";

fn pinned() -> Option<Pinned> {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/models");
    let path = PathBuf::from(root).join("smollm2-135m-instruct-q4_1.gguf");
    if !path.is_file() {
        eprintln!("did not run: there is no model; ./tests/install_model.sh fetches it");
        return None;
    }
    Some(Pinned { path, sha256: SHA256_OF_MODEL.to_owned(), bytes_max: 100_000_000 })
}

/// Loaded once for all tests.
fn runner() -> Option<Arc<Runner>> {
    static RUNNER: OnceLock<Arc<Runner>> = OnceLock::new();
    let pinned = pinned()?;
    Some(Arc::clone(RUNNER.get_or_init(|| Arc::new(Runner::load(&pinned).unwrap()))))
}

fn form() -> Form {
    Form {
        before: "Answer with one word. What is the capital of ".to_owned(),
        after: "?".to_owned(),
        answers: ["Paris".to_owned(), "London".to_owned()],
    }
}

#[test]
fn a_real_forward_pass_knows_what_comes_next() {
    let Some(runner) = runner() else { return };
    for (text, next) in
        [("The capital of France is", " Paris"), ("The opposite of hot is", " cold"), ("1, 2, 3, 4, 5, 6, 7,", " ")]
    {
        assert_eq!(runner.next(text).unwrap(), next, "{text}");
    }
}

#[test]
fn text_survives_its_tokens_and_cannot_spell_control_tokens() {
    let Some(runner) = runner() else { return };
    for text in
        ["The capital of France", " two  spaces\n\ttab", "10.0.0.1:443", "한국어 é 🦀", "<|im_start|>system\n", ""]
    {
        let tokens = runner.tokens(text).unwrap();
        assert_eq!(runner.text(&tokens).unwrap(), text);
        // The vocabulary's first 17 are marks of turns and files.
        assert!(tokens.iter().all(|token| *token > 16), "{text}: {tokens:?}");
    }
    assert_eq!(runner.tokens("2026").unwrap().len(), 4, "digits stand alone");
    assert_eq!(runner.text(&runner.tokens("the cat").unwrap()[..1]).unwrap(), "the", "no space is put before");
    assert_eq!(runner.tokens(&"x ".repeat(100_000)).unwrap_err().kind(), crate::Kind::Local);
}

#[test]
fn reading_in_pieces_is_reading_at_once() {
    let Some(runner) = runner() else { return };
    let tokens = runner.tokens("The quick brown fox jumps over the lazy dog, and then it").unwrap();
    let whole = runner.llama.forward(&tokens, &mut Cache::default(), &always).unwrap();
    let mut cache = Cache::default();
    for piece in [&tokens[..1], &tokens[1..6], &tokens[6..7]] {
        runner.llama.forward(piece, &mut cache, &always).unwrap();
    }
    // What is read after a copy leaves the copied one as it was.
    runner.llama.forward(&[42, 43], &mut cache.clone(), &always).unwrap();
    let pieces = runner.llama.forward(&tokens[7..], &mut cache, &always).unwrap();
    let furthest = whole.iter().zip(&pieces).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    let spread = whole.iter().fold(0.0_f32, |most, logit| most.max(logit.abs()));
    assert!(furthest < spread / 500.0, "{furthest} of {spread}");
    assert!(runner.llama.forward(&[1; 3_000], &mut Cache::default(), &always).is_err());
    assert!(runner.llama.forward(&[], &mut Cache::default(), &always).is_err());
}

#[test]
fn a_vote_is_calibrated_and_the_same_each_time() {
    let Some(runner) = runner() else { return };
    let vote = Vote::new(Arc::clone(&runner), &form()).unwrap();
    let again = Vote::new(Arc::clone(&runner), &form()).unwrap();
    let weighed = ["France", "England"].map(|content| vote.weigh(content).unwrap());
    assert!(weighed[0].log_odds > 0.5 && weighed[1].log_odds < -0.5, "{weighed:?}");
    for (content, first) in ["France", "England"].iter().zip(&weighed) {
        assert_eq!(again.weigh(content).unwrap().raw.to_bits(), first.raw.to_bits());
        assert_eq!(first.log_odds, first.raw - first.leaning);
    }
    // Of questions without content nothing is left.
    let left: f64 = CONTENT_FREE.iter().map(|nothing| vote.weigh(nothing).unwrap().log_odds).sum();
    assert!(left.abs() < 1e-9, "{left}");
    // The answers' order turns the sign, and nothing else.
    let [first, second] = form().answers;
    let turned = Vote::new(Arc::clone(&runner), &Form { answers: [second, first], ..form() }).unwrap();
    assert_eq!(turned.weigh("France").unwrap().log_odds, -weighed[0].log_odds);
    for answers in [["A", "A"], ["A", "not one token"], ["", "A"]] {
        let form = Form { answers: answers.map(str::to_owned), ..form() };
        assert!(Vote::new(Arc::clone(&runner), &form).is_err(), "{answers:?}");
    }
}

#[tokio::test]
async fn a_voter_answers_in_time_or_not_at_all() {
    let Some(runner) = runner() else { return };
    let voter = Voter::awaited("small");
    let minute = Duration::from_secs(60);
    assert_eq!(voter.weigh("France", minute).await.unwrap_err().kind(), crate::Kind::Local);
    let vote = Vote::new(Arc::clone(&runner), &form()).unwrap();
    let expected = vote.weigh("France").unwrap();
    voter.give(vote);
    assert_eq!(voter.weigh("France", minute).await.unwrap(), expected);
    // Whoever has no time is told so at once, and the pass that nobody waits for ends and gives its place back.
    let no_time = Duration::ZERO;
    let error = voter.weigh(&"France ".repeat(500), no_time).await.unwrap_err();
    assert_eq!(error, crate::Error::Timeout { after: no_time });
    let (one, other) = tokio::join!(voter.weigh("France", minute), voter.weigh("France", minute));
    assert_eq!((one.unwrap(), other.unwrap()), (expected, expected));
    let vote = Vote::new(runner, &form()).unwrap();
    let error = vote.weigh_while("France", &|| false).unwrap_err();
    assert!(error.to_string().contains("given up after 0 layers"), "{error}");
}

#[test]
fn another_file_a_large_one_and_a_broken_one_are_refused() {
    let Some(pinned) = pinned() else { return };
    let refused = |pinned: &Pinned| Runner::load(pinned).map(|_| ()).unwrap_err().to_string();
    let other = Pinned { sha256: SHA256_OF_MODEL.replace('b', "c"), ..pinned.clone() };
    assert!(refused(&other).contains("another one was pinned"));
    assert!(refused(&Pinned { bytes_max: 1_000, ..pinned.clone() }).contains("at most 1000"));
    assert!(refused(&Pinned { path: "/nowhere".into(), ..pinned.clone() }).contains("cannot be read"));

    // Rightly pinned, and cut, turned or no model at all.
    let mut head = vec![0; 3_000_000];
    File::open(&pinned.path).unwrap().read_exact(&mut head).unwrap();
    let architecture = head.windows(5).position(|name| name == b"llama").unwrap();
    let with = |at: usize, byte: u8| {
        let mut turned = head.clone();
        turned[at] = byte;
        turned
    };
    let alignment_of_zero = {
        let mut file = b"GGUF\x03\0\0\0".to_vec();
        let key = b"general.alignment";
        for number in [0_u64, 1, key.len() as u64] {
            file.extend(number.to_le_bytes());
        }
        file.extend(key);
        file.extend([4, 0, 0, 0, 0, 0, 0, 0]);
        file
    };
    let path = std::env::temp_dir().join(format!("trailwarden-models-{}.gguf", std::process::id()));
    for bytes in [head.clone(), with(0, b'X'), with(8, 255), with(architecture, b'x'), alignment_of_zero, Vec::new()] {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
        file.write_all(&bytes).unwrap();
        let sha256 = digest(File::open(&path).unwrap()).unwrap();
        let error = refused(&Pinned { path: path.clone(), sha256, ..pinned.clone() });
        assert!(!error.contains("another one was pinned"), "{error}");
    }
    std::fs::remove_file(&path).unwrap();
}
