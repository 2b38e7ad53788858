//! What is read off raw records: derived fields, resources and links.

mod support;

use std::collections::BTreeSet;

use serde_json::{Value, json};
use support::{Sample, merged};
use trailwarden_core::detection::derived::{FIELDS, derived};
use trailwarden_core::link::{self, Link, Node, issued};
use trailwarden_core::registry::Registry;
use trailwarden_core::resource::{ResourceKind, touched};

fn user_event(patch: Value) -> Sample {
    let base = json!({
        "eventTime": "2025-03-04T10:00:00Z", "awsRegion": "eu-west-1", "recipientAccountId": "111122223333",
        "userIdentity": {"type": "IAMUser", "accountId": "111122223333", "userName": "nina",
            "arn": "arn:aws:iam::111122223333:user/nina", "accessKeyId": "AKIAIOSFODNN7EXAMPLE"}
    });
    Sample::new(merged(&base, &patch))
}

fn role_event(session_name: &str, patch: Value) -> Sample {
    let role = json!({
        "userIdentity": {"type": "AssumedRole", "userName": null, "accessKeyId": "ASIAIOSFODNN7EXAMPLE",
            "arn": format!("arn:aws:sts::111122223333:assumed-role/app/{session_name}"),
            "sessionContext": {"sessionIssuer": {"arn": "arn:aws:iam::111122223333:role/app"},
                "attributes": {"mfaAuthenticated": "false"}}}
    });
    user_event(merged(&role, &patch))
}

fn call(source: &str, name: &str, parameters: Value) -> Value {
    json!({"eventSource": format!("{source}.amazonaws.com"), "eventName": name, "requestParameters": parameters})
}

fn registry() -> Registry {
    Registry { accounts: BTreeSet::from(["222233334444".to_owned()]), ..Registry::default() }
}

fn field(name: &str, sample: &Sample) -> Option<Value> {
    assert!(FIELDS.contains(&name), "{name} is listed");
    derived(name, &sample.view(), &sample.activity(), &registry())
}

#[test]
fn derives_facts_of_grants() {
    let open = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"}}"#;
    let shared = r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"999988887777"},"Action":"*","Resource":"*"}]}"#;
    let known = r#"{"Statement":[{"Effect":"Allow","Principal":{"AWS":"222233334444"},"Action":"*","Resource":"*"}]}"#;
    // (service, call, parameters, public, external)
    for (service, name, parameters, public, external) in [
        (
            "s3",
            "PutBucketPolicy",
            json!({"bucketPolicy": serde_json::from_str::<Value>(open).expect("json"), "policy": ""}),
            true,
            false,
        ),
        ("s3", "PutBucketPolicy", json!({"bucketPolicy": shared}), false, true),
        ("s3", "PutBucketPolicy", json!({"bucketPolicy": known}), false, false),
        ("s3", "PutBucketAcl", json!({"x-amz-acl": ["public-read"]}), true, false),
        ("s3", "PutBucketAcl", json!({"x-amz-acl": "private"}), false, false),
        (
            "s3",
            "PutBucketAcl",
            json!({"AccessControlPolicy": {"AccessControlList": {"Grant": [
            {"Grantee": {"URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"}]}}}),
            true,
            false,
        ),
        ("sqs", "SetQueueAttributes", json!({"attributes": {"Policy": open}}), true, false),
        ("sns", "SetTopicAttributes", json!({"attributeName": "Policy", "attributeValue": open}), true, false),
        ("sns", "AddPermission", json!({"aWSAccountId": ["999988887777"]}), false, true),
        ("kms", "PutKeyPolicy", json!({"policy": shared}), false, true),
        ("kms", "CreateGrant", json!({"granteePrincipal": "arn:aws:iam::999988887777:role/r"}), false, true),
        ("kms", "CreateGrant", json!({"granteePrincipal": "arn:aws:iam::111122223333:role/r"}), false, false),
        (
            "ec2",
            "ModifySnapshotAttribute",
            json!({"createVolumePermission": {"add": {"items": [{"userId": "999988887777"}]}}}),
            false,
            true,
        ),
        (
            "ec2",
            "ModifySnapshotAttribute",
            json!({"createVolumePermission": {"add": {"items": [{"userId": "222233334444"}]}}}),
            false,
            false,
        ),
        (
            "ec2",
            "ModifySnapshotAttribute",
            json!({"createVolumePermission": {"remove": {"items": [{"userId": "999988887777"}]}}}),
            false,
            false,
        ),
        (
            "ec2",
            "ModifyImageAttribute",
            json!({"launchPermission": {"add": {"items": [{"group": "all"}]}}}),
            true,
            false,
        ),
        ("rds", "ModifyDBSnapshotAttribute", json!({"valuesToAdd": ["all"]}), true, false),
        ("rds", "ModifyDBSnapshotAttribute", json!({"valuesToAdd": ["999988887777"]}), false, true),
        ("rds", "ModifyDBSnapshotAttribute", json!({"valuesToRemove": ["999988887777"]}), false, false),
        ("lambda", "AddPermission20150331v2", json!({"principal": "*"}), true, false),
        ("lambda", "AddPermission20150331v2", json!({"principal": "*", "principalOrgID": "o-1"}), false, false),
        ("lambda", "AddPermission20150331v2", json!({"principal": "s3.amazonaws.com"}), false, false),
        ("lambda", "AddPermission20150331v2", json!({"principal": "999988887777"}), false, true),
        (
            "logs",
            "PutSubscriptionFilter",
            json!({"destinationArn": "arn:aws:logs:eu-west-1:999988887777:destination:d"}),
            false,
            true,
        ),
        ("iam", "PutUserPolicy", json!({"policyDocument": open}), false, false),
        ("ec2", "DescribeInstances", Value::Null, false, false),
    ] {
        let sample = user_event(call(service, name, parameters.clone()));
        assert_eq!(field("grant_public", &sample), Some(public.into()), "{name} {parameters}");
        assert_eq!(field("grant_external", &sample), Some(external.into()), "{name} {parameters}");
    }
}

#[test]
fn derives_facts_of_identities() {
    let own = user_event(call("iam", "CreateAccessKey", json!({"userName": "Nina"})));
    let other = user_event(call("iam", "CreateAccessKey", json!({"userName": "omar"})));
    let silent = user_event(call("iam", "CreateAccessKey", Value::Null));
    assert_eq!(field("target_is_caller", &own), Some(true.into()));
    assert_eq!(field("target_is_caller", &other), Some(false.into()));
    assert_eq!(field("target_is_caller", &silent), Some(true.into()));
    assert_eq!(field("target_user", &other), Some("omar".into()));
    assert_eq!(field("unattended_key", &own), Some(true.into()));
    assert_eq!(field("credential", &own), Some("long_term_key".into()));
    assert_eq!(field("mfa", &own), None);
    let instance = role_event("i-0123456789abcdef0", call("sts", "GetCallerIdentity", Value::Null));
    assert_eq!(field("instance_session", &instance), Some(true.into()));
    assert_eq!(field("instance", &instance), Some("i-0123456789abcdef0".into()));
    let person = role_event("nina@example.com", call("iam", "CreateAccessKey", json!({"userName": "nina"})));
    assert_eq!(field("instance_session", &person), Some(false.into()));
    assert_eq!(field("unattended_key", &person), Some(false.into()));
    assert_eq!(field("target_is_caller", &person), Some(false.into()));
    let foreign = user_event(json!({"userIdentity": {"accountId": "999988887777"}}));
    assert_eq!(field("cross_account", &foreign), Some(true.into()));
    assert_eq!(field("cross_account", &own), Some(false.into()));
}

#[test]
fn derives_facts_of_privileges_and_trust() {
    let all = r#"{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}"#;
    for (parameters, expected) in [
        (json!({"policyArn": "arn:aws:iam::aws:policy/AdministratorAccess"}), true),
        (json!({"policyArns": [{"arn": "arn:aws:iam::aws:policy/PowerUserAccess"}]}), true),
        (json!({"policyArn": "arn:aws:iam::111122223333:policy/AdministratorAccess"}), false),
        (json!({"policyArn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}), false),
        (json!({"policyDocument": all}), true),
        (json!({"policyDocument": "not json"}), false),
        (Value::Null, false),
    ] {
        let sample = user_event(call("iam", "AttachUserPolicy", parameters.clone()));
        assert_eq!(field("policy_admin", &sample), Some(expected.into()), "{parameters}");
    }
    let trusts = |principal: &str| {
        let document =
            format!(r#"{{"Statement":[{{"Effect":"Allow","Principal":{principal},"Action":"sts:AssumeRole"}}]}}"#);
        let sample = user_event(call("iam", "UpdateAssumeRolePolicy", json!({"policyDocument": document})));
        (field("trust_public", &sample), field("trust_external", &sample))
    };
    assert_eq!(trusts(r#"{"AWS":"arn:aws:iam::999988887777:root"}"#), (Some(false.into()), Some(true.into())));
    assert_eq!(trusts(r#""*""#), (Some(true.into()), Some(false.into())));
    assert_eq!(trusts(r#"{"Service":"ec2.amazonaws.com"}"#), (Some(false.into()), Some(false.into())));
    assert_eq!(field("trust_public", &user_event(call("iam", "GetRole", Value::Null))), None);
}

#[test]
fn derives_facts_of_networks_and_machines() {
    let nested = |cidr: &str, from: i64, to: i64| {
        json!({"ipPermissions": {"items": [{"fromPort": from, "toPort": to, "ipProtocol": "tcp",
            "ipRanges": {"items": [{"cidrIp": cidr}]}, "ipv6Ranges": {}}]}})
    };
    for (parameters, expected) in [
        (
            json!({"cidrIp": "208.236.235.254/0", "fromPort": 22, "toPort": 22, "ipProtocol": "tcp"}),
            Some("remote_access"),
        ),
        (nested("0.0.0.0/0", 443, 443), Some("web")),
        (nested("0.0.0.0/0", 3306, 3306), Some("database")),
        (nested("0.0.0.0/0", 0, 65535), Some("all")),
        (nested("0.0.0.0/0", 8443, 8443), Some("other")),
        (nested("10.0.0.0/8", 22, 22), None),
        (nested("0.0.0.0/1", 22, 22), Some("remote_access")),
        (nested("128.0.0.0/1", 22, 22), Some("remote_access")),
        (nested("128.0.0.0/10", 22, 22), None),
        (
            json!({"ipPermissions": {"items": [{"ipProtocol": "-1", "ipv6Ranges": {"items": [{"cidrIpv6": "::/0"}]}}]}}),
            Some("all"),
        ),
        (
            json!({"ModifySecurityGroupRulesRequest": {"SecurityGroupRule": {"SecurityGroupRule":
            {"CidrIpv4": "0.0.0.0/0", "FromPort": 3389, "ToPort": 3389, "IpProtocol": "tcp"}}}}),
            Some("remote_access"),
        ),
        (json!({"cIDRIP": "0.0.0.0/0", "dBSecurityGroupName": "default"}), Some("database")),
        (Value::Null, None),
    ] {
        let sample = user_event(call("ec2", "AuthorizeSecurityGroupIngress", parameters.clone()));
        assert_eq!(field("world_port", &sample), expected.map(Value::from), "{parameters}");
        assert_eq!(field("cidr_world", &sample), Some(expected.is_some().into()), "{parameters}");
    }
    for (parameters, large) in [
        (json!({"instanceType": "p2.xlarge"}), true),
        (json!({"instanceType": {"value": "g5.xlarge"}}), true),
        (json!({"instanceType": "t3.micro"}), false),
        (Value::Null, false),
    ] {
        let sample = user_event(call("ec2", "RunInstances", parameters));
        assert_eq!(field("large_instance", &sample), Some(large.into()));
    }
    let fleet =
        user_event(call("ssm", "SendCommand", json!({"instanceIds": ["i-0123456789abcdef0", "i-0123456789abcdef1"]})));
    assert_eq!(field("instances", &fleet), Some(json!(["i-0123456789abcdef0", "i-0123456789abcdef1"])));
    assert_eq!(field("instance", &fleet), None);
}

#[test]
fn derives_facts_of_records_and_storage() {
    for (parameters, expected) in [
        (json!({"eventSelectors": [{"includeManagementEvents": false}]}), Some(true)),
        (json!({"eventSelectors": [{"includeManagementEvents": true}]}), Some(false)),
        (json!({"eventSelectors": []}), Some(true)),
        (
            json!({"advancedEventSelectors": [{"fieldSelectors": [{"field": "eventCategory", "equals": ["Data"]}]}]}),
            Some(true),
        ),
        (
            json!({"advancedEventSelectors": [{"fieldSelectors": [{"field": "eventCategory", "equals": ["Management"]}]}]}),
            Some(false),
        ),
        (Value::Null, None),
    ] {
        let sample = user_event(call("cloudtrail", "PutEventSelectors", parameters.clone()));
        assert_eq!(field("trail_blinded", &sample), expected.map(Value::Bool), "{parameters}");
    }
    for (rule, expected) in [
        (json!({"Status": "Enabled", "Expiration": {"Days": 1}}), true),
        (
            json!([{"Status": "Enabled", "Expiration": {"Days": 90}}, {"NoncurrentVersionExpiration": {"NoncurrentDays": "1"}}]),
            true,
        ),
        (json!({"Status": "Disabled", "Expiration": {"Days": 1}}), false),
        (json!({"Status": "Enabled", "Expiration": {"Days": 30}}), false),
    ] {
        let sample = user_event(call("s3", "PutBucketLifecycle", json!({"LifecycleConfiguration": {"Rule": rule}})));
        assert_eq!(field("expires_soon", &sample), Some(expected.into()));
    }
    let layer = |account: &str| json!({"layers": [format!("arn:aws:lambda:eu-west-1:{account}:layer:x:1")]});
    for (account, foreign) in [("999988887777", true), ("111122223333", false), ("222233334444", false)] {
        let sample = user_event(call("lambda", "UpdateFunctionConfiguration20150331v2", layer(account)));
        assert_eq!(field("foreign_layer", &sample), Some(foreign.into()));
    }
    let named = user_event(call("ssm", "GetParameters", json!({"names": ["/a", "/b"]})));
    assert_eq!(field("named_secrets", &named), Some(json!(["/a", "/b"])));
}

#[test]
fn every_field_survives_any_event() {
    for record in [
        json!({}),
        json!({"requestParameters": 7}),
        json!({"requestParameters": {"layers": {"a": 1}, "policy": [[]], "name": 3}}),
        json!([]),
    ] {
        for identity in [
            json!({}),
            json!({"userIdentity": null}),
            json!({"eventName": "CreateRole", "eventSource": "iam.amazonaws.com"}),
        ] {
            let sample = Sample::new(merged(&identity, &record));
            for name in FIELDS {
                let _ = field(name, &sample);
            }
            assert!(issued(&sample.view(), &sample.activity()).is_empty());
            let _ = touched(&sample.view(), &sample.activity());
        }
    }
    let sample = user_event(json!({}));
    assert_eq!(derived("no_such_field", &sample.view(), &sample.activity(), &registry()), None);
}

#[test]
fn tells_what_was_touched_and_created() {
    let key = user_event(merged(
        &call("iam", "CreateAccessKey", json!({"userName": "omar"})),
        &json!({"responseElements": {"accessKey": {"accessKeyId": "AKIAI44QH8DHBEXAMPLE", "userName": "omar"}}}),
    ));
    let found = touched(&key.view(), &key.activity());
    let summary: Vec<_> =
        found.iter().map(|resource| (resource.kind, resource.id.as_str(), resource.created)).collect();
    assert_eq!(summary, [(ResourceKind::User, "omar", false), (ResourceKind::AccessKey, "AKIAI44QH8DHBEXAMPLE", true)]);
    assert_eq!((found[0].account.as_str(), found[0].region.as_str()), ("111122223333", "eu-west-1"));

    let created = |patch: Value| {
        let sample = user_event(patch);
        touched(&sample.view(), &sample.activity())[0].created
    };
    let role = call("iam", "CreateRole", json!({"roleName": "r"}));
    assert!(created(role.clone()));
    assert!(!created(merged(&role, &json!({"errorCode": "EntityAlreadyExists"}))));

    let many: Vec<String> = (0..40).map(|number| format!("i-{number:017}")).collect();
    let fleet = user_event(call("ssm", "SendCommand", json!({"instanceIds": many})));
    assert_eq!(touched(&fleet.view(), &fleet.activity()).len(), 16);
    let long = user_event(call("s3", "GetObject", json!({"bucketName": "é".repeat(400)})));
    assert_eq!(touched(&long.view(), &long.activity())[0].id.len(), 256);
    let odd = user_event(call("s3", "GetObject", json!({"bucketName": format!("x{}", "é".repeat(400))})));
    assert_eq!(touched(&odd.view(), &odd.activity())[0].id.len(), 255);
    for (service, name, parameters, kind) in [
        ("ec2", "StopInstances", json!({"instancesSet": {"items": [{"instanceId": "i-1"}]}}), ResourceKind::Instance),
        ("ec2", "ModifySnapshotAttribute", json!({"snapshotId": "snap-1"}), ResourceKind::Snapshot),
        ("ec2", "AuthorizeSecurityGroupIngress", json!({"groupId": "sg-1"}), ResourceKind::SecurityGroup),
        ("cloudtrail", "StopLogging", json!({"name": "t"}), ResourceKind::Trail),
        ("guardduty", "DeleteDetector", json!({"detectorId": "d"}), ResourceKind::Detector),
        ("lambda", "UpdateFunctionCode20150331v2", json!({"functionName": "f"}), ResourceKind::Function),
        ("secretsmanager", "GetSecretValue", json!({"secretId": "s"}), ResourceKind::Secret),
        ("kms", "ScheduleKeyDeletion", json!({"keyId": "k"}), ResourceKind::KmsKey),
        ("bedrock", "InvokeModel", json!({"modelId": "m"}), ResourceKind::Model),
        ("rds", "ModifyDBSnapshotAttribute", json!({"dBSnapshotIdentifier": "s"}), ResourceKind::DbSnapshot),
    ] {
        let sample = user_event(call(service, name, parameters));
        let found = touched(&sample.view(), &sample.activity());
        assert_eq!(found.iter().map(|resource| resource.kind).collect::<Vec<_>>(), [kind], "{name}");
    }
}

#[test]
fn tells_what_issued_what() {
    let own = Link {
        parent: Node::Principal("arn:aws:iam::111122223333:user/nina".to_owned()),
        child: Node::Session("AKIAIOSFODNN7EXAMPLE".to_owned()),
    };
    let by_key = |child: Node| Link { parent: Node::Session("AKIAIOSFODNN7EXAMPLE".to_owned()), child };
    let instance = || Node::Instance("i-0123456789abcdef0".to_owned());
    let temporary = json!({"responseElements": {"credentials": {"accessKeyId": "ASIAI44QH8DHBEXAMPLE"}}});
    let assume = merged(&call("sts", "AssumeRole", json!({"roleArn": "arn:aws:iam::111122223333:role/r"})), &temporary);
    for (event, child) in [
        (assume.clone(), Some(Node::Session("ASIAI44QH8DHBEXAMPLE".to_owned()))),
        (
            merged(&call("sts", "GetFederationToken", Value::Null), &temporary),
            Some(Node::Session("ASIAI44QH8DHBEXAMPLE".to_owned())),
        ),
        (merged(&assume, &json!({"errorCode": "AccessDenied"})), None),
        (
            merged(
                &call("iam", "CreateAccessKey", Value::Null),
                &json!({"responseElements": {"accessKey": {"accessKeyId": "AKIAI44QH8DHBEXAMPLE"}}}),
            ),
            Some(Node::Session("AKIAI44QH8DHBEXAMPLE".to_owned())),
        ),
        (
            call("iam", "UpdateLoginProfile", json!({"userName": "omar"})),
            Some(Node::Principal("arn:aws:iam::111122223333:user/omar".to_owned())),
        ),
        (call("ssm", "StartSession", json!({"target": "i-0123456789abcdef0"})), Some(instance())),
        (call("ssm", "StartSession", json!({"target": "mi-1"})), None),
        (call("ssm", "SendCommand", json!({"instanceIds": ["i-0123456789abcdef0"]})), Some(instance())),
        (
            call("ec2", "ModifyInstanceAttribute", json!({"instanceId": "i-0123456789abcdef0", "userData": "x"})),
            Some(instance()),
        ),
        (
            call("ec2", "ModifyInstanceAttribute", json!({"instanceId": "i-0123456789abcdef0", "ebsOptimized": true})),
            None,
        ),
        (
            call("ec2-instance-connect", "SendSSHPublicKey", json!({"instanceId": "i-0123456789abcdef0"})),
            Some(instance()),
        ),
        (
            merged(
                &call("ec2", "RunInstances", Value::Null),
                &json!({"responseElements": {"instancesSet": {"items": [{"instanceId": "i-0123456789abcdef0"}]}}}),
            ),
            Some(instance()),
        ),
    ] {
        let sample = user_event(event.clone());
        let expected: Vec<Link> = child.into_iter().flat_map(|child| [own.clone(), by_key(child)]).collect();
        assert_eq!(issued(&sample.view(), &sample.activity()), expected, "{event}");
        let activity = sample.activity();
        let told = link::own(activity.principal, activity.principal_kind, activity.session, activity.session_name);
        assert_eq!(told.as_ref(), Some(&own));
    }
    let on_instance = role_event("i-0123456789abcdef0", call("sts", "GetCallerIdentity", Value::Null));
    let activity = on_instance.activity();
    assert_eq!(
        link::own(activity.principal, activity.principal_kind, activity.session, activity.session_name),
        Some(Link { parent: instance(), child: Node::Session("ASIAIOSFODNN7EXAMPLE".to_owned()) })
    );
    assert_eq!(issued(&on_instance.view(), &activity), []);
    let many: Vec<String> = (0..40).map(|number| format!("i-{number:017}")).collect();
    let fleet = user_event(call("ssm", "SendCommand", json!({"instanceIds": many})));
    assert_eq!(issued(&fleet.view(), &fleet.activity()).len(), 16);
}
