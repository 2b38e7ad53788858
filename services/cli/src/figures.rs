//! Numbers, times and names in the form people read them.

use trailwarden_core::activity::{Credential, PrincipalKind};
use trailwarden_core::case::Signal;
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};
use trailwarden_core::untrusted;

/// `1,234,567`.
pub fn count(number: u64) -> String {
    untrusted::count(usize::try_from(number).unwrap_or(usize::MAX))
}

/// `1 case`, `2 cases`; the plural is the singular with an `s`.
pub fn counted(number: u64, singular: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {singular}{plural}", count(number))
}

/// `2024-07-30 21:31 UTC`.
pub fn minute(time: Timestamp) -> String {
    match parts(time) {
        Some((day, clock)) => format!("{day} {} UTC", &clock[..5]),
        None => time.to_string(),
    }
}

/// `2024-07-30`, `21:31:21` and so on; `None` outside the years 0 to 9999.
pub fn parts(time: Timestamp) -> Option<(String, String)> {
    let text = time.to_string();
    let (day, clock) = text.split_once('T')?;
    (day.len() == 10 && clock.len() >= 8).then(|| (day.to_owned(), clock[..8].to_owned()))
}

/// `2024-07-30 21:31 to 21:45 UTC`, or with both days where they differ.
pub fn period(from: Timestamp, to: Timestamp) -> String {
    match (parts(from), parts(to)) {
        (Some((day, start)), Some((last_day, end))) if day == last_day => {
            if start[..5] == end[..5] {
                format!("{day} {} UTC", &start[..5])
            } else {
                format!("{day} {} to {} UTC", &start[..5], &end[..5])
            }
        }
        (Some((day, start)), Some((last_day, end))) => {
            format!("{day} {} to {last_day} {} UTC", &start[..5], &end[..5])
        }
        _ => format!("{from} to {to}"),
    }
}

/// `14 min`, `2 h 5 min`, `3 days 4 h`.
pub fn duration(millis: i64) -> String {
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large} {unit}") } else { format!("{large} {unit} {small} {small_unit}") }
    };
    match millis.max(0) {
        ms if ms < SECOND_MS => "under 1 s".to_owned(),
        ms if ms < MINUTE_MS => format!("{} s", ms / SECOND_MS),
        ms if ms < HOUR_MS => format!("{} min", ms / MINUTE_MS),
        ms if ms < DAY_MS => two(ms / HOUR_MS, "h", ms % HOUR_MS / MINUTE_MS, "min"),
        ms => {
            let days = ms / DAY_MS;
            two(days, if days == 1 { "day" } else { "days" }, ms % DAY_MS / HOUR_MS, "h")
        }
    }
}

/// A probability without false certainty: `97 %`, `> 99 %`, `< 1 %`.
pub fn probability(value: f64) -> String {
    match value {
        v if v.is_nan() => "?".to_owned(),
        v if v > 0.99 => "> 99 %".to_owned(),
        v if v < 0.01 => "< 1 %".to_owned(),
        v => format!("{:.0} %", v * 100.0),
    }
}

/// A weight in log-odds with its sign, `+2.1`, `−0.4`; `also` where one decimal shows nothing: it is part of what
/// happened and decided nothing any more.
pub fn weight(log_odds: f64) -> String {
    if log_odds.is_nan() {
        return "?".to_owned();
    }
    if log_odds.abs() < 0.05 {
        return "also".to_owned();
    }
    let size = format!("{:.1}", log_odds.abs());
    format!("{}{size}", if log_odds < 0.0 { '−' } else { '+' })
}

/// `64 MiB`, `1.5 GiB`.
pub fn bytes(number: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut value = number as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 || value.fract() == 0.0 {
        format!("{value:.0} {}", UNITS[unit])
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

/// The first eight characters of a case id, enough to find it again.
pub fn short_id(id: &str) -> &str {
    id.char_indices().nth(8).map_or(id, |(at, _)| &id[..at])
}

/// The part of a principal that people call it by: the name at the end of an ARN's path, `root`, or the whole. Of the
/// roles that Identity Center makes (`AWSReservedSSO_<permission set>_<16 hex digits>`) the permission set.
pub fn short_principal(principal: &str) -> &str {
    let is_arn = principal.starts_with("arn:");
    match principal.rsplit_once(['/', ':']) {
        Some((_, name)) if is_arn && !name.is_empty() => permission_set(name).unwrap_or(name),
        _ => principal,
    }
}

fn permission_set(role: &str) -> Option<&str> {
    let (name, suffix) = role.strip_prefix("AWSReservedSSO_")?.rsplit_once('_')?;
    let is_suffix = suffix.len() == 16 && suffix.bytes().all(|byte| byte.is_ascii_hexdigit());
    (is_suffix && !name.is_empty()).then_some(name)
}

pub fn principal_kind(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::IamUser => "IAM user",
        PrincipalKind::Role => "role",
        PrincipalKind::Root => "root user",
        PrincipalKind::AwsService => "AWS service",
        PrincipalKind::CrossAccount => "caller of another account",
        PrincipalKind::Federated => "federated user",
        PrincipalKind::Unknown => "unknown caller",
    }
}

pub fn credential(credential: Credential) -> &'static str {
    match credential {
        Credential::LongTermKey => "long-term access key",
        Credential::TemporaryKey => "temporary key",
        Credential::Console => "console sign-in",
        Credential::InstanceRole => "instance role",
        Credential::Service => "AWS service",
        Credential::Root => "root credential",
        Credential::Unknown => "not recorded",
    }
}

pub fn mfa(mfa: Option<bool>) -> &'static str {
    match mfa {
        Some(true) => "with MFA",
        Some(false) => "without MFA",
        None => "not recorded",
    }
}

pub fn resource_kind(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::User => "user",
        ResourceKind::Role => "role",
        ResourceKind::AccessKey => "access key",
        ResourceKind::LoginProfile => "console password of",
        ResourceKind::Instance => "instance",
        ResourceKind::Bucket => "bucket",
        ResourceKind::Function => "function",
        ResourceKind::Trail => "trail",
        ResourceKind::Detector => "detector",
        ResourceKind::ConfigRecorder => "configuration recorder",
        ResourceKind::Image => "image",
        ResourceKind::Snapshot => "snapshot",
        ResourceKind::DbSnapshot => "database snapshot",
        ResourceKind::KmsKey => "KMS key",
        ResourceKind::Secret => "secret",
        ResourceKind::Parameter => "parameter",
        ResourceKind::SecurityGroup => "security group",
        ResourceKind::TrustAnchor => "trust anchor",
        ResourceKind::Policy => "policy",
        ResourceKind::Model => "model",
        ResourceKind::Account => "account",
        ResourceKind::Other => "resource",
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome<'a> {
    Succeeded,
    Denied(&'a str),
    Failed(&'a str),
}

pub fn outcome(signal: &Signal) -> Outcome<'_> {
    match signal.error_code.as_deref() {
        None | Some("") => Outcome::Succeeded,
        Some(code) if signal.denied() => Outcome::Denied(code),
        Some(code) => Outcome::Failed(code),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_times_and_names_read_as_people_write_them() {
        for (number, expect) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(count(number), expect);
        }
        for (millis, expect) in [
            (-5, "under 1 s"),
            (59_999, "59 s"),
            (14 * MINUTE_MS, "14 min"),
            (HOUR_MS, "1 h"),
            (2 * HOUR_MS + 5 * MINUTE_MS, "2 h 5 min"),
            (DAY_MS, "1 day"),
            (3 * DAY_MS + 4 * HOUR_MS, "3 days 4 h"),
        ] {
            assert_eq!(duration(millis), expect);
        }
        let time = |text| Timestamp::parse(text).expect("valid");
        assert_eq!(minute(time("2024-07-30T21:31:21.250Z")), "2024-07-30 21:31 UTC");
        assert_eq!(period(time("2024-07-30T21:31:21Z"), time("2024-07-30T21:45:00Z")), "2024-07-30 21:31 to 21:45 UTC");
        assert_eq!(minute(Timestamp::from_millis(i64::MAX)), format!("{}ms", i64::MAX));
        for (value, expect) in [(0.97, "97 %"), (0.9999, "> 99 %"), (0.0, "< 1 %"), (f64::NAN, "?")] {
            assert_eq!(probability(value), expect);
        }
        for (principal, expect) in [
            ("arn:aws:iam::111122223333:role/aws-reserved/Admin", "Admin"),
            ("arn:aws:iam::111122223333:root", "root"),
            ("arn:aws:iam::111122223333:user/", "arn:aws:iam::111122223333:user/"),
            ("config.amazonaws.com", "config.amazonaws.com"),
            ("444455556666/AIDAEXAMPLE", "444455556666/AIDAEXAMPLE"),
        ] {
            assert_eq!(short_principal(principal), expect);
        }
        assert_eq!(
            (bytes(512), bytes(64 << 20), bytes(3 << 29)),
            ("512 bytes".into(), "64 MiB".into(), "1.5 GiB".into())
        );
        assert_eq!((short_id("0123456789ab"), short_id("é")), ("01234567", "é"));
    }
}
