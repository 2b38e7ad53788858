//! Playbooks of one's own, and evidence, as people see them.
#![allow(clippy::disallowed_methods, reason = "reads and writes files of its own")]
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use serde_json::Value;
use trailwarden_core::response::digest;
use trailwarden_servers::Moto;
use trailwarden_tests::command::trailwarden;
use trailwarden_tests::repository::root;

const LOCK: &str = "tests/fixtures/playbooks/lock_user.yml";

#[test]
fn a_playbook_is_linted_planned_listed_and_has_its_policy() {
    let folder = tempfile::tempdir().unwrap();
    let run = trailwarden(["playbook", "test"]).arg(root().join(LOCK)).run();
    run.assert_code(0).assert_says(&["nothing was called"]);
    for said in ["lock_user (T2) on user example", "aws iam put-user-policy", "aws iam untag-user", "iam:PutUserPolicy"]
    {
        assert!(run.stdout.contains(said), "{said}: {}", run.told());
    }
    let flawed = folder.path().join("flawed.yml");
    let text = std::fs::read_to_string(root().join(LOCK)).unwrap();
    std::fs::write(&flawed, text.replace("tier: T2", "tier: T1").replace("iam TagUser", "iam DeleteUser")).unwrap();
    let run = trailwarden(["playbook", "test"]).arg(&flawed).run();
    run.assert_code(2).assert_says(&["line 9, column 7: T1 is too low", "the nearest are"]);
    let config = folder.path().join("trailwarden.toml");
    std::fs::write(&config, format!("[playbooks]\nfiles = ['{}']\n", root().join(LOCK).display())).unwrap();
    let run = trailwarden(["playbook", "list", "--config"]).arg(&config).run();
    run.assert_code(0);
    assert!(run.stdout.lines().any(|line| line.starts_with("lock_user ") && line.contains(" T2 ")), "{}", run.told());
    let run = trailwarden(["playbook", "policy", "lock_user", "--config"]).arg(&config).run();
    run.assert_code(0);
    let policy: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(policy["Statement"][0]["Action"].as_array().map(Vec::len), Some(6));
    trailwarden(["playbook", "policy", "lock_user"]).run().assert_code(2);
    // It stands in the plan of a case that it answers.
    let cases = folder.path().join("cases.jsonl");
    let logs = root().join("tests/fixtures/incident/incident.jsonl");
    trailwarden(["scan"]).arg(&logs).arg("--config").arg(&config).arg("--cases").arg(&cases).run().assert_code(0);
    let lines = std::fs::read_to_string(&cases).unwrap();
    let has_step = lines.lines().any(|line| {
        let case: Value = serde_json::from_str(line).unwrap();
        case["plan"].as_array().unwrap().iter().any(|step| step["playbook"] == "lock_user" && step["tier"] == "T2")
    });
    assert!(has_step, "{lines}");
}

#[test]
fn a_playbook_is_tried_on_an_aws_of_this_machine_and_leaves_it_as_it_was() {
    let moto = Moto::start();
    let session = moto.query("iam", "Action=CreateUser&UserName=alice&Version=2010-05-08");
    assert!(session.contains("alice"));
    let endpoint = moto.url();
    let tried = |target: &str| {
        let arguments = ["--endpoint", &endpoint, "--target", target, "--account", "123456789012"];
        trailwarden(["playbook", "test"]).arg(root().join(LOCK)).args(arguments).run()
    };
    let run = tried("alice");
    run.assert_code(0);
    for said in ["changed while it stood, and is as it was", "verified, undone, and the account is as it was"] {
        assert!(run.stdout.contains(said), "{said}: {}", run.told());
    }
    // Whom nobody knows cannot be stopped.
    let run = tried("nobody");
    run.assert_code(1);
    assert!(run.stdout.contains("NOT verified"), "{}", run.told());
}

#[test]
fn a_case_of_logs_is_preserved_once_with_its_digests() {
    let folder = tempfile::tempdir().unwrap();
    let logs = root().join("tests/fixtures/incident/incident.jsonl");
    let cases = folder.path().join("cases.jsonl");
    trailwarden(["scan"]).arg(&logs).arg("--cases").arg(&cases).run().assert_code(0);
    let lines = std::fs::read_to_string(&cases).unwrap();
    let case: Value = serde_json::from_str(lines.lines().next().unwrap()).unwrap();
    let id = case["case_id"].as_str().unwrap().to_owned();
    let evidence = folder.path().join("evidence");
    let config = folder.path().join("trailwarden.toml");
    std::fs::write(&config, format!("[response]\nevidence = '{}'\n", evidence.display())).unwrap();
    let preserve = || {
        let run = trailwarden(["case", "preserve", &id, "--config"]).arg(&config).arg("--logs").arg(&logs).run();
        run.assert_code(0);
        run
    };
    let first = preserve();
    let place = first.stderr.split_whitespace().next().unwrap().to_owned();
    for (line, name) in first.stdout.lines().zip(["records.json", "case.capsule", "manifest.json"]) {
        let bytes = std::fs::read(evidence.join(&place).join(name)).unwrap();
        assert!(line.starts_with(&digest(&bytes)) && line.contains(name), "{line}");
    }
    let again = preserve();
    assert!(again.stderr.contains("was there already, and is unchanged"), "{}", again.told());
    trailwarden(["replay"]).arg(evidence.join(&place).join("case.capsule")).run().assert_code(0);
    trailwarden(["case", "preserve", &id, "--logs"])
        .arg(&logs)
        .run()
        .assert_code(2)
        .assert_says(&["response.evidence"]);
}
