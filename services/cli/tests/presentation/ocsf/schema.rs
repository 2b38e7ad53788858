//! What OCSF 1.6.0 asks of a Detection Finding, as far as Trailwarden writes one.
//!
//! An own statement of facts that stand at <https://schema.ocsf.io/1.6.0/classes/detection_finding> (profiles `cloud` and
//! `incident`) and on the pages of the objects: names, types, what is required, ids with their captions. An attribute that is
//! not listed counts as unknown, also where the schema has it. Names, types, lists, requirements, ids, captions and constraints
//! were compared by machine with the compiled schema as PyPI's `ocsf-json-schema` 1.2.0 ships it: they are the same, but for two
//! kinds of text that are plain texts here, and ids of observables, of which those that are written are listed.

use std::net::IpAddr;

use serde_json::Value;

/// An object, then its attributes: name, `!` where required, type, `*` for a list, and the ids that it may take with
/// their captions. `one of` names attributes of which at least one must be there.
const STATEMENT: &str = "
detection_finding
  activity_id! integer 0=Unknown|1=Create|2=Update|3=Close|99=Other
  activity_name string
  category_uid! integer 2=Findings
  category_name string
  class_uid! integer 2004=Detection Finding
  class_name string
  cloud! cloud
  comment string
  confidence string
  confidence_id integer 0=Unknown|1=Low|2=Medium|3=High|99=Other
  confidence_score integer
  duration long
  end_time timestamp
  evidences evidences*
  finding_info! finding_info
  is_alert boolean
  message string
  metadata! metadata
  observables observable*
  remediation remediation
  resources resource_details*
  risk_level string
  risk_level_id integer 0=Info|1=Low|2=Medium|3=High|4=Critical|99=Other
  severity string
  severity_id! integer 0=Unknown|1=Informational|2=Low|3=Medium|4=High|5=Critical|6=Fatal|99=Other
  start_time timestamp
  status string
  status_detail string
  status_id integer 0=Unknown|1=New|2=In Progress|3=Suppressed|4=Resolved|5=Archived|6=Deleted|99=Other
  time! timestamp
  timezone_offset integer
  type_name string
  type_uid! long 200400=Detection Finding: Unknown|200401=Detection Finding: Create|200402=Detection Finding: Update|200403=Detection Finding: Close|200499=Detection Finding: Other
  unmapped members
  verdict string
  verdict_id integer 0=Unknown|1=False Positive|2=True Positive|3=Disregard|4=Suspicious|5=Benign|6=Test|7=Insufficient Data|8=Security Risk|9=Managed Externally|10=Duplicate|99=Other
metadata
  is_truncated boolean
  product! product
  profiles string*
  sequence integer
  uid string
  version! string
product
  one of name uid
  lang string
  name string
  uid string
  vendor_name string
  version string
finding_info
  analytic analytic
  attacks attack*
  created_time timestamp
  data_sources string*
  desc string
  first_seen_time timestamp
  last_seen_time timestamp
  modified_time timestamp
  related_events related_event*
  related_events_count integer
  title string
  types string*
  uid! string
analytic
  one of name uid
  name string
  type string
  type_id! integer 0=Unknown|1=Rule|2=Behavioral|3=Statistical|4=Learning (ML/DL)|5=Fingerprinting|6=Tagging|7=Keyword Match|8=Regular Expressions|9=Exact Data Match|10=Partial Data Match|11=Indexed Data Match|99=Other
  uid string
  version string
attack
  one of tactic technique sub_technique
  sub_technique sub_technique
  technique technique
technique
  one of name uid
  name string
  src_url url
  uid string
sub_technique
  one of name uid
  name string
  src_url url
  uid string
related_event
  attacks attack*
  type string
  uid! string
cloud
  account account
  cloud_partition string
  provider! string
account
  one of name uid
  type string
  type_id integer 0=Unknown|1=LDAP Account|2=Windows Account|3=AWS IAM User|4=AWS IAM Role|5=GCP Account|6=Azure AD Account|7=Mac OS Account|8=Apple Account|9=Linux Account|10=AWS Account|11=GCP Project|12=OCI Compartment|13=Azure Subscription|14=Salesforce Account|15=Google Workspace|16=Servicenow Instance|17=M365 Tenant|18=Email Account|99=Other
  uid string
evidences
  one of actor api connection_info data database databucket device dst_endpoint email file process query src_endpoint url user job script reg_key reg_value win_service
  actor actor
  api api
  data json
  http_request http_request
  resources resource_details*
  src_endpoint network_endpoint
  uid string
actor
  one of process user invoked_by session app_name app_uid
  session session
  user user
user
  one of account name uid
  account account
  name string
  type string
  type_id integer 0=Unknown|1=User|2=Admin|3=System|4=Service|99=Other
  uid string
session
  credential_uid string
  is_mfa boolean
  uid string
api
  operation! string
  response response
  service service
response
  error string
  error_message string
service
  one of name uid
  name string
network_endpoint
  one of ip uid name hostname svc_name instance_uid interface_uid interface_name domain
  ip ip
  svc_name string
http_request
  user_agent string
resource_details
  one of name uid
  owner user
  region string
  role string
  role_id integer 0=Unknown|1=Target|2=Actor|3=Affected|4=Related|99=Other
  type string
  uid string
remediation
  desc! string
observable
  name string
  type string
  type_id! integer 2=IP Address|10=Resource UID|16=HTTP User-Agent|19=User Credential ID|31=User Object: uid|35=Account Object: uid
  value string
";

#[derive(Debug)]
struct Attribute {
    name: &'static str,
    is_required: bool,
    kind: &'static str,
    is_list: bool,
    ids: Vec<(i64, &'static str)>,
}

/// What is wrong with an event, by where it stands; empty where nothing is.
pub(super) fn problems(event: &Value) -> Vec<String> {
    let mut problems = Vec::new();
    object("detection_finding", event, "", &mut problems);
    problems
}

fn attributes(object: &str) -> (Vec<Attribute>, Vec<&'static str>) {
    let mut lines = STATEMENT.lines().skip_while(|line| *line != object);
    assert!(lines.next().is_some(), "no object {object}");
    let (mut attributes, mut one_of) = (Vec::new(), Vec::new());
    for line in lines.map_while(|line| line.strip_prefix("  ")) {
        if let Some(names) = line.strip_prefix("one of ") {
            one_of = names.split(' ').collect();
            continue;
        }
        let mut words = line.splitn(3, ' ');
        let (name, kind) = (words.next().expect("a name"), words.next().expect("a type"));
        let ids = words.next().map_or_else(Vec::new, |ids| {
            let pair = |pair: &'static str| pair.split_once('=').expect("an id and its caption");
            ids.split('|').map(pair).map(|(id, caption)| (id.parse().expect("an id"), caption)).collect()
        });
        attributes.push(Attribute {
            name: name.trim_end_matches('!'),
            is_required: name.ends_with('!'),
            kind: kind.trim_end_matches('*'),
            is_list: kind.ends_with('*'),
            ids,
        });
    }
    (attributes, one_of)
}

fn object(name: &str, value: &Value, place: &str, problems: &mut Vec<String>) {
    let Some(members) = value.as_object() else {
        problems.push(format!("{place}: not an object"));
        return;
    };
    let (attributes, one_of) = attributes(name);
    for attribute in attributes.iter().filter(|attribute| attribute.is_required) {
        if !members.contains_key(attribute.name) {
            problems.push(format!("{place}.{}: absent", attribute.name));
        }
    }
    if !one_of.is_empty() && !one_of.iter().any(|name| members.contains_key(*name)) {
        problems.push(format!("{place}: none of {one_of:?}"));
    }
    for (member, value) in members {
        let place = format!("{place}.{member}");
        let Some(attribute) = attributes.iter().find(|attribute| attribute.name == member) else {
            problems.push(format!("{place}: unknown"));
            continue;
        };
        match (attribute.is_list, value.as_array()) {
            (true, Some(items)) if !items.is_empty() => {
                items.iter().for_each(|item| one(attribute, item, &place, problems))
            }
            (true, _) => problems.push(format!("{place}: not a list with something in it")),
            (false, _) => one(attribute, value, &place, problems),
        }
        if let Some((_, caption)) = attribute.ids.iter().find(|(id, _)| value.as_i64() == Some(*id)) {
            let sibling = member.strip_suffix("_id").or_else(|| member.strip_suffix("_uid")).expect("an id");
            let sibling = members.get(sibling).or_else(|| members.get(&format!("{sibling}_name")));
            if *caption != "Other" && sibling.and_then(Value::as_str).is_none_or(|text| text != *caption) {
                problems.push(format!("{place}: {sibling:?} instead of {caption}"));
            }
        }
    }
}

fn one(attribute: &Attribute, value: &Value, place: &str, problems: &mut Vec<String>) {
    let text = value.as_str();
    let is_of_kind = match attribute.kind {
        "string" => text.is_some_and(|text| !text.is_empty()),
        "url" => text.is_some_and(|text| text.starts_with("https://") && !text.contains([' ', '"'])),
        "ip" => text.is_some_and(|text| text.parse::<IpAddr>().is_ok()),
        "integer" => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        "long" | "timestamp" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "json" => !value.is_null(),
        "members" => value.is_object(),
        kind => return object(kind, value, place, problems),
    };
    if !is_of_kind {
        problems.push(format!("{place}: {value} is not of type {}", attribute.kind));
    }
    if !attribute.ids.is_empty() && !attribute.ids.iter().any(|(id, _)| value.as_i64() == Some(*id)) {
        problems.push(format!("{place}: {value} is none of its ids"));
    }
}
