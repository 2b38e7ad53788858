use std::sync::Arc;

use trailwarden_core::plan::Action;
use trailwarden_core::plan::own::FILE_BYTES_MAX;
use trailwarden_core::resource::Resource;
use trailwarden_core::time::Timestamp;

use super::*;
use crate::{CaseContext, calls, cli_text, denial, own_policy, permissions};

const LOCK: &str = include_str!("../../../../tests/fixtures/playbooks/lock_user.yml");
const RETIRE: &str = include_str!("../../../../tests/fixtures/playbooks/retire_key.yml");
const CASE: CaseContext<'static> = CaseContext { case_id: "c1", reference_time: Timestamp::from_millis(0) };

fn own(yaml: &str) -> Arc<OwnPlaybook> {
    Arc::new(load(yaml).unwrap_or_else(|flaws| panic!("{flaws:?}")))
}

fn action(yaml: &str, id: &str) -> Action {
    let own = own(yaml);
    let target = Resource {
        kind: own.answers.target,
        account: "111122223333".to_owned(),
        region: "eu-west-1".to_owned(),
        id: id.to_owned(),
        created: false,
    };
    Action::of_own(own, target)
}

fn flaws(yaml: &str) -> Vec<String> {
    load(yaml).map_or_else(|flaws| flaws.iter().map(Flaw::to_string).collect(), |_| vec![])
}

#[test]
fn a_playbook_is_spelled_out_with_its_slots_filled() {
    let step = calls(&action(LOCK, "arn:aws:iam::111122223333:user/ops/alice"), &CASE);
    let tags = json!([{ "Key": "security:case", "Value": "c1" }]);
    assert_eq!(step.calls[0].parameters, json!({ "UserName": "alice", "Tags": tags }));
    assert_eq!(step.calls[1].parameters["PolicyName"], "Locked-c1");
    assert_eq!(step.calls[1].region, None);
    assert!(cli_text(&step.calls[1]).starts_with("aws iam put-user-policy "));
    let Undo::Calls(undo) = &step.undo else { panic!("it has an undo") };
    assert_eq!(undo[1].parameters, json!({ "UserName": "alice", "TagKeys": ["security:case"] }));
    assert_eq!(step.verify[0].expect, Expect::Contains(json!({ "Key": "security:case", "Value": "c1" })));
    assert!(matches!(&step.verify[1].expect, Expect::Statements(text) if text.contains("Deny")));
    let step = calls(&action(RETIRE, "AKIAEXAMPLE"), &CASE);
    assert_eq!(step.captured_first[0].keeps[0].name, "user");
    assert_eq!(step.calls[0].parameters["UserName"], json!({ "$captured": "user" }));
    assert_eq!(step.calls[0].when, Some(When::Known("user".into())));
}

#[test]
fn a_name_from_a_record_cannot_end_the_document_that_it_stands_in() {
    let document = r#"'{"Statement":[{"Effect":"Deny","Action":"s3:*","Resource":"arn:aws:s3:::${target}/*"}]}'"#;
    let yaml = LOCK
        .replace(r#"'{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'"#, document);
    for name in ["x\"},{\"Effect\":\"Allow", "a\nb", "$(x)", ""] {
        let step = calls(&action(&yaml, name), &CASE);
        let text = step.calls[1].parameters["PolicyDocument"].as_str().expect("text").to_owned();
        let read: Value = serde_json::from_str(&text).expect("JSON");
        assert_eq!(read["Statement"].as_array().map(Vec::len), Some(1), "{text}");
        assert!(step.notes.iter().any(|note| note.contains("may be forged")));
    }
}

#[test]
fn its_policy_and_its_session_name_its_own_calls_and_no_others() {
    let policy = own_policy(&own(LOCK));
    let expect = [
        "iam:DeleteUserPolicy",
        "iam:GetUserPolicy",
        "iam:ListUserTags",
        "iam:PutUserPolicy",
        "iam:TagUser",
        "iam:UntagUser",
    ];
    assert_eq!(policy["Statement"][0]["Action"], json!(expect));
    let action = action(LOCK, "alice");
    let session = permissions::session_policy(&calls(&action, &CASE), &action, &CASE);
    assert!(session.contains(":user/alice") && !session.contains(r#""Resource":["*"]"#), "{session}");
    // A denial of the operator's is rehearsed like any.
    assert!(denial(&action, &CASE).is_some_and(|denial| denial.policy.contains("Deny")));
    assert!(denial(&self::action(RETIRE, "AKIAEXAMPLE"), &CASE).is_some());
}

#[test]
fn what_may_not_be_called_is_said_by_its_line() {
    let put = "call: iam PutUserPolicy";
    let allow = LOCK.replacen("\"Effect\":\"Deny\"", "\"Effect\":\"Allow\"", 1);
    let twice = LOCK.replacen("\"Effect\":\"Deny\"", "\"Effect\":\"Allow\",\"Effect\":\"Deny\"", 1);
    for (yaml, line, says) in [
        (LOCK.replacen("iam TagUser", "iam TagUsr", 1), 14, "the nearest are iam TagUser"),
        (LOCK.replacen("iam TagUser", "iam DeleteUser", 1), 14, "none of the operations"),
        (LOCK.replacen("iam TagUser", "sts AssumeRole", 1), 14, "calls it for itself"),
        (LOCK.replacen(put, "call: iam GetUser", 1), 16, "none of the operations"),
        (LOCK.replacen("Tags[0].Key", "Tags[1].Key", 1), 15, "needs Tags[0].Key"),
        (LOCK.replacen("Tags[0].Key", "Tags.Key", 1), 15, "name its item"),
        (LOCK.replacen("Tags[0].Value", "Tags[0].Valu", 1), 15, "there are Key, Value"),
        (LOCK.replacen("PolicyName: \"Locked", "Policy: \"Locked", 1), 19, "there is no such parameter"),
        (allow, 16, "\"Effect\": \"Deny\""),
        (twice, 16, "\"Effect\": \"Deny\""),
        (LOCK.replacen("tier: T2", "tier: T1", 1), 9, "T2 is the least: iam PutUserPolicy deserves it"),
        (LOCK.replacen("iam ListUserTags", "iam UntagUser", 1), 22, "here only reads stand"),
        (RETIRE.replacen("Status: Inactive", "Status: Active", 1), 13, "only an undo makes it Active"),
        (RETIRE.replacen("Status: Inactive", "Status: Off", 1), 14, "Active or Inactive"),
        (RETIRE.replacen("UserName}", "Name}", 1), 11, "there are"),
    ] {
        let found = flaws(&yaml);
        let is_told = found.iter().any(|flaw| flaw.starts_with(&format!("line {line}, ")) && flaw.contains(says));
        assert!(is_told, "{says}: {found:#?}");
    }
    let block = |parts: &str| {
        let with = format!("call: s3 PutPublicAccessBlock\n    with: {{Bucket: logs, {parts}}}");
        LOCK.replacen("call: iam TagUser\n    with: {UserName: \"${target}\", \"Tags[0].Key\": \"security:case\", \"Tags[0].Value\": \"${case}\"}", &with, 1)
    };
    let part = |name: &str, value: &str| format!("PublicAccessBlockConfiguration.{name}: {value}");
    let all = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];
    let all = all.map(|name| part(name, "\"true\"")).join(", ");
    assert!(flaws(&block(&all)).iter().all(|flaw| !flaw.contains("four parts")), "{:?}", flaws(&block(&all)));
    for open in [part("BlockPublicAcls", "\"true\""), all.replacen("\"true\"", "\"false\"", 1)] {
        let found = flaws(&block(&open));
        assert!(found.iter().any(|flaw| flaw.contains("four parts")), "{found:?}");
    }
    let blind = LOCK.replace("${target}", "alice");
    assert!(flaws(&blind).iter().any(|flaw| flaw.contains("no step is about the target")), "{:?}", flaws(&blind));
}

/// Every operation of the table may stand in some playbook or is refused in words; none is unknown to the lint.
#[test]
fn every_operation_has_a_tier_and_no_grant_passes_for_a_step() {
    let table = TABLE.as_ref().expect("whole");
    for (service, name) in table.all() {
        assert!(operation(service, name).is_some());
        let call = OwnCall { service: service.to_owned(), operation: name.to_owned(), ..OwnCall::default() };
        let gives = ["Put", "Attach", "Create", "Add", "Authorize", "Delete", "Detach"]
            .iter()
            .any(|head| name.starts_with(head));
        let passes = lint::allowed(service, name, &call, false).is_ok();
        let harmless = ["CreateTags", "PutFunctionConcurrency"];
        assert!(!gives || !passes || harmless.contains(&name), "{service} {name}");
    }
}

#[test]
fn a_definition_that_nobody_linted_is_spelled_without_calls() {
    let mut wild = load(LOCK).expect("good");
    wild.steps[0].operation = "DeleteUser".to_owned();
    let step = calls(&Action::of_own(Arc::new(wild), action(LOCK, "alice").target), &CASE);
    assert!(step.calls.is_empty());
    // A name that a shell would not take for a variable's.
    let mut wild = load(RETIRE).expect("good");
    wild.steps[0].only_if = Some(Condition::Known("x\"; id; \"".to_owned()));
    let step = calls(&Action::of_own(Arc::new(wild), action(RETIRE, "AKIAEXAMPLE").target), &CASE);
    assert!(step.calls.is_empty());
    let bare = Action::proposed(trailwarden_core::plan::Playbook::Own, action(LOCK, "alice").target);
    assert!(calls(&bare, &CASE).calls.is_empty());
    assert!(load(&"x".repeat(FILE_BYTES_MAX + 1)).is_err());
}
