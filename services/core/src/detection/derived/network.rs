//! Firewall rules: what a call opens to the whole internet, in every shape CloudTrail writes them.

use serde_json::Value;

use crate::record::RecordView;

/// Deepest nesting of request parameters that is searched; the deepest real shape has 7 levels.
const DEPTH_MAX: u32 = 16;

/// What a call opens to the world (see [`is_world`]), the gravest first: `all`, `remote_access`,
/// `database`, `other`, `web`. `None` when it opens nothing to the world.
pub(super) fn opened_to_the_world(view: &RecordView<'_>) -> Option<&'static str> {
    let mut worst = None;
    search(view.value("requestParameters")?, Ports::default(), 0, &mut worst);
    worst.map(Exposure::name)
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Exposure {
    Web,
    Other,
    Database,
    RemoteAccess,
    All,
}

impl Exposure {
    fn name(self) -> &'static str {
        match self {
            Self::Web => "web",
            Self::Other => "other",
            Self::Database => "database",
            Self::RemoteAccess => "remote_access",
            Self::All => "all",
        }
    }
}

/// The ports of the nearest enclosing rule; addresses may stand a few levels below them.
#[derive(Clone, Copy, Default)]
struct Ports<'v> {
    protocol: Option<&'v str>,
    from: Option<i64>,
    to: Option<i64>,
}

fn search<'v>(value: &'v Value, ports: Ports<'v>, depth: u32, worst: &mut Option<Exposure>) {
    if depth > DEPTH_MAX {
        return;
    }
    match value {
        Value::Array(values) => values.iter().for_each(|value| search(value, ports, depth + 1, worst)),
        Value::Object(fields) => {
            let get = |names: [&str; 2]| names.into_iter().find_map(|name| fields.get(name));
            let ports = Ports {
                protocol: get(["ipProtocol", "IpProtocol"]).and_then(Value::as_str).or(ports.protocol),
                from: get(["fromPort", "FromPort"]).and_then(number).or(ports.from),
                to: get(["toPort", "ToPort"]).and_then(number).or(ports.to),
            };
            for (name, value) in fields {
                match value {
                    Value::String(address) if is_address_field(name) && is_world(address) => {
                        *worst = (*worst).max(Some(exposure(ports, name)));
                    }
                    Value::Array(_) | Value::Object(_) => search(value, ports, depth + 1, worst),
                    _ => {}
                }
            }
        }
        _ => {}
    }
}

/// Prefixes of 0 bits, and of 1: two halves of the internet are the whole under another name.
fn is_world(network: &str) -> bool {
    network.rsplit_once('/').is_some_and(|(_, prefix)| prefix.parse::<u8>().is_ok_and(|bits| bits <= 1))
}

fn is_address_field(name: &str) -> bool {
    ["cidrIp", "cidrIpv6", "cidrIpv4", "cidrip"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn number(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.parse().ok())
}

fn exposure(ports: Ports<'_>, address_field: &str) -> Exposure {
    const REMOTE_ACCESS: [i64; 7] = [22, 23, 445, 3389, 5900, 5985, 5986];
    const DATABASE: [i64; 14] = [1433, 1521, 2375, 2379, 3306, 5432, 5439, 5984, 6379, 9042, 9200, 10250, 11211, 27017];
    const WEB: [i64; 2] = [80, 443];
    /// A rule that spans this many ports opens whatever is there.
    const WIDE: i64 = 1024;

    if address_field == "cIDRIP" {
        // The database services' own security groups carry no ports: they guard databases.
        return Exposure::Database;
    }
    match ports.protocol {
        Some("-1" | "all") => return Exposure::All,
        Some("icmp" | "icmpv6" | "1" | "58") => return Exposure::Other,
        _ => {}
    }
    let (Some(from), Some(to)) = (ports.from, ports.to.or(ports.from)) else {
        return Exposure::All;
    };
    let within = |port: &i64| (from..=to).contains(port);
    if from < 0 || to.saturating_sub(from) >= WIDE {
        Exposure::All
    } else if REMOTE_ACCESS.iter().any(within) {
        Exposure::RemoteAccess
    } else if DATABASE.iter().any(within) {
        Exposure::Database
    } else if from == to && WEB.contains(&from) {
        Exposure::Web
    } else {
        Exposure::Other
    }
}
