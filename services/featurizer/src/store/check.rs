//! Whether servers are fit to hold state: what `doctor` shows, each line with what to do about it.

use std::collections::BTreeMap;

use redis::aio::MultiplexedConnection;
use redis::{RedisResult, Value};
use trailwarden_core::time::{SECOND_MS, Timestamp};
use trailwarden_runtime::Clock;

use super::remote::Connections;
use super::{Error, Finding};

/// Above this share of its memory a server is about to refuse.
const USED_SHARE_MAX: f64 = 0.8;
/// Clocks further apart than this are not the same.
const SKEW_MS_MAX: i64 = 10 * SECOND_MS;

/// What one server says of itself.
#[derive(Debug, Default)]
struct Facts {
    /// Lines of `INFO`.
    info: BTreeMap<String, String>,
    policy: Option<String>,
    time: Option<Timestamp>,
}

pub(super) async fn check(connections: &Connections, clock: &Clock) -> Result<Vec<Finding>, Error> {
    let mut findings = Vec::new();
    let mut answering = false;
    for (address, connection) in connections.each().await {
        let facts = match connection {
            Ok(mut connection) => facts(&mut connection).await,
            Err(error) => Err(error),
        };
        match facts {
            Ok(facts) => {
                answering = true;
                findings.extend(judge(&address, &facts, connections.is_cluster(), clock()));
            }
            Err(error) => findings.push(Finding {
                what: format!("{address} does not answer: {error}"),
                good: false,
                fix: "start the server, or correct windows.url".to_owned(),
            }),
        }
    }
    match answering {
        true => Ok(findings),
        false => {
            Err(Error::Unavailable(findings.into_iter().map(|finding| finding.what).collect::<Vec<_>>().join("; ")))
        }
    }
}

async fn facts(connection: &mut MultiplexedConnection) -> RedisResult<Facts> {
    let text: String = redis::cmd("INFO").query_async(connection).await?;
    let lines = text.lines().filter_map(|line| line.split_once(':'));
    let info: BTreeMap<String, String> = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut policy = info.get("maxmemory_policy").cloned();
    if policy.is_none() {
        let asked: RedisResult<Vec<String>> =
            redis::cmd("CONFIG").arg("GET").arg("maxmemory-policy").query_async(connection).await;
        // Forbidden on many managed servers; that it cannot be told is a finding of its own.
        policy = asked.ok().and_then(|pair| pair.into_iter().nth(1));
    }
    let time: RedisResult<Vec<Value>> = redis::cmd("TIME").query_async(connection).await;
    let seconds =
        time.ok().and_then(|parts| parts.into_iter().next()).and_then(|value| redis::from_redis_value(value).ok());
    let time = seconds.map(|seconds: i64| Timestamp::from_millis(seconds.saturating_mul(SECOND_MS)));
    Ok(Facts { info, policy, time })
}

fn judge(address: &str, facts: &Facts, cluster: bool, now: Timestamp) -> Vec<Finding> {
    let finding = |what: String, good: bool, fix: &str| Finding {
        what: format!("{address}: {what}"),
        good,
        fix: if good { String::new() } else { fix.to_owned() },
    };
    let text = |name: &str| facts.info.get(name).map(String::as_str);
    let number = |name: &str| text(name).and_then(|value| value.parse::<f64>().ok());
    vec![
        version(text("valkey_version"), text("redis_version"), &finding),
        match facts.policy.as_deref() {
            Some(policy) => finding(
                format!("when full, it does {policy}"),
                policy == "noeviction",
                "set maxmemory-policy to noeviction: evicted state would be taken for state that never was",
            ),
            None => finding(
                "it does not tell what it does when full".to_owned(),
                false,
                "see that its maxmemory-policy is noeviction, or allow INFO to this user",
            ),
        },
        match (number("used_memory"), number("maxmemory")) {
            (Some(used), Some(most)) if most > 0.0 => finding(
                format!("it uses {:.0} of {:.0} MiB", used / MIB, most / MIB),
                used <= most * USED_SHARE_MAX,
                "give it more memory: a full server refuses, and its partitions stand still",
            ),
            (Some(used), _) => finding(format!("it uses {:.0} MiB without a bound", used / MIB), true, ""),
            _ => finding("it does not tell its memory".to_owned(), false, "allow INFO to this user"),
        },
        finding(
            format!("cluster mode is {}", if text("cluster_enabled") == Some("1") { "on" } else { "off" }),
            (text("cluster_enabled") == Some("1")) == cluster,
            "set windows.cluster to what the server is",
        ),
        match facts.time {
            Some(time) => finding(
                format!("its clock is {} s from this machine's", time.since_ms(now).abs() / SECOND_MS),
                time.since_ms(now).abs() <= SKEW_MS_MAX,
                "set both clocks by NTP",
            ),
            None => finding("it does not tell the time".to_owned(), false, "allow TIME to this user"),
        },
    ]
}

const MIB: f64 = 1_048_576.0;

fn version(valkey: Option<&str>, redis: Option<&str>, finding: &dyn Fn(String, bool, &str) -> Finding) -> Finding {
    let at_least = |version: &str, least: (u32, u32)| {
        let mut numbers = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) >= least
    };
    // Valkey names an old version of Redis beside its own, for old clients.
    let (name, version, good) = match (valkey, redis) {
        (Some(version), _) => ("Valkey", version, at_least(version, (7, 2))),
        (None, Some(version)) => ("Redis", version, at_least(version, (7, 0))),
        (None, None) => ("of an unknown version", "", false),
    };
    finding(format!("it is {name} {version}").trim_end().to_owned(), good, "use Valkey 7.2, Redis 7.0, or later")
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

    fn bad(info: &str, policy: Option<&str>, cluster: bool) -> Vec<String> {
        let lines = info.split(' ').filter_map(|line| line.split_once(':'));
        let info = lines.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        let facts = Facts { info, policy: policy.map(str::to_owned), time: Some(NOW.plus_ms(2_000)) };
        judge("h:1", &facts, cluster, NOW)
            .into_iter()
            .filter(|finding| !finding.good)
            .map(|finding| finding.what)
            .collect()
    }

    #[test]
    fn what_is_wrong_is_named() {
        let fine = "redis_version:7.2.4 valkey_version:8.0.1 used_memory:10 maxmemory:100 cluster_enabled:0";
        let none: [&str; 0] = [];
        assert_eq!(bad(fine, Some("noeviction"), false), none);
        assert_eq!(bad(fine, Some("allkeys-lru"), false), ["h:1: when full, it does allkeys-lru"]);
        assert_eq!(bad(fine, None, false), ["h:1: it does not tell what it does when full"]);
        assert_eq!(bad(fine, Some("noeviction"), true), ["h:1: cluster mode is off"]);
        let old = "redis_version:6.2.0 used_memory:94371840 maxmemory:104857600 cluster_enabled:1";
        assert_eq!(bad(old, Some("noeviction"), true), ["h:1: it is Redis 6.2.0", "h:1: it uses 90 of 100 MiB"],);
    }
}
