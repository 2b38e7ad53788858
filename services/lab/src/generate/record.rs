//! A call as CloudTrail writes it: the fields and their order follow the CloudTrail record contents reference
//! (event versions 1.08 to 1.11).

use std::fmt::Write as _;

use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};

use super::call::{Call, Outcome, is_global};
use super::names::{self, mix};
use super::script::{Identity, Recorded, Session};
use super::world::World;

/// A successful ConsoleLogin.
pub fn console_login(mfa: bool) -> Call {
    Call::write("signin", "ConsoleLogin")
        .of_type("AwsConsoleSignIn")
        .returning(json!({"ConsoleLogin": "Success"}))
        .additional(json!({
            "LoginTo": "https://console.aws.amazon.com/console/home?hashArgs=%23&isauthcode=true",
            "MobileVersion": "No",
            "MFAUsed": if mfa { "Yes" } else { "No" },
        }))
}

pub fn render(
    world: &World,
    session: &Session,
    call: &Call,
    at_ms: i64,
    technique: Option<&'static str>,
    rng: &mut ChaCha8Rng,
) -> Recorded {
    let region = if is_global(call.service) { "us-east-1" } else { call.region.unwrap_or(session.region) };
    let event_id = names::uuid(rng);
    let mut body = String::with_capacity(1_800);
    let version = version(call.service);
    let _ = write!(body, "{{\"eventVersion\":\"1.{version:02}\",\"userIdentity\":");
    identity(&mut body, world, session);
    let _ = write!(
        body,
        ",\"eventTime\":\"{}\",\"eventSource\":\"{}.amazonaws.com\",\"eventName\":\"{}\",\"awsRegion\":\"{region}\",\
         \"sourceIPAddress\":\"{}\",\"userAgent\":",
        event_time(at_ms),
        call.service,
        call.name,
        session.source,
    );
    text(&mut body, &session.agent);
    outcome(&mut body, world, session, call);
    body.push_str(",\"requestParameters\":");
    value(&mut body, &call.parameters);
    body.push_str(",\"responseElements\":");
    value(
        &mut body,
        if call.outcome == Outcome::Success || call.service == "signin" { &call.response } else { &Value::Null },
    );
    additional(&mut body, session, call, rng);
    let _ = write!(
        body,
        ",\"requestID\":\"{}\",\"eventID\":\"{event_id}\",\"readOnly\":{}",
        request_id(call.service, rng),
        call.is_read
    );
    resources(&mut body, world, session, call);
    let _ = write!(
        body,
        ",\"eventType\":\"{}\",\"managementEvent\":{},\"recipientAccountId\":\"{}\"",
        call.event_type, !call.is_data, world.accounts[session.account].id
    );
    if let Some(shared) = &call.shared_id {
        let _ = write!(body, ",\"sharedEventID\":\"{shared}\"");
    }
    if session.through_endpoint {
        let account = &world.accounts[session.account];
        let _ = write!(body, ",\"vpcEndpointId\":\"{}\",\"vpcEndpointAccountId\":\"{}\"", account.endpoint, account.id);
    }
    let _ = write!(body, ",\"eventCategory\":\"{}\"", if call.is_data { "Data" } else { "Management" });
    tls(&mut body, session, call, region);
    if session.is_console && call.service != "signin" {
        body.push_str(",\"sessionCredentialFromConsole\":\"true\"");
    }
    body.push('}');
    Recorded { at_ms, account: session.account, region, event_id, technique, body: body.into_bytes() }
}

/// Services write different versions at the same time.
fn version(service: &str) -> u64 {
    let sum: u64 = service.bytes().fold(0, |sum, byte| mix(sum ^ u64::from(byte)));
    8 + sum % 4
}

fn text(body: &mut String, value: &str) {
    if value.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\' || byte == b' ') {
        body.push('"');
        body.push_str(value);
        body.push('"');
    } else {
        body.push_str(&Value::from(value).to_string());
    }
}

fn value(body: &mut String, value: &Value) {
    if value.is_null() {
        body.push_str("null");
    } else {
        let _ = write!(body, "{value}");
    }
}

fn identity(body: &mut String, world: &World, session: &Session) {
    let id = &world.accounts[session.account].id;
    match &session.identity {
        Identity::User { name, id: user } => {
            let _ = write!(
                body,
                "{{\"type\":\"IAMUser\",\"principalId\":\"{user}\",\"arn\":\"arn:aws:iam::{id}:user/{name}\",\"accountId\":\"{id}\""
            );
            if !session.key.is_empty() {
                let _ = write!(body, ",\"accessKeyId\":\"{}\"", session.key);
            }
            let _ = write!(body, ",\"userName\":\"{name}\"");
            if session.key.starts_with("ASIA") {
                body.push_str(",\"sessionContext\":{");
                attributes(body, session);
                body.push('}');
            }
        }
        Identity::Role { .. } => role_identity(body, world, session),
        Identity::Root => {
            let _ = write!(
                body,
                "{{\"type\":\"Root\",\"principalId\":\"{id}\",\"arn\":\"arn:aws:iam::{id}:root\",\"accountId\":\"{id}\",\
                 \"accessKeyId\":\"{}\",\"sessionContext\":{{",
                session.key
            );
            attributes(body, session);
            body.push('}');
        }
        Identity::Service(host) => {
            let _ = write!(body, "{{\"type\":\"AWSService\",\"invokedBy\":\"{host}\"");
        }
        Identity::Federated { name, issuer_name, issuer_id } => {
            let _ = write!(
                body,
                "{{\"type\":\"FederatedUser\",\"principalId\":\"{id}:{name}\",\"arn\":\"arn:aws:sts::{id}:federated-user/{name}\",\
                 \"accountId\":\"{id}\",\"accessKeyId\":\"{}\",\"sessionContext\":{{\"sessionIssuer\":{{\"type\":\"IAMUser\",\
                 \"principalId\":\"{issuer_id}\",\"arn\":\"arn:aws:iam::{id}:user/{issuer_name}\",\"accountId\":\"{id}\",\
                 \"userName\":\"{issuer_name}\"}},",
                session.key
            );
            attributes(body, session);
            body.push('}');
        }
        Identity::WebIdentity { provider, subject } => {
            let _ = write!(
                body,
                "{{\"type\":\"WebIdentityUser\",\"principalId\":\"{provider}:sts.amazonaws.com:{subject}\",\
                 \"userName\":\"{subject}\",\"identityProvider\":\"{provider}\""
            );
        }
        Identity::Saml { provider, subject } => {
            let _ = write!(
                body,
                "{{\"type\":\"SAMLUser\",\"principalId\":\"{}:{subject}\",\"userName\":\"{subject}\",\"identityProvider\":\"{provider}\"",
                names::hex(&mut names::stream(world.seed, &[session.account as u64, 0x5a]), 27)
            );
        }
        Identity::ForeignAccount { id, principal } => {
            let _ = write!(body, "{{\"type\":\"AWSAccount\",\"principalId\":\"{principal}\",\"accountId\":\"{id}\"");
        }
        Identity::Anonymous => {
            body.push_str("{\"type\":\"AWSAccount\",\"principalId\":\"\",\"accountId\":\"anonymous\"");
        }
    }
    body.push('}');
}

fn role_identity(body: &mut String, world: &World, session: &Session) {
    let Identity::Role { role, session_name, delivery, invoked_by, web_identity } = &session.identity else { return };
    let id = &world.accounts[role.account].id;
    let _ = write!(
        body,
        "{{\"type\":\"AssumedRole\",\"principalId\":\"{}:{session_name}\",\
         \"arn\":\"arn:aws:sts::{id}:assumed-role/{}/{session_name}\",\"accountId\":\"{id}\",\"accessKeyId\":\"{}\",\
         \"sessionContext\":{{\"sessionIssuer\":{{\"type\":\"Role\",\"principalId\":\"{}\",\"arn\":\"arn:aws:iam::{id}:role{}{}\",\
         \"accountId\":\"{id}\",\"userName\":\"{}\"}},",
        role.id, role.name, session.key, role.id, role.path, role.name, role.name
    );
    if let Some((provider, _)) = web_identity {
        let _ = write!(body, "\"webIdFederationData\":{{\"federatedProvider\":\"{provider}\",\"attributes\":{{}}}},");
    }
    attributes(body, session);
    if let Some(delivery) = delivery {
        let _ = write!(body, ",\"ec2RoleDelivery\":\"{delivery}\"");
    }
    body.push('}');
    if let Some(host) = invoked_by {
        let _ = write!(body, ",\"invokedBy\":\"{host}\"");
    }
}

fn attributes(body: &mut String, session: &Session) {
    let _ = write!(
        body,
        "\"attributes\":{{\"creationDate\":\"{}\",\"mfaAuthenticated\":\"{}\"}}",
        event_time(session.issued_ms),
        session.mfa
    );
}

fn outcome(body: &mut String, world: &World, session: &Session, call: &Call) {
    let (code, message) = match &call.outcome {
        Outcome::Success => return,
        Outcome::Failed(code, message) => (*code, message.clone()),
        Outcome::Denied => {
            let code = match call.service {
                "ec2" => "Client.UnauthorizedOperation",
                "ssm" | "kms" | "secretsmanager" | "dynamodb" | "lambda" | "ecr" | "bedrock" | "organizations"
                | "logs" => "AccessDeniedException",
                _ => "AccessDenied",
            };
            let message = if call.service == "ec2" {
                "You are not authorized to perform this operation.".to_owned()
            } else {
                let resource = call.resources.first().map_or("*", |(_, arn)| arn.as_str());
                format!(
                    "User: {} is not authorized to perform: {}:{} on resource: {resource} because no identity-based policy \
                     allows the {}:{} action",
                    principal_arn(world, session),
                    call.service,
                    call.name,
                    call.service,
                    call.name
                )
            };
            (code, message)
        }
    };
    let _ = write!(body, ",\"errorCode\":\"{code}\",\"errorMessage\":");
    text(body, &message);
}

fn additional(body: &mut String, session: &Session, call: &Call, rng: &mut ChaCha8Rng) {
    if !call.additional.is_null() {
        body.push_str(",\"additionalEventData\":");
        value(body, &call.additional);
    } else if call.service == "s3" {
        let (sent, got) = match call.name {
            "PutObject" => (rng.random_range(200..900_000), 0),
            "GetObject" if call.outcome == Outcome::Success => (0, rng.random_range(400..4_000_000)),
            _ => (0, rng.random_range(200..3_000)),
        };
        let _ = write!(
            body,
            ",\"additionalEventData\":{{\"SignatureVersion\":\"SigV4\",\"CipherSuite\":\"{}\",\"bytesTransferredIn\":{sent},\
             \"AuthenticationMethod\":\"AuthHeader\",\"x-amz-id-2\":\"{}=\",\"bytesTransferredOut\":{got}}}",
            cipher(session).1,
            names::lower(rng, 75)
        );
    }
}

fn request_id(service: &str, rng: &mut ChaCha8Rng) -> String {
    match service {
        "s3" => names::upper(rng, 16),
        "dynamodb" => names::upper(rng, 52),
        _ => names::uuid(rng),
    }
}

fn resources(body: &mut String, world: &World, session: &Session, call: &Call) {
    if call.resources.is_empty() {
        return;
    }
    body.push_str(",\"resources\":[");
    for (at, (kind, arn)) in call.resources.iter().enumerate() {
        if at > 0 {
            body.push(',');
        }
        if *kind == "AWS::S3::Object" {
            body.push_str("{\"type\":\"AWS::S3::Object\",\"ARN\":");
        } else {
            let named = arn.split(':').nth(4).filter(|id| id.len() == 12);
            let id = named.unwrap_or(&world.accounts[session.account].id);
            let _ = write!(body, "{{\"accountId\":\"{id}\",\"type\":\"{kind}\",\"ARN\":");
        }
        text(body, arn);
        body.push('}');
    }
    body.push(']');
}

fn cipher(session: &Session) -> (&'static str, &'static str) {
    // Old clients speak TLS 1.2; a client keeps to what it speaks.
    let sum: u64 = session.agent.bytes().fold(3, |sum, byte| mix(sum ^ u64::from(byte)));
    if sum.is_multiple_of(4) {
        ("TLSv1.2", "ECDHE-RSA-AES128-GCM-SHA256")
    } else {
        ("TLSv1.3", "TLS_AES_128_GCM_SHA256")
    }
}

fn tls(body: &mut String, session: &Session, call: &Call, region: &str) {
    if session.source.ends_with(".amazonaws.com") || call.event_type == "AwsServiceEvent" {
        return;
    }
    let (version, suite) = cipher(session);
    let _ = write!(
        body,
        ",\"tlsDetails\":{{\"tlsVersion\":\"{version}\",\"cipherSuite\":\"{suite}\",\"clientProvidedHostHeader\":\"",
    );
    let _ = match call.service {
        "signin" => write!(body, "{region}.signin.aws.amazon.com"),
        service if is_global(service) => write!(body, "{service}.amazonaws.com"),
        service => write!(body, "{service}.{region}.amazonaws.com"),
    };
    body.push_str("\"}");
}

/// The ARN as `userIdentity.arn` has it; the host name for services, the account id for foreign accounts.
pub fn principal_arn(world: &World, session: &Session) -> String {
    let id = &world.accounts[session.account].id;
    match &session.identity {
        Identity::User { name, .. } => format!("arn:aws:iam::{id}:user/{name}"),
        Identity::Role { role, session_name, .. } => {
            format!("arn:aws:sts::{}:assumed-role/{}/{session_name}", world.accounts[role.account].id, role.name)
        }
        Identity::Root => format!("arn:aws:iam::{id}:root"),
        Identity::Service(host) => (*host).to_owned(),
        Identity::Federated { name, .. } => format!("arn:aws:sts::{id}:federated-user/{name}"),
        Identity::WebIdentity { subject, .. } | Identity::Saml { subject, .. } => subject.clone(),
        Identity::ForeignAccount { id, .. } => id.clone(),
        Identity::Anonymous => "anonymous".to_owned(),
    }
}

/// `userIdentity.principalId`
pub fn principal_id(world: &World, account: usize, identity: &Identity) -> String {
    match identity {
        Identity::User { id, .. } => id.clone(),
        Identity::Role { role, session_name, .. } => format!("{}:{session_name}", role.id),
        _ => world.accounts[account].id.clone(),
    }
}

/// `2026-03-02T09:14:22Z`
pub fn event_time(ms: i64) -> String {
    let (year, month, day) = civil(ms.div_euclid(86_400_000));
    let s = ms.rem_euclid(86_400_000) / 1000;
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
}

/// `Mar 2, 2026, 9:14:22 AM`, as times stand in responses.
pub fn response_time(ms: i64) -> String {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = civil(ms.div_euclid(86_400_000));
    let s = ms.rem_euclid(86_400_000) / 1000;
    let (hour, half) = (s / 3600, if s < 43_200 { "AM" } else { "PM" });
    let hour = if hour % 12 == 0 { 12 } else { hour % 12 };
    let month = MONTHS[(month as usize - 1) % 12];
    format!("{month} {day}, {year}, {hour}:{:02}:{:02} {half}", s / 60 % 60, s % 60)
}

/// Year, month and day of a day counted from 1970-01-01 (the days-from-civil inverse of the proleptic Gregorian
/// calendar, by 400-year eras).
pub fn civil(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::generate::world::START_MS;

    #[test]
    fn times() {
        for (ms, event, response) in [
            (START_MS, "2026-03-02T00:00:00Z", "Mar 2, 2026, 12:00:00 AM"),
            (1_709_210_096_999, "2024-02-29T12:34:56Z", "Feb 29, 2024, 12:34:56 PM"),
            (1_798_761_599_000, "2026-12-31T23:59:59Z", "Dec 31, 2026, 11:59:59 PM"),
            (951_868_800_000, "2000-03-01T00:00:00Z", "Mar 1, 2000, 12:00:00 AM"),
        ] {
            assert_eq!((event_time(ms).as_str(), response_time(ms).as_str()), (event, response));
        }
    }
}
