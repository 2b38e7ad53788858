use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use proptest::prelude::*;
use serde_json::{Value, json};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::resource::Resource;
use trailwarden_core::time::Timestamp;

use super::*;

const CASE: CaseContext<'static> = CaseContext {
    case_id: "c0ffee12",
    // 2024-07-30T21:31:21.250Z
    reference_time: Timestamp::from_millis(1_722_375_081_250),
};

fn action(playbook: Playbook, id: &str) -> Action {
    Action::proposed(
        playbook,
        Resource {
            kind: playbook.target_kind(),
            account: "111122223333".to_owned(),
            region: "eu-west-1".to_owned(),
            id: id.to_owned(),
            created: false,
        },
    )
}

fn undo_calls(step: &Step) -> &[Call] {
    match &step.undo {
        Undo::Calls(calls) => calls,
        Undo::Words(_) => &[],
    }
}

fn all_calls(step: &Step) -> impl Iterator<Item = &Call> {
    step.captured_first.iter().chain(&step.calls).chain(undo_calls(step))
}

/// Reads that look for something, and where in their answers.
fn reads(step: &Step) -> Vec<&Lookup> {
    let instead = step.instead.iter().flat_map(|instead| &instead.verify);
    let mut reads: Vec<_> = step.verify.iter().chain(instead).map(|check| &check.read).collect();
    reads.extend(all_calls(step).filter_map(|call| call.unless.as_deref()));
    reads
}

/// A path without its filters: what the table names.
fn unfiltered(path: &str) -> String {
    match (path.find("[?"), path.find(']')) {
        (Some(from), Some(to)) => format!("{}[]{}", &path[..from], &path[to + 1..]),
        _ => path.to_owned(),
    }
}

/// Every step of the menu, for an ordinary name and for what changes the calls: ARNs, aliases, owners.
fn menu_steps() -> Vec<(Playbook, Step)> {
    let mut steps = Vec::new();
    for playbook in Playbook::ALL {
        for id in ["alice", "arn:aws:kms:eu-west-1:111122223333:alias/main"] {
            let action = action(*playbook, id);
            steps.push((*playbook, calls(&action, &CASE)));
            steps.push((*playbook, calls(&action.owned_by("bob"), &CASE)));
        }
    }
    steps
}

/// What `operations.tsv` knows of an operation.
struct Operation {
    /// The operation's and the parameters' names on the command line, by their API names.
    spelled: BTreeMap<String, String>,
    /// Path -> (type, allowed values).
    parameters: BTreeMap<String, (String, Vec<String>)>,
    required: BTreeSet<String>,
    answers: BTreeSet<String>,
}

fn operations() -> BTreeMap<(String, String), Operation> {
    let table = include_str!("../data/operations.tsv");
    let mut operations = BTreeMap::new();
    for line in table.lines().filter(|line| !line.starts_with('#')) {
        let fields: Vec<_> = line.split('\t').collect();
        let [service, name, spelled, parameters, answers] = fields[..] else {
            panic!("{line}");
        };
        let mut operation = Operation {
            spelled: BTreeMap::new(),
            parameters: BTreeMap::new(),
            required: BTreeSet::new(),
            answers: answers.split(',').map(str::to_owned).collect(),
        };
        for parameter in parameters.split(',') {
            let (path, kind) = parameter.split_once(':').expect("path:type");
            let (kind, values) = kind.split_once('(').unwrap_or((kind, ""));
            let values = values.trim_end_matches(')').split('|').filter(|value| !value.is_empty());
            let plain = path.replace('!', "");
            if path.ends_with('!') {
                operation.required.insert(plain.clone());
            }
            let allowed = values.map(str::to_owned).collect();
            operation.parameters.insert(plain, (kind.to_owned(), allowed));
        }
        let top_level = operation.parameters.keys().filter(|path| !path.contains(['.', '[']));
        let names: Vec<_> = [name.to_owned()].into_iter().chain(top_level.cloned()).collect();
        let spelled: Vec<_> = spelled.split(',').collect();
        assert_eq!(names.len(), spelled.len(), "{line}");
        operation.spelled = names.into_iter().zip(spelled.into_iter().map(str::to_owned)).collect();
        operations.insert((service.to_owned(), name.to_owned()), operation);
    }
    operations
}

fn marker(value: &Value) -> Option<(&str, &str)> {
    let object = value.as_object()?;
    let (key, name) = object.iter().next()?;
    [CAPTURED, SUPPLIED].contains(&key.as_str()).then_some(())?;
    Some((key, name.as_str()?))
}

fn markers<'a>(value: &'a Value, found: &mut BTreeSet<(&'a str, &'a str)>) {
    match value {
        value if marker(value).is_some() => found.extend(marker(value)),
        Value::Array(items) => items.iter().for_each(|item| markers(item, found)),
        Value::Object(members) => members.values().for_each(|member| markers(member, found)),
        _ => {}
    }
}

/// Holds a value to the model, and its members to theirs.
fn check_value(operation: &Operation, path: &str, value: &Value) {
    if marker(value).is_some() {
        return;
    }
    let (kind, allowed) = operation.parameters.get(path).unwrap_or_else(|| panic!("no parameter {path}"));
    match (kind.as_str(), value) {
        ("string", Value::String(text)) => assert!(allowed.is_empty() || allowed.contains(text), "{path}: {text}"),
        ("integer" | "long", Value::Number(_)) | ("boolean", Value::Bool(_)) => {}
        ("list", Value::Array(items)) => {
            // Lists whose members are not in the table hold text.
            for item in items {
                let path = format!("{path}[]");
                if operation.parameters.contains_key(&path) {
                    check_value(operation, &path, item);
                } else {
                    assert!(item.is_string() || marker(item).is_some(), "{path}");
                }
            }
        }
        ("structure", Value::Object(members)) => {
            for (name, member) in members {
                check_value(operation, &format!("{path}.{name}"), member);
            }
            for required in operation.required.iter().filter_map(|known| known.strip_prefix(&format!("{path}."))) {
                assert!(required.contains(['.', '[']) || members.contains_key(required), "{path}.{required}");
            }
        }
        _ => panic!("{path}: {kind} is not {value}"),
    }
}

#[test]
fn every_call_is_one_that_aws_has() {
    let operations = operations();
    let mut used = BTreeSet::new();
    for (playbook, step) in menu_steps() {
        for read in reads(&step) {
            let key = (read.call.service.to_owned(), read.call.operation.to_owned());
            let operation = operations.get(&key).unwrap_or_else(|| panic!("{playbook:?}: {key:?}"));
            assert!(operation.answers.contains(&unfiltered(&read.path)), "{key:?}: {}", read.path);
        }
        for call in permissions::every_call(&step) {
            let key = (call.service.to_owned(), call.operation.to_owned());
            let operation = operations.get(&key).unwrap_or_else(|| panic!("{playbook:?}: {key:?}"));
            let parameters = call.parameters.as_object().expect("an object");
            for (name, value) in parameters {
                check_value(operation, name, value);
            }
            for required in operation.required.iter().filter(|path| !path.contains(['.', '['])) {
                assert!(parameters.contains_key(required), "{key:?} lacks {required}");
            }
            for kept in &call.keeps {
                assert!(operation.answers.contains(kept.path.as_ref()), "{key:?}: {}", kept.path);
            }
            let line = cli_text(call);
            assert!(line.contains(&operation.spelled[call.operation]), "{line}");
            for name in parameters.keys() {
                assert!(line.contains(&format!(" --{}", operation.spelled[name])), "{name}: {line}");
            }
            used.insert(key);
        }
    }
    let unused: Vec<_> = operations.keys().filter(|key| !used.contains(key)).collect();
    assert!(unused.is_empty(), "{unused:?}");
}

#[test]
fn every_step_calls_something_and_names_its_way_back() {
    for (playbook, step) in menu_steps() {
        assert!(!step.calls.is_empty(), "{playbook:?}");
        assert!(!step.blast_radius.is_empty(), "{playbook:?}");
        assert!(!step.verify.is_empty() || playbook == Playbook::PreserveLogs, "{playbook:?}");
        match &step.undo {
            Undo::Calls(calls) => assert!(!calls.is_empty(), "{playbook:?}"),
            Undo::Words(words) => assert!(words.len() > 10, "{playbook:?}"),
        }
    }
}

#[test]
fn every_sentence_of_a_step_is_told_in_korean() {
    let case = CaseContext { case_id: "c", reference_time: Timestamp::from_millis(0) };
    let mut steps: Vec<Step> = menu_steps().into_iter().map(|(_, step)| step).collect();
    // Those that say more: a temporary key, a name that is none, an account that is not named.
    steps.push(calls(&action(Playbook::DisableAccessKey, "ASIAEXAMPLE"), &case));
    steps.push(calls(&action(Playbook::TagUser, ""), &case));
    let mut nowhere = action(Playbook::ScpQuarantine, "");
    nowhere.target.account.clear();
    steps.push(calls(&nowhere, &case));
    for step in steps {
        let words = match step.undo {
            Undo::Words(words) => Some(words),
            Undo::Calls(_) => None,
        };
        for sentence in step.notes.into_iter().chain(words).chain([step.blast_radius]) {
            let korean = told(&sentence, Language::Korean);
            assert!(korean.chars().any(|c| ('가'..='힣').contains(&c)), "no Korean for: {sentence}");
            assert_eq!(told(&sentence, Language::English), sentence);
        }
    }
}

#[test]
fn what_a_call_uses_an_earlier_one_keeps() {
    for (playbook, step) in menu_steps() {
        let mut kept = BTreeSet::new();
        kept.extend(step.derived.iter().map(|derived| derived.name));
        for call in all_calls(&step) {
            let mut used = BTreeSet::new();
            markers(&call.parameters, &mut used);
            for (kind, name) in used {
                assert!(kind == SUPPLIED || kept.contains(name), "{playbook:?}: {name}");
            }
            kept.extend(call.keeps.iter().map(|kept| kept.name.as_ref()));
        }
    }
}

#[test]
fn inverses() {
    for (playbook, expect) in [
        (Playbook::TagUser, "TagUser / UntagUser"),
        (Playbook::TagRole, "TagRole / UntagRole"),
        (Playbook::TagInstance, "CreateTags / DeleteTags"),
        (Playbook::DisableAccessKey, "UpdateAccessKey / UpdateAccessKey"),
        (Playbook::QuarantineUserSoft, "AttachUserPolicy / DetachUserPolicy"),
        (Playbook::QuarantineUserHard, "PutUserPolicy / DeleteUserPolicy"),
        (Playbook::RevokeRoleSessions, "PutRolePolicy / DeleteRolePolicy"),
        (Playbook::LockRoleTrust, "UpdateAssumeRolePolicy / UpdateAssumeRolePolicy"),
        (Playbook::RemoveConsoleLogin, "DeleteLoginProfile / CreateLoginProfile"),
        (Playbook::DisableCreatedCredentials, "UpdateAccessKey / UpdateAccessKey"),
        (Playbook::DisableCreatedUser, "PutUserPolicy / DeleteUserPolicy"),
        (Playbook::DisableCreatedRole, "PutRolePolicy / DeleteRolePolicy"),
        (Playbook::RestoreTrail, "StartLogging UpdateTrail PutEventSelectors PutEventSelectors / "),
        (Playbook::RestoreDetector, "UpdateDetector / "),
        (Playbook::RestoreConfigRecorder, "StartConfigurationRecorder / "),
        (
            Playbook::BlockPublicS3,
            "PutPublicAccessBlock PutBucketAcl / PutPublicAccessBlock DeletePublicAccessBlock PutBucketAcl",
        ),
        (
            Playbook::ProtectS3Data,
            "PutBucketVersioning PutBucketPolicy / PutBucketPolicy DeleteBucketPolicy PutBucketVersioning PutBucketVersioning",
        ),
        (
            Playbook::IsolateEc2,
            "CreateSecurityGroup AuthorizeSecurityGroupIngress ModifyNetworkInterfaceAttribute \
             RevokeSecurityGroupIngress DescribeSecurityGroupRules RevokeSecurityGroupEgress / \
             ModifyNetworkInterfaceAttribute DeleteSecurityGroup",
        ),
        (Playbook::ForensicSnapshot, "CreateSnapshots / "),
        (Playbook::UnshareSnapshot, "ModifySnapshotAttribute ModifySnapshotAttribute / ModifySnapshotAttribute"),
        (Playbook::UnshareDbSnapshot, "ModifyDBSnapshotAttribute / ModifyDBSnapshotAttribute"),
        (
            Playbook::UnshareImage,
            "ModifyImageAttribute ModifyImageAttribute ModifyImageAttribute ModifyImageAttribute / ModifyImageAttribute ModifyImageAttribute ModifyImageAttribute",
        ),
        (
            Playbook::FreezeLambda,
            "PutFunctionConcurrency RemovePermission / PutFunctionConcurrency DeleteFunctionConcurrency AddPermission",
        ),
        (Playbook::RescueKms, "CancelKeyDeletion EnableKey / "),
        (Playbook::ScpQuarantine, "CreatePolicy AttachPolicy / DetachPolicy DeletePolicy"),
        (Playbook::PreserveLogs, "PutObject / "),
    ] {
        let step = calls(&action(playbook, "alice"), &CASE);
        let names = |calls: &[Call]| calls.iter().map(|call| call.operation).collect::<Vec<_>>().join(" ");
        assert_eq!(format!("{} / {}", names(&step.calls), names(undo_calls(&step))), expect);
    }
}

#[test]
fn parameters_are_stable() {
    let key = action(Playbook::DisableAccessKey, "AKIAIOSFODNN7EXAMPLE");
    let step = calls(&key.clone().owned_by("alice"), &CASE);
    assert_eq!(
        serde_json::to_value(&step.calls).expect("JSON"),
        json!([{
            "service": "iam",
            "operation": "UpdateAccessKey",
            "parameters": { "UserName": "alice", "AccessKeyId": "AKIAIOSFODNN7EXAMPLE", "Status": "Inactive" },
        }])
    );
    assert_eq!(
        cli_text(&step.calls[0]),
        "aws iam update-access-key --access-key-id AKIAIOSFODNN7EXAMPLE --status Inactive --user-name alice"
    );
    let unowned = calls(&key, &CASE);
    assert_eq!(unowned.captured_first[0].operation, "GetAccessKeyLastUsed");
    assert!(cli_text(&unowned.calls[0]).ends_with(r#"--user-name "$user_name""#));

    let step = calls(&action(Playbook::RevokeRoleSessions, "arn:aws:iam::111122223333:role/path/Deploy"), &CASE);
    let parameters = &step.calls[0].parameters;
    assert_eq!(parameters["RoleName"], "Deploy");
    assert_eq!(parameters["PolicyName"], "TrailwardenRevokeSessions-c0ffee12");
    let document: Value = serde_json::from_str(parameters["PolicyDocument"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        document["Statement"][0]["Condition"],
        json!({ "DateLessThan": { "aws:TokenIssueTime": "2024-07-30T21:31:22Z" } })
    );
    assert_eq!(step.calls[0].region, None);
}

#[test]
fn names_go_where_aws_wants_them() {
    let bucket = calls(&action(Playbook::BlockPublicS3, "arn:aws:s3:::reports"), &CASE);
    assert_eq!(
        cli_text(&bucket.calls[1]),
        "aws s3api put-bucket-acl --acl private --bucket reports --expected-bucket-owner 111122223333 \
         --region eu-west-1"
    );
    let recorder = calls(&action(Playbook::RestoreConfigRecorder, "default"), &CASE);
    assert_eq!(
        cli_text(&recorder.calls[0]),
        "aws configservice start-configuration-recorder --configuration-recorder-name default --region eu-west-1"
    );
    let detector = calls(&action(Playbook::RestoreDetector, "12ab"), &CASE);
    assert_eq!(
        cli_text(&detector.calls[0]),
        "aws guardduty update-detector --detector-id 12ab --enable --region eu-west-1"
    );
    let alias = calls(&action(Playbook::RescueKms, "alias/main"), &CASE);
    assert_eq!(alias.calls[0].parameters, json!({ "KeyId": { CAPTURED: "key_id" } }));
    let isolate = calls(&action(Playbook::IsolateEc2, "i-0abc"), &CASE);
    assert_eq!(
        cli_text(&isolate.calls[2]),
        r#"aws ec2 modify-network-interface-attribute --groups "$isolation_group_id" --network-interface-id "$network_interface_id" --region eu-west-1"#
    );
    assert_eq!(
        cli_text(&isolate.calls[4]),
        r#"aws ec2 describe-security-group-rules --filters '[{"Name":"group-id","Values":["'"$isolation_group_id"'"]}]' --region eu-west-1"#
    );
    assert_eq!(isolate.calls[0].parameters["GroupName"], "TrailwardenIsolation-c0ffee12-i-0abc");
    // Half done, the group lets everything in: that is no isolation.
    let checked: Vec<_> = isolate.verify.iter().map(|check| check.read.call.operation).collect();
    assert_eq!(checked, ["DescribeInstances", "DescribeSecurityGroupRules"]);
    let mut china = action(Playbook::QuarantineUserSoft, "alice");
    china.target.region = "cn-north-1".to_owned();
    let policy = &calls(&china, &CASE).calls[0].parameters["PolicyArn"];
    assert_eq!(policy, "arn:aws-cn:iam::aws:policy/AWSCompromisedKeyQuarantineV3");
}

#[test]
fn hostile_names_stay_names() {
    for (name, expect) in [
        ("a b", "--user-name 'a b'"),
        ("$(reboot)", "--user-name '$(reboot)'"),
        ("`reboot`", "--user-name '`reboot`'"),
        ("x; rm -rf /", "--user-name 'x; rm -rf /'"),
        ("it's", r"--user-name 'it'\''s'"),
        ("'; reboot #", r"--user-name ''\''; reboot #'"),
        ("-x", "--user-name='-x'"),
        ("--no-verify-ssl", "--user-name='--no-verify-ssl'"),
        ("~root", "--user-name '~root'"),
        ("a\nb\tc\u{1b}[2J", r"--user-name $'a\x0ab\x09c\x1b[2J'"),
        ("alice\0x", r"--user-name $'alice\xef\xbf\xbdx'"),
        ("ec\u{202e}ila", r"--user-name $'ec\xe2\x80\xaeila'"),
        ("\u{7f}'\\", r"--user-name $'\x7f\'\\'"),
        ("", "--user-name ''"),
    ] {
        let step = calls(&action(Playbook::RemoveConsoleLogin, name), &CASE);
        assert_eq!(cli_text(&step.calls[0]), format!("aws iam delete-login-profile {expect}"));
        assert!(step.notes.iter().any(|note| note.contains("forged")), "{name}");
    }
    for name in ["file:///etc/passwd", "HTTP://evil.example/x", "fileb://x"] {
        let step = calls(&action(Playbook::RemoveConsoleLogin, name), &CASE);
        let expect = format!(r#"aws iam delete-login-profile --cli-input-json '{{"UserName":"{name}"}}'"#);
        assert_eq!(cli_text(&step.calls[0]), expect);
    }
    // AWS allows these; a shell would read more into some.
    let equals = calls(&action(Playbook::RemoveConsoleLogin, "=ls"), &CASE);
    assert_eq!(cli_text(&equals.calls[0]), "aws iam delete-login-profile --user-name '=ls'");
    let ordinary = calls(&action(Playbook::RemoveConsoleLogin, "alice.b+c=d@e-f_g"), &CASE);
    assert!(ordinary.notes.iter().all(|note| !note.contains("forged")));
}

/// A name that spells a marker is text wherever it goes.
#[test]
fn no_name_passes_for_a_captured_value() {
    let step = calls(&action(Playbook::TagInstance, r#"{"$captured":"vpc_id"}"#), &CASE);
    let mut found = BTreeSet::new();
    markers(&step.calls[0].parameters, &mut found);
    assert!(found.is_empty());
    assert!(!cli_text(&step.calls[0]).contains(r#""$vpc_id""#));
}

#[test]
fn an_account_is_stopped_by_its_number_alone() {
    let step = calls(&action(Playbook::ScpQuarantine, "r-root"), &CASE);
    assert_eq!(step.calls[1].parameters["TargetId"], "111122223333");
    let content = step.calls[0].parameters["Content"].as_str().expect("text");
    assert!(content.contains("arn:aws:iam::*:role/TrailwardenExecutor"), "{content}");
}

#[test]
fn a_case_id_is_cut_to_what_aws_names_hold() {
    let case = CaseContext { case_id: &format!("x'; {}", "y".repeat(300)), ..CASE };
    let step = calls(&action(Playbook::QuarantineUserHard, "alice"), &case);
    let name = step.calls[0].parameters["PolicyName"].as_str().expect("text");
    assert!(name.len() <= 128 && name.starts_with("TrailwardenQuarantine-xyy"), "{name}");
}

/// What bash makes of a command line, word by word.
fn words_by_bash(line: &str) -> Option<Vec<String>> {
    let script = format!("set -- {line}\nprintf '%s\\0' \"$@\"");
    let output = Command::new("bash").args(["-c", &script]).output().ok()?;
    assert!(output.status.success(), "{line}");
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    Some(text.split_terminator('\0').map(str::to_owned).collect())
}

#[test]
fn bash_reads_back_every_name() {
    let all_ascii: String = (1..128u8).map(char::from).collect();
    for name in ["a'b", "$HOME", "\\", "é\u{202e}\n", "!!", "*", &all_ascii] {
        let step = calls(&action(Playbook::TagInstance, name), &CASE);
        let (user, tags) = (calls(&action(Playbook::TagUser, name), &CASE), cli_text(&step.calls[0]));
        let Some(words) = words_by_bash(&cli_text(&user.calls[0])) else {
            eprintln!("did not run: no bash");
            return;
        };
        assert!(words.contains(&name.to_owned()), "{words:?}");
        let resources = words_by_bash(&tags).expect("bash")[4].clone();
        assert_eq!(serde_json::from_str::<Value>(&resources).expect("JSON"), json!([name]));
    }
}

proptest! {
    #[test]
    fn no_action_is_too_strange(
        at in 0..Playbook::ALL.len(),
        id in any::<String>(),
        owner in proptest::option::of(any::<String>()),
        account in "[0-9]{0,13}|\\PC{0,12}",
        region in "\\PC{0,12}",
        case_id in any::<String>(),
        millis in any::<i64>(),
    ) {
        let mut action = action(Playbook::ALL[at], &id);
        action.owner = owner;
        action.target.account = account;
        action.target.region = region;
        let case = CaseContext { case_id: &case_id, reference_time: Timestamp::from_millis(millis) };
        let step = calls(&action, &case);
        prop_assert_eq!(&step, &calls(&action, &case));
        for call in all_calls(&step) {
            let line = cli_text(call);
            prop_assert!(line.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{}", line);
        }
    }
}
