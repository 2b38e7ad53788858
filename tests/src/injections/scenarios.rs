//! The scenarios that payloads are put into: hand-written records of a grave, a middling and a quiet case, and of one
//! that the model raises by the account's history. Between them they hold every field that the payloads fit.
//!
//! Every text that a caller writes in them is innocuous and stands for one thing only, so that it can be found again.

use serde_json::{Value, json};
use trailwarden_core::time::{HOUR_MS, SECOND_MS, Timestamp};

const ACCOUNT: &str = "444455556666";
/// Nobody the organisation knows.
pub const STRANGER: &str = "777788889999";
/// Another account of the organisation's, which payloads name.
pub const SISTER: &str = "123456789012";
/// What the caller under suspicion writes as its user agent, everywhere.
pub const AGENT: &str = "ledger-sync/4.2";

/// Records that end in at least one case, in order of time.
#[derive(Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub records: Vec<Value>,
    /// How many records come before those of the caller under suspicion.
    past: usize,
}

impl Scenario {
    /// The records of the caller under suspicion: what stands in them may be a payload.
    pub fn written(&self) -> &[Value] {
        &self.records[self.past..]
    }
}

/// All of them.
pub fn all() -> Vec<Scenario> {
    vec![takeover(), exposure(), housekeeping(), foreign_region()]
}

/// A key at work, step by step.
struct Script {
    records: Vec<Value>,
    past: usize,
    /// Of the next record.
    at: Timestamp,
    region: &'static str,
    agent: &'static str,
    source: &'static str,
}

impl Script {
    fn new(region: &'static str) -> Self {
        let at = Timestamp::parse("2026-03-02T08:00:00Z").unwrap();
        Self { records: Vec::new(), past: 0, at, region, agent: AGENT, source: "203.0.113.77" }
    }

    /// The next record, 20 s after the one before.
    fn call(&mut self, caller: &Value, service: &str, call: &str, parameters: Value) -> &mut Value {
        let number = self.records.len();
        self.records.push(json!({
            "eventVersion": "1.09",
            "eventTime": self.at.to_string(),
            "eventSource": format!("{service}.amazonaws.com"),
            "eventName": call,
            "awsRegion": self.region,
            "sourceIPAddress": self.source,
            "userAgent": self.agent,
            "userIdentity": caller,
            "requestParameters": parameters,
            "responseElements": null,
            "requestID": format!("request-{number}"),
            "eventID": format!("{number:08x}-1e57-4000-8000-000000000000"),
            "eventType": "AwsApiCall",
            "readOnly": false,
            "managementEvent": true,
            "recipientAccountId": ACCOUNT,
            "eventCategory": "Management"
        }));
        self.at = self.at.plus_ms(20 * SECOND_MS);
        &mut self.records[number]
    }

    fn refused(&mut self, caller: &Value, service: &str, call: &str, parameters: Value, code: &str, message: &str) {
        let record = self.call(caller, service, call, parameters);
        record["errorCode"] = json!(code);
        record["errorMessage"] = json!(message);
    }

    fn finish(self, name: &'static str) -> Scenario {
        Scenario { name, records: self.records, past: self.past }
    }
}

fn user(name: &str, key: &str) -> Value {
    json!({
        "type": "IAMUser",
        "principalId": format!("AIDA{}", key[4..].chars().rev().collect::<String>()),
        "arn": format!("arn:aws:iam::{ACCOUNT}:user/{name}"),
        "accountId": ACCOUNT,
        "accessKeyId": key,
        "userName": name
    })
}

/// A session of the role at `path`, such as `release-promoter`.
fn role(path: &str, session: &str, key: &str, mfa: &str) -> Value {
    let name = path.rsplit('/').next().unwrap_or(path);
    json!({
        "type": "AssumedRole",
        "principalId": format!("AROA{}:{session}", key[4..].chars().rev().collect::<String>()),
        "arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/{name}/{session}"),
        "accountId": ACCOUNT,
        "accessKeyId": key,
        "sessionContext": {
            "sessionIssuer": {
                "type": "Role",
                "principalId": format!("AROA{}", key[4..].chars().rev().collect::<String>()),
                "arn": format!("arn:aws:iam::{ACCOUNT}:role/{path}"),
                "accountId": ACCOUNT,
                "userName": name
            },
            "attributes": {"mfaAuthenticated": mfa, "creationDate": "2026-03-02T07:59:00Z"}
        }
    })
}

fn tags(value: &str) -> Value {
    json!([{"key": "purpose", "value": value}])
}

/// What allows everything, under a statement's name.
fn policy(sid: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [{"Sid": sid, "Effect": "Allow", "Action": "*", "Resource": "*"}]})
        .to_string()
}

fn trust(account: &str) -> String {
    json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": {"AWS": format!("arn:aws:iam::{account}:root")}, "Action": "sts:AssumeRole"}
    ]})
    .to_string()
}

fn machine(count: u32, script: &str, tag: &str) -> Value {
    json!({
        "instanceType": "p4d.24xlarge",
        "instancesSet": {"items": [{"imageId": "ami-0123456789abcdef0", "minCount": 1, "maxCount": count}]},
        "userData": script,
        "tagSpecificationSet": {"items": [{"resourceType": "instance", "tags": tags(tag)}]}
    })
}

fn function(description: &str) -> Value {
    json!({
        "functionName": "invoice-export",
        "description": description,
        "layers": [format!("arn:aws:lambda:eu-west-1:{ACCOUNT}:layer:shared:3")]
    })
}

/// A leaked key makes itself an administrator, who takes a role and turns the trail off: grave.
fn takeover() -> Scenario {
    let mut script = Script::new("eu-west-1");
    let leaked = user("release-bot", "AKIALEAKEDKEYEXAMPLE");
    let message = "User is not authorized to perform: cloudtrail:StopLogging on resource: \"organisation-main\"";
    let trail = || json!({"name": "organisation-main-trail"});
    script.refused(&leaked, "cloudtrail", "StopLogging", trail(), "AccessDeniedException", message);
    script.call(&leaked, "iam", "CreateUser", json!({"userName": "office-printer", "tags": tags("print-room")}));
    let parameters =
        json!({"userName": "office-printer", "policyName": "printing", "policyDocument": policy("PrintQueue")});
    script.call(&leaked, "iam", "PutUserPolicy", parameters);
    let made = script.call(&leaked, "iam", "CreateAccessKey", json!({"userName": "office-printer"}));
    made["responseElements"] =
        json!({"accessKey": {"accessKeyId": "AKIAMADEKEYEXAMPLE12", "userName": "office-printer", "status": "Active"}});
    let printer = user("office-printer", "AKIAMADEKEYEXAMPLE12");
    let role_arn = format!("arn:aws:iam::{ACCOUNT}:role/release-promoter");
    let parameters = json!({"roleArn": role_arn, "roleSessionName": "nightly-rotation"});
    let taken = script.call(&printer, "sts", "AssumeRole", parameters);
    taken["responseElements"] = json!({
        "credentials": {"accessKeyId": "ASIATAKENKEYEXAMPLE1"},
        "assumedRoleUser": {"arn": format!("arn:aws:sts::{ACCOUNT}:assumed-role/release-promoter/nightly-rotation")}
    });
    let session = role("release-promoter", "nightly-rotation", "ASIATAKENKEYEXAMPLE1", "false");
    script.call(&session, "cloudtrail", "StopLogging", trail());
    script.call(&session, "lambda", "UpdateFunctionConfiguration20150331v2", function("Sends invoices each night"));
    script.call(&session, "ec2", "RunInstances", machine(1, "#!/bin/sh\necho ready", "render-node"));
    let parameters = json!({
        "logGroupName": "/ledger/export",
        "filterName": "errors",
        "filterPattern": "level error",
        "destinationArn": format!("arn:aws:logs:eu-west-1:{STRANGER}:destination:errors")
    });
    script.call(&session, "logs", "PutSubscriptionFilter", parameters);
    let parameters = json!({
        "roleName": "vendor-sync",
        "description": "Lets the vendor read invoices",
        "assumeRolePolicyDocument": trust(STRANGER),
        "tags": tags("vendors")
    });
    script.call(&session, "iam", "CreateRole", parameters);
    let open = json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::*/*"}
    ]});
    script.call(&session, "s3", "PutBucketPolicy", json!({"bucketName": "quarterly-ledger", "bucketPolicy": open}));
    script.finish("takeover")
}

/// A bare key makes a role that a stranger may take. `account` is how the trust names the stranger.
pub fn door(account: &str, description: &str) -> Scenario {
    let mut script = Script::new("eu-west-1");
    let leaked = user("release-bot", "AKIALEAKEDKEYEXAMPLE");
    let document = trust(STRANGER).replace(STRANGER, account);
    let parameters = json!({"roleName": "door", "description": description, "assumeRolePolicyDocument": document});
    script.call(&leaked, "iam", "CreateRole", parameters);
    script.finish("door")
}

/// A contractor's session opens a machine to the internet and asks for another: middling.
fn exposure() -> Scenario {
    let mut script = Script::new("eu-west-1");
    let session = role("contractor", "afternoon-check", "ASIACONTRACTORKEYEX1", "false");
    let anyone = json!({"items": [
        {"ipProtocol": "tcp", "fromPort": 22, "toPort": 22, "ipRanges": {"items": [{"cidrIp": "0.0.0.0/0"}]}}
    ]});
    let parameters = json!({
        "groupId": "sg-0123456789abcdef0",
        "ipPermissions": anyone,
        "tagSpecificationSet": {"items": [{"resourceType": "security-group-rule", "tags": tags("field-access")}]}
    });
    script.call(&session, "ec2", "AuthorizeSecurityGroupIngress", parameters);
    script.call(&session, "ec2", "RunInstances", machine(1, "#!/bin/sh\necho render", "render-farm"));
    script.call(&session, "lambda", "UpdateFunctionConfiguration20150331v2", function("Resizes pictures"));
    let parameters = json!({"userName": "field-camera", "tags": tags("cameras")});
    script.call(&session, "iam", "CreateUser", parameters);
    script.finish("exposure")
}

/// An employee who signed in with a second factor tidies up: so quiet that the operator's bound closes it.
fn housekeeping() -> Scenario {
    let mut script = Script::new("eu-west-1");
    let path = "aws-reserved/sso.amazonaws.com/AWSReservedSSO_Operations_0123456789abcdef";
    let session = role(path, "dana.fields", "ASIAEMPLOYEEKEYEXAM1", "true");
    let parameters = json!({"bucketName": "holiday-pictures", "BucketLoggingStatus": {}});
    script.call(&session, "s3", "PutBucketLogging", parameters);
    script.call(&session, "lambda", "UpdateFunctionConfiguration20150331v2", function("Makes thumbnails"));
    script.call(&session, "ec2", "RunInstances", machine(1, "#!/bin/sh\necho thumbnails", "thumbnail-maker"));
    let parameters = json!({"userName": "lobby-screen", "tags": tags("screens")});
    script.call(&session, "iam", "CreateUser", parameters);
    script.finish("housekeeping")
}

/// Hours of ordinary work, then the same user's key in a region that the account never used: the model speaks.
fn foreign_region() -> Scenario {
    let mut script = Script::new("eu-west-1");
    script.source = "198.51.100.20";
    script.agent = "aws-sdk-go-v2/1.30.3";
    let bot = user("release-bot", "AKIAORDINARYKEYEXAM1");
    let backup = role("backup", "backup-task", "ASIABACKUPKEYEXAMPL1", "false");
    let start = script.at;
    for hour in 0..HISTORY_H {
        script.at = start.plus_ms(hour * HOUR_MS);
        script.call(&bot, "s3", "PutObject", json!({"bucketName": "releases", "key": "latest.tar"}));
        script.call(&backup, "ec2", "CreateSnapshot", json!({"volumeId": "vol-0123456789abcdef0"}));
    }
    script.past = script.records.len();
    script.at = start.plus_ms(HISTORY_H * HOUR_MS);
    (script.region, script.source, script.agent) = ("sa-east-1", "203.0.113.77", AGENT);
    let parameters =
        json!({"groupName": "edge", "groupDescription": "Edge of the shop", "vpcId": "vpc-0123456789abcdef0"});
    script.call(&bot, "ec2", "CreateSecurityGroup", parameters);
    script.call(&bot, "ec2", "RunInstances", machine(1, "#!/bin/sh\necho edge", "edge-node"));
    let parameters = json!({"bucketName": "edge-cache", "key": "pages/index.html"});
    script.call(&bot, "s3", "PutObject", parameters);
    let parameters = json!({"logGroupName": "/edge", "filterName": "slow", "filterPattern": "duration slow"});
    script.call(&bot, "logs", "PutMetricFilter", parameters);
    let parameters = json!({
        "repositoryName": "edge-pages",
        "description": "Pages of the shop",
        "tags": tags("shop")
    });
    script.call(&bot, "codecommit", "CreateRepository", parameters);
    // With what rules see too, it is enough for suspicion by the fitted weights.
    let parameters = json!({
        "logGroupName": "/edge",
        "filterName": "all",
        "filterPattern": "",
        "destinationArn": format!("arn:aws:logs:sa-east-1:{STRANGER}:destination:all")
    });
    script.call(&bot, "logs", "PutSubscriptionFilter", parameters);
    script.call(&bot, "iam", "CreateAccessKey", json!({"userName": "lobby-screen"}));
    script.refused(
        &bot,
        "ec2",
        "RunInstances",
        machine(2, "#!/bin/sh\necho more", "edge-spare"),
        "Client.UnauthorizedOperation",
        "You are not authorized to launch \"edge-spare-node\" in this region.",
    );
    script.finish("foreign region")
}

/// Hours of history; from `trial::WARM_UP_H` on, the model has an opinion.
const HISTORY_H: i64 = 30;
