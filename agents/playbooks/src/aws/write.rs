//! Requests as services want them: one writer a protocol.

use serde_json::Value;
use trailwarden_runtime::sigv4::{self, encoded};

use super::AwsError;
use super::facts::{Member, Operation, Place, Protocol, Scalar, Service, Shape};

/// A request before it has an address and a signature.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Written {
    pub(super) method: String,
    /// Encoded.
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// Lists within lists that a request may hold.
const DEPTH_MAX: usize = 12;

pub(super) fn write(service: &Service, name: &str, facts: &Operation, parameters: &Value) -> Result<Written, AwsError> {
    match service.protocol {
        Protocol::Query | Protocol::Ec2 => form(service, name, facts, parameters),
        Protocol::Json => {
            let mut written = post("application/x-amz-json-1.1", json_bytes(parameters)?);
            written.headers.push(("x-amz-target".to_owned(), format!("{}.{name}", service.target)));
            Ok(written)
        }
        Protocol::RestJson | Protocol::RestXml => rest(service, facts, parameters),
    }
}

fn post(content_type: &str, body: Vec<u8>) -> Written {
    let headers = vec![("content-type".to_owned(), content_type.to_owned())];
    Written { method: "POST".to_owned(), path: "/".to_owned(), query: String::new(), headers, body }
}

fn json_bytes(value: &Value) -> Result<Vec<u8>, AwsError> {
    serde_json::to_vec(value).map_err(|error| AwsError::invalid(error.to_string()))
}

/// The members of a structure that a value gives, each known.
fn members<'a>(shape: &'a Shape, value: &'a Value) -> Result<Vec<(&'a str, &'a Member, &'a Value)>, AwsError> {
    let (Shape::Structure { members }, Some(given)) = (shape, value.as_object()) else {
        return Err(AwsError::invalid("a structure is wanted where something else is given"));
    };
    let mut found = Vec::new();
    for (name, value) in given.iter().filter(|(_, value)| !value.is_null()) {
        let (name, member) =
            members.get_key_value(name).ok_or_else(|| AwsError::invalid(format!("no parameter {name} is known")))?;
        found.push((name.as_str(), member, value));
    }
    Ok(found)
}

/// A scalar as text. What was captured along a path through lists may be a list of one.
fn text(scalar: Scalar, value: &Value) -> Result<String, AwsError> {
    match (scalar, value) {
        (_, Value::Array(items)) if items.len() == 1 => text(scalar, &items[0]),
        (Scalar::Text, Value::String(text)) => Ok(text.clone()),
        // A policy document that was read as JSON goes back as text.
        (Scalar::Text, Value::Object(_)) => serde_json::to_string(value).map_err(|e| AwsError::invalid(e.to_string())),
        (Scalar::Integer, Value::Number(number)) => Ok(number.to_string()),
        (Scalar::Boolean, Value::Bool(yes)) => Ok(yes.to_string()),
        _ => Err(AwsError::invalid("a parameter is not of its kind")),
    }
}

fn form(service: &Service, name: &str, facts: &Operation, parameters: &Value) -> Result<Written, AwsError> {
    let mut pairs = vec![("Action".to_owned(), name.to_owned()), ("Version".to_owned(), service.version.clone())];
    flatten(&mut pairs, "", &facts.request, parameters, DEPTH_MAX)?;
    let body: Vec<String> =
        pairs.iter().map(|(name, value)| format!("{}={}", encoded(name, false), encoded(value, false))).collect();
    Ok(post("application/x-www-form-urlencoded; charset=utf-8", body.join("&").into_bytes()))
}

fn flatten(
    pairs: &mut Vec<(String, String)>,
    prefix: &str,
    shape: &Shape,
    value: &Value,
    depth_left: usize,
) -> Result<(), AwsError> {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(AwsError::invalid("parameters are nested too deeply"));
    };
    match shape {
        Shape::Scalar(scalar) => pairs.push((prefix.to_owned(), text(*scalar, value)?)),
        Shape::List { item, name } => {
            let items = value.as_array().ok_or_else(|| AwsError::invalid(format!("{prefix} wants a list")))?;
            let prefix = name.as_ref().map_or_else(|| prefix.to_owned(), |name| format!("{prefix}.{name}"));
            for (at, value) in items.iter().enumerate() {
                flatten(pairs, &format!("{prefix}.{}", at + 1), item, value, depth_left)?;
            }
        }
        Shape::Structure { .. } => {
            for (name, member, value) in members(shape, value)? {
                let name = member.wire_name(name);
                let prefix = if prefix.is_empty() { name.to_owned() } else { format!("{prefix}.{name}") };
                flatten(pairs, &prefix, &member.shape, value, depth_left)?;
            }
        }
    }
    Ok(())
}

fn rest(service: &Service, facts: &Operation, parameters: &Value) -> Result<Written, AwsError> {
    let (method, uri) = facts.http.as_ref().ok_or_else(|| AwsError::invalid("an operation without method and path"))?;
    let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
    let mut written =
        Written { method: method.clone(), path: path.to_owned(), query: query.to_owned(), ..Written::default() };
    let mut body = serde_json::Map::new();
    let mut payload = None;
    for (name, member, value) in members(&facts.request, parameters)? {
        let wire = member.wire_name(name);
        let scalar = match &member.shape {
            Shape::Scalar(scalar) => Some(*scalar),
            _ => None,
        };
        match (member.place, scalar) {
            (Some(Place::Uri), Some(scalar)) => {
                let text = text(scalar, value)?;
                // An empty name would make another path, and so another operation, of it; so would dots.
                if text.is_empty() || text == "." || text == ".." {
                    return Err(AwsError::invalid(format!("{name} is no name")));
                }
                written.path = written.path.replace(&format!("{{{wire}}}"), &encoded(&text, false));
            }
            (Some(Place::Querystring), Some(scalar)) => {
                let pair = format!("{}={}", encoded(wire, false), encoded(&text(scalar, value)?, false));
                written.query = [written.query.as_str(), &pair].join(if written.query.is_empty() { "" } else { "&" });
            }
            (Some(Place::Header), Some(scalar)) => {
                written.headers.push((wire.to_ascii_lowercase(), text(scalar, value)?));
            }
            (None, _) if facts.request_payload.as_deref() == Some(name) => payload = Some((wire, member, value)),
            (None, _) => {
                body.insert(wire.to_owned(), value.clone());
            }
            _ => return Err(AwsError::invalid(format!("{name} cannot stand where it should"))),
        }
    }
    if written.path.contains(['{', '}']) {
        return Err(AwsError::invalid("a name of the path is missing"));
    }
    let content_type = match (service.protocol, payload) {
        (Protocol::RestXml, Some((wire, member, value))) => match &member.shape {
            Shape::Scalar(scalar) => {
                written.body = text(*scalar, value)?.into_bytes();
                "application/json"
            }
            shape => {
                let mut xml = String::new();
                element(&mut xml, wire, Some(&service.namespace), shape, value, DEPTH_MAX)?;
                written.body = xml.into_bytes();
                "application/xml"
            }
        },
        (Protocol::RestJson, None) if !body.is_empty() => {
            written.body = json_bytes(&Value::Object(body))?;
            "application/json"
        }
        _ if body.is_empty() => "",
        _ => return Err(AwsError::invalid("parameters that have no place")),
    };
    if !content_type.is_empty() {
        written.headers.push(("content-type".to_owned(), content_type.to_owned()));
    }
    if facts.checksum {
        use base64::Engine as _;
        let digest = base64::engine::general_purpose::STANDARD.encode(sigv4::sha256(&written.body));
        written.headers.push(("x-amz-checksum-sha256".to_owned(), digest));
    }
    Ok(written)
}

fn element(
    xml: &mut String,
    name: &str,
    namespace: Option<&str>,
    shape: &Shape,
    value: &Value,
    depth_left: usize,
) -> Result<(), AwsError> {
    let Some(depth_left) = depth_left.checked_sub(1) else {
        return Err(AwsError::invalid("parameters are nested too deeply"));
    };
    xml.push_str(&format!("<{name}"));
    if let Some(namespace) = namespace {
        xml.push_str(&format!(" xmlns=\"{}\"", escaped(namespace)));
    }
    let mut inner = String::new();
    match shape {
        Shape::Scalar(scalar) => inner = escaped(&text(*scalar, value)?),
        Shape::List { item, name } => {
            let items = value.as_array().ok_or_else(|| AwsError::invalid("a list is wanted"))?;
            let name = name.as_deref().ok_or_else(|| AwsError::invalid("items without a name"))?;
            for value in items {
                element(&mut inner, name, None, item, value, depth_left)?;
            }
        }
        Shape::Structure { .. } => {
            for (name, member, value) in members(shape, value)? {
                let wire = member.wire_name(name);
                match (&member.shape, member.place) {
                    (Shape::Scalar(scalar), Some(Place::Attribute)) => {
                        xml.push_str(" xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\"");
                        xml.push_str(&format!(" {wire}=\"{}\"", escaped(&text(*scalar, value)?)));
                    }
                    (shape, _) => element(&mut inner, wire, None, shape, value, depth_left)?,
                }
            }
        }
    }
    xml.push_str(&format!(">{inner}</{name}>"));
    Ok(())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::facts::Table;
    use super::*;

    fn written(service: &str, operation: &str, parameters: &Value) -> Result<Written, AwsError> {
        let table = Table::compiled_in()?;
        let (service, facts) = table.operation(service, operation)?;
        write(service, operation, facts, parameters)
    }

    fn body(service: &str, operation: &str, parameters: &Value) -> String {
        String::from_utf8(written(service, operation, parameters).expect("writes").body).expect("text")
    }

    #[test]
    fn one_writer_a_protocol() {
        assert_eq!(
            body("iam", "TagUser", &json!({ "UserName": "a b", "Tags": [{ "Key": "k", "Value": "v&" }] })),
            "Action=TagUser&Version=2010-05-08&Tags.member.1.Key=k&Tags.member.1.Value=v%26&UserName=a%20b"
        );
        assert_eq!(
            body("ec2", "DescribeTags", &json!({ "Filters": [{ "Name": "n", "Values": ["1", "2"] }] })),
            "Action=DescribeTags&Version=2016-11-15&Filter.1.Name=n&Filter.1.Value.1=1&Filter.1.Value.2=2"
        );
        assert_eq!(
            body("rds", "ModifyDBSnapshotAttribute", &json!({ "ValuesToAdd": ["all"] })),
            "Action=ModifyDBSnapshotAttribute&Version=2014-10-31&ValuesToAdd.AttributeValue.1=all"
        );
        let kms = written("kms", "EnableKey", &json!({ "KeyId": "k" })).expect("writes");
        assert_eq!(kms.body, br#"{"KeyId":"k"}"#);
        assert!(kms.headers.contains(&("x-amz-target".to_owned(), "TrentService.EnableKey".to_owned())));
        let lambda = json!({ "FunctionName": "arn:f", "ReservedConcurrentExecutions": 0 });
        let lambda = written("lambda", "PutFunctionConcurrency", &lambda).expect("writes");
        assert_eq!(lambda.path, "/2017-10-31/functions/arn%3Af/concurrency");
        assert_eq!(lambda.body, br#"{"ReservedConcurrentExecutions":0}"#);
        let detector = written("guardduty", "UpdateDetector", &json!({ "DetectorId": "d", "Enable": true }));
        assert_eq!(detector.expect("writes").body, br#"{"enable":true}"#);
        let grant = json!({ "Grantee": { "ID": "i<", "Type": "CanonicalUser" }, "Permission": "READ" });
        let acl = json!({ "Bucket": "b", "AccessControlPolicy": { "Grants": [grant] } });
        let acl = written("s3", "PutBucketAcl", &acl).expect("writes");
        assert_eq!((acl.path.as_str(), acl.query.as_str()), ("/b", "acl"));
        assert_eq!(
            String::from_utf8(acl.body).expect("text"),
            "<AccessControlPolicy xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><AccessControlList><Grant><Grantee \
             xmlns:xsi=\"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"CanonicalUser\"><ID>i&lt;</ID></Grantee>\
             <Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>"
        );
    }

    #[test]
    fn what_no_table_knows_is_not_called() {
        for (service, operation, parameters) in [
            ("iam", "DeleteUser", json!({})),
            ("iam", "TagUser", json!({ "Other": 1 })),
            ("iam", "TagUser", json!({ "UserName": { "$captured": ["x"] }, "Tags": "no list" })),
            ("s3", "DeleteBucketPolicy", json!({ "Bucket": "" })),
            ("s3", "DeleteBucketPolicy", json!({ "Bucket": ".." })),
            ("s3", "DeleteBucketPolicy", json!({})),
        ] {
            assert!(written(service, operation, &parameters).is_err(), "{service} {operation} {parameters}");
        }
        let path = written("s3", "DeleteBucketPolicy", &json!({ "Bucket": "a/../b?x" })).expect("writes").path;
        assert_eq!(path, "/a%2F..%2Fb%3Fx");
    }
}
