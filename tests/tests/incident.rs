//! An authored incident, cold: two ordinary days of a small organisation and one intrusion. See its README.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use trailwarden_tests::command::trailwarden;
use trailwarden_tests::repository::root;

#[test]
fn the_intrusion_is_one_malicious_case_and_the_busy_lead_is_none() {
    let run =
        trailwarden(["scan", "--format", "jsonl"]).arg(root().join("tests/fixtures/incident/incident.jsonl")).run();
    run.assert_code(0);
    let cases: Vec<serde_json::Value> = run.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let malicious: Vec<_> = cases.iter().filter(|case| case["verdict"] == "malicious").collect();
    assert_eq!(malicious.len(), 1, "{}", run.told());
    assert!(malicious[0]["principal"].as_str().unwrap().ends_with("user/ci-staging"), "{}", malicious[0]);
    let truth = trailwarden_tests::repository::text("tests/fixtures/incident/truth.jsonl").unwrap();
    let planted = truth.lines().count();
    let found = malicious[0]["event_ids"].as_array().unwrap().len();
    assert!(found * 3 >= planted, "{found} of {planted}");
}
