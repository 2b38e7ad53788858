//! Answers as values by their API names: one reader a kind of body. Bodies are bounded before they come here.

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use serde_json::{Map, Value};
use trailwarden_runtime::quoted::quoted;

use super::AwsError;
use super::facts::{Operation, Place, Protocol, Scalar, Shape};

/// An element of an answer.
#[derive(Debug, Default)]
struct Element {
    name: String,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Element>,
}

const DEPTH_MAX: usize = 32;

/// Reads an answer that is no error.
pub(super) fn answer(protocol: Protocol, facts: &Operation, body: &[u8]) -> Result<Value, AwsError> {
    let Some(shape) = &facts.answer else {
        return if protocol == Protocol::Json { json(body) } else { Ok(Value::Null) };
    };
    match protocol {
        Protocol::Json => json(body),
        Protocol::RestJson => Ok(renamed(shape, &json(body)?)),
        Protocol::RestXml if is_text_payload(facts, shape) => {
            let text = String::from_utf8_lossy(body).into_owned();
            let name = facts.answer_payload.clone().unwrap_or_default();
            Ok(Value::Object(Map::from_iter([(name, Value::String(text))])))
        }
        Protocol::Query | Protocol::Ec2 | Protocol::RestXml => {
            let root = element(body)?;
            let root = match &facts.wrapper {
                Some(wrapper) => root.children.into_iter().find(|child| child.name == *wrapper).unwrap_or_default(),
                None => root,
            };
            match (&facts.answer_payload, shape) {
                (Some(payload), Shape::Structure { members }) => {
                    let inner = members.get(payload).map_or(Value::Null, |member| value(&member.shape, &root));
                    Ok(Value::Object(Map::from_iter([(payload.clone(), inner)])))
                }
                _ => Ok(value(shape, &root)),
            }
        }
    }
}

fn is_text_payload(facts: &Operation, shape: &Shape) -> bool {
    let (Some(payload), Shape::Structure { members }) = (&facts.answer_payload, shape) else {
        return false;
    };
    members.get(payload).is_some_and(|member| matches!(member.shape, Shape::Scalar(_)))
}

fn json(body: &[u8]) -> Result<Value, AwsError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(body).map_err(|_| AwsError::Unanswered { message: "the answer is no JSON".to_owned() })
}

/// The first level of a JSON answer by its API names.
fn renamed(shape: &Shape, value: &Value) -> Value {
    let Shape::Structure { members } = shape else {
        return value.clone();
    };
    let of = |(name, member): (&String, &super::facts::Member)| {
        value.get(member.wire_name(name)).map(|value| (name.clone(), value.clone()))
    };
    Value::Object(members.iter().filter_map(of).collect())
}

/// What an error's body says: its code and its message.
pub(super) fn refusal(status: u16, header_code: Option<&str>, body: &[u8]) -> AwsError {
    let json = serde_json::from_slice::<Value>(body).unwrap_or_default();
    let of = |names: &[&str]| names.iter().find_map(|name| json.get(name)?.as_str()).unwrap_or_default().to_owned();
    let (mut code, mut message) = (of(&["__type", "code", "Code"]), of(&["message", "Message"]));
    if let Some(header) = header_code {
        code = header.split(':').next().unwrap_or_default().to_owned();
    }
    if code.is_empty()
        && let Ok(root) = element(body)
    {
        (code, message) = (found(&root, "Code").unwrap_or_default(), found(&root, "Message").unwrap_or_default());
    }
    AwsError::answered(status, &code, &message)
}

fn found(element: &Element, name: &str) -> Option<String> {
    if element.name == name {
        return Some(element.text.clone());
    }
    element.children.iter().find_map(|child| found(child, name))
}

fn value(shape: &Shape, element: &Element) -> Value {
    match shape {
        Shape::Scalar(Scalar::Text) => Value::String(element.text.clone()),
        Shape::Scalar(Scalar::Boolean) => Value::Bool(element.text.trim().eq_ignore_ascii_case("true")),
        Shape::Scalar(Scalar::Integer) => element.text.trim().parse::<i64>().map_or(Value::Null, Value::from),
        Shape::List { item, name } => {
            let wanted = name.as_deref();
            let items = element.children.iter().filter(|child| wanted.is_none_or(|name| child.name == name));
            Value::Array(items.map(|child| value(item, child)).collect())
        }
        Shape::Structure { members } => {
            let mut out = Map::new();
            for (name, member) in members {
                let wire = member.wire_name(name);
                if member.place == Some(Place::Attribute) {
                    let own = element.attributes.iter().find(|(key, _)| key == wire);
                    out.extend(own.map(|(_, text)| (name.clone(), Value::String(text.clone()))));
                } else if let Shape::List { item, name: None } = &member.shape {
                    // Flattened: its items stand among the members.
                    let items = element.children.iter().filter(|child| child.name == wire);
                    out.insert(name.clone(), Value::Array(items.map(|child| value(item, child)).collect()));
                } else if let Some(child) = element.children.iter().find(|child| child.name == wire) {
                    out.insert(name.clone(), value(&member.shape, child));
                }
            }
            Value::Object(out)
        }
    }
}

/// The tree of a body. Document types are not read, so no entity is expanded but the five of XML and characters.
fn element(body: &[u8]) -> Result<Element, AwsError> {
    let bad = |what: &str| AwsError::Unanswered { message: format!("the answer is no XML: {}", quoted(what)) };
    let mut reader = Reader::from_reader(body);
    let mut open: Vec<Element> = Vec::new();
    loop {
        match reader.read_event().map_err(|error| bad(&error.to_string()))? {
            Event::Start(start) if open.len() < DEPTH_MAX => open.push(begun(&start)),
            Event::Start(_) => return Err(bad("nested too deeply")),
            Event::Empty(start) => {
                let own = begun(&start);
                match open.last_mut() {
                    Some(parent) => parent.children.push(own),
                    None => return Ok(own),
                }
            }
            Event::Text(text) => {
                if let Some(current) = open.last_mut() {
                    current.text.push_str(&String::from_utf8_lossy(&text));
                }
            }
            Event::CData(text) => {
                if let Some(current) = open.last_mut() {
                    current.text.push_str(&String::from_utf8_lossy(&text));
                }
            }
            Event::GeneralRef(reference) => {
                let name = String::from_utf8_lossy(&reference).into_owned();
                let resolved = quick_xml::escape::unescape(&format!("&{name};")).map(|text| text.into_owned());
                if let (Some(current), Ok(text)) = (open.last_mut(), resolved) {
                    current.text.push_str(&text);
                }
            }
            Event::End(_) => {
                let Some(mut own) = open.pop() else {
                    return Err(bad("it ends before it begins"));
                };
                if !own.children.is_empty() {
                    own.text.clear();
                }
                match open.last_mut() {
                    Some(parent) => parent.children.push(own),
                    None => return Ok(own),
                }
            }
            Event::Eof => return Err(bad("it ends early")),
            _ => {}
        }
    }
}

fn begun(start: &BytesStart<'_>) -> Element {
    let name = String::from_utf8_lossy(start.local_name().as_ref()).into_owned();
    let attributes = start.attributes().flatten().map(|attribute| {
        let key = String::from_utf8_lossy(attribute.key.as_ref()).into_owned();
        let raw = String::from_utf8_lossy(&attribute.value).into_owned();
        (key, quick_xml::escape::unescape(&raw).map_or(raw.clone(), |text| text.into_owned()))
    });
    Element { name, attributes: attributes.collect(), ..Element::default() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::facts::Table;
    use super::*;

    fn read(service: &str, operation: &str, body: &str) -> Result<Value, AwsError> {
        let table = Table::compiled_in()?;
        let (service, facts) = table.operation(service, operation)?;
        answer(service.protocol, facts, body.as_bytes())
    }

    #[test]
    fn answers_are_read_by_their_names() {
        let keys = "<ListAccessKeysResponse xmlns=\"x\"><ListAccessKeysResult><AccessKeyMetadata><member><UserName>a&amp;b\
                    </UserName><Status>Active</Status></member></AccessKeyMetadata></ListAccessKeysResult></ListAccessKeysResponse>";
        let expect = json!({ "AccessKeyMetadata": [{ "UserName": "a&b", "Status": "Active" }] });
        assert_eq!(read("iam", "ListAccessKeys", keys), Ok(expect));
        let acl = "<?xml version=\"1.0\"?><AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi=\"i\" \
                   xsi:type=\"Group\"><URI>u</URI></Grantee><Permission>READ</Permission></Grant></AccessControlList>\
                   </AccessControlPolicy>";
        let grant = json!({ "Grantee": { "Type": "Group", "URI": "u" }, "Permission": "READ" });
        assert_eq!(read("s3", "GetBucketAcl", acl), Ok(json!({ "Grants": [grant] })));
        let block =
            "<PublicAccessBlockConfiguration><BlockPublicAcls>true</BlockPublicAcls></PublicAccessBlockConfiguration>";
        let expect = json!({ "PublicAccessBlockConfiguration": { "BlockPublicAcls": true } });
        assert_eq!(read("s3", "GetPublicAccessBlock", block), Ok(expect));
        assert_eq!(read("s3", "GetBucketPolicy", "{\"a\":1}"), Ok(json!({ "Policy": "{\"a\":1}" })));
        assert_eq!(read("guardduty", "GetDetector", r#"{"status":"ENABLED"}"#), Ok(json!({ "Status": "ENABLED" })));
        assert_eq!(read("kms", "EnableKey", ""), Ok(json!({})));
    }

    #[test]
    fn hostile_answers_are_errors_or_nothing() {
        let deep = "<a>".repeat(100_000);
        for body in ["", "<", "</a>", "no xml", "<a>", "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;", deep.as_str()] {
            assert!(read("iam", "ListAccessKeys", body).is_err(), "{:.40}", body);
        }
        assert!(read("kms", "DescribeKey", "[").is_err());
        let not_expanded = read("iam", "ListAccessKeys", "<!DOCTYPE a [<!ENTITY b \"c\">]><a><b>&b;</b></a>");
        assert_eq!(not_expanded, Ok(json!({})));
    }

    #[test]
    fn errors_say_their_code() {
        let xml = b"<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>no &lt;user&gt;</Message></Error></ErrorResponse>";
        assert_eq!(refusal(404, None, xml).to_string(), "not there: NoSuchEntity: no <user>");
        let json = br#"{"__type":"com.amazonaws.kms#NotFoundException","message":"m"}"#;
        assert_eq!(refusal(400, None, json).to_string(), "not there: NotFoundException: m");
        let code = Some("ResourceNotFoundException:http://x/");
        assert_eq!(refusal(404, code, b"{}").code(), "ResourceNotFoundException");
        assert_eq!(refusal(502, None, b"bad gateway").to_string(), "not now: HTTP 502: ");
    }
}
