//! Which channels hear of an alert, and from when on: pure.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, LocalResult, NaiveDateTime, NaiveTime, TimeDelta, TimeZone, Timelike};
use chrono_tz::Tz;
use serde::{Deserialize, Serialize};
use trailwarden_core::alert::{Alert, Kind, Watch};
use trailwarden_core::level::Severity;
use trailwarden_core::time::Timestamp;

use crate::throttle::Note;

/// What a route is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum About {
    /// The system's own condition, its channels included.
    Health,
    /// Single events, by their score.
    Anomaly,
    Case,
    Response,
}

impl About {
    /// What a route is for that does not say it: single events are gathered into cases, and too many to be told one by one.
    pub(crate) const USUAL: [Self; 3] = [Self::Health, Self::Case, Self::Response];

    fn of(kind: Kind) -> Self {
        match (kind, kind.watch()) {
            (Kind::Case, _) => Self::Case,
            (_, Watch::Anomaly) => Self::Anomaly,
            (_, Watch::Response) => Self::Response,
            (_, Watch::Health | Watch::Channel) => Self::Health,
        }
    }
}

/// What goes where.
#[derive(Clone, Debug, PartialEq)]
pub struct Route {
    /// Accounts whose alerts it takes; all without any. What concerns no account is for every route.
    pub accounts: BTreeSet<String>,
    pub from: Severity,
    pub about: BTreeSet<About>,
    pub channels: Vec<String>,
}

impl Route {
    fn takes(&self, alert: &Alert) -> bool {
        let account = self.accounts.is_empty() || alert.account.is_empty() || self.accounts.contains(&alert.account);
        account && alert.severity >= self.from && self.about.contains(&About::of(alert.kind))
    }
}

/// A channel, and when it is not to be disturbed.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    pub channel: String,
    pub quiet: Option<QuietHours>,
}

/// All routes of a deployment.
#[derive(Clone, Debug, PartialEq)]
pub struct Router {
    routes: Vec<Route>,
    rules: Vec<Rule>,
}

impl Router {
    pub fn new(routes: Vec<Route>, rules: Vec<Rule>) -> Self {
        Self { routes, rules }
    }

    /// Whether any route asks for single events.
    pub fn wants_events(&self) -> bool {
        self.routes.iter().any(|route| route.about.contains(&About::Anomaly))
    }

    /// The alert for each channel that is to hear of it, once, in the order of the configuration.
    pub fn notes(&self, alert: &Alert, now: Timestamp) -> Vec<Note> {
        let wanted: BTreeSet<&str> = match (&alert.only, alert.kind) {
            (Some(only), _) => [only.as_str()].into(),
            (None, Kind::ChannelFailed) => self.instead(alert),
            _ => self.wanted(alert),
        };
        let rules = self.rules.iter().filter(|rule| wanted.contains(rule.channel.as_str()));
        rules
            .map(|rule| {
                let quiet = rule.quiet.filter(|_| alert.severity < Severity::Critical && alert.kind != Kind::Test);
                let not_before = quiet.and_then(|quiet| quiet.end(now)).unwrap_or(now);
                Note { channel: rule.channel.clone(), alert: alert.clone(), not_before }
            })
            .collect()
    }

    fn wanted(&self, alert: &Alert) -> BTreeSet<&str> {
        let routes = self.routes.iter().filter(|route| route.takes(alert));
        routes.flat_map(|route| route.channels.iter().map(String::as_str)).collect()
    }

    /// Who hears that a channel does not deliver: never that channel, and all others where no route wants it.
    fn instead(&self, alert: &Alert) -> BTreeSet<&str> {
        let mut wanted = self.wanted(alert);
        wanted.remove(alert.principal.as_str());
        if wanted.is_empty() {
            wanted = self.rules.iter().map(|rule| rule.channel.as_str()).collect();
            wanted.remove(alert.principal.as_str());
        }
        wanted
    }
}

/// Hours of each day in which only what is critical may disturb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuietHours {
    from: NaiveTime,
    until: NaiveTime,
    zone: Tz,
}

impl QuietHours {
    /// `22:00-07:00`; `None` for any other text, and for hours without length.
    pub fn parse(text: &str, zone: Tz) -> Option<Self> {
        let (from, until) = text.split_once('-')?;
        let time = |text: &str| {
            let (hour, minute) = text.trim().split_once(':')?;
            let digits = |text: &str| (text.len() == 2).then(|| text.parse::<u32>().ok()).flatten();
            NaiveTime::from_hms_opt(digits(hour)?, digits(minute)?, 0)
        };
        let (from, until) = (time(from)?, time(until)?);
        (from != until).then_some(Self { from, until, zone })
    }

    /// When they end; `None` outside them, and for a time that no calendar has.
    pub fn end(self, now: Timestamp) -> Option<Timestamp> {
        let local = DateTime::from_timestamp_millis(now.as_millis())?.with_timezone(&self.zone).naive_local();
        let time = local.time();
        let over_midnight = self.from > self.until;
        let is_in =
            if over_midnight { time >= self.from || time < self.until } else { time >= self.from && time < self.until };
        if !is_in {
            return None;
        }
        let tomorrow = over_midnight && time >= self.from;
        let day = if tomorrow { local.date().checked_add_days(Days::new(1))? } else { local.date() };
        // What is told in the second that both clocks show is not early.
        let end = self.instant(day.and_time(self.until))?;
        (end > now).then_some(end)
    }

    /// The instant of a local time; of one that the clock skips, when it skips; of one that it shows twice, the first.
    fn instant(self, local: NaiveDateTime) -> Option<Timestamp> {
        const SKIPPED_MIN_MAX: i64 = 24 * 60;
        let skipped = (0..SKIPPED_MIN_MAX).find_map(|minutes| {
            let later = local.checked_add_signed(TimeDelta::minutes(minutes))?;
            match self.zone.from_local_datetime(&later) {
                LocalResult::Single(time) | LocalResult::Ambiguous(time, _) => Some(time),
                LocalResult::None => None,
            }
        })?;
        Some(Timestamp::from_millis(skipped.with_nanosecond(0)?.timestamp_millis()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert(kind: Kind, severity: Severity, account: &str, principal: &str) -> Alert {
        let alert = Alert::new("id", kind, severity, Timestamp::default(), principal);
        Alert { account: account.to_owned(), ..alert }
    }

    fn route(accounts: &[&str], from: Severity, about: &[About], channels: &[&str]) -> Route {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>();
        let about = about.iter().copied().collect();
        Route { accounts: owned(accounts).into_iter().collect(), from, about, channels: owned(channels) }
    }

    fn at(text: &str) -> Timestamp {
        Timestamp::parse(text).expect("a time")
    }

    #[test]
    fn an_alert_goes_where_routes_say_and_to_no_channel_twice() {
        let night = QuietHours::parse("22:00-07:00", Tz::UTC);
        let rules = [("mail", night), ("pager", None), ("team", night)];
        let rules = rules.map(|(name, quiet)| Rule { channel: name.to_owned(), quiet }).into();
        let usual = &About::USUAL;
        let router = Router::new(
            vec![
                route(&[], Severity::Medium, usual, &["mail"]),
                route(&[], Severity::Critical, usual, &["pager", "mail"]),
                route(&["111122223333"], Severity::Low, &[About::Anomaly, About::Case], &["team"]),
            ],
            rules,
        );
        let (day, midnight) = (at("2026-03-22T12:00:00Z"), at("2026-03-22T00:30:00Z"));
        let told = |alert: &Alert, now| {
            let notes = router.notes(alert, now);
            notes.into_iter().map(|note| (note.channel, note.not_before == now)).collect::<Vec<_>>()
        };
        let own =
            |names: &[(&str, bool)]| names.iter().map(|(name, now)| ((*name).to_owned(), *now)).collect::<Vec<_>>();
        let check =
            |alert: Alert, now, expected: &[(&str, bool)]| assert_eq!(told(&alert, now), own(expected), "{alert:?}");
        check(alert(Kind::Case, Severity::High, "9", "ada"), day, &[("mail", true)]);
        check(alert(Kind::Case, Severity::Critical, "9", "ada"), midnight, &[("mail", true), ("pager", true)]);
        check(alert(Kind::Case, Severity::High, "111122223333", "ada"), midnight, &[("mail", false), ("team", false)]);
        check(alert(Kind::Anomaly, Severity::High, "9", "ada"), day, &[]);
        check(alert(Kind::Anomaly, Severity::Medium, "111122223333", "ada"), day, &[("team", true)]);
        check(alert(Kind::Lag, Severity::Medium, "", "scorer"), day, &[("mail", true)]);
        check(alert(Kind::Lag, Severity::Low, "", "scorer"), day, &[]);
        // A channel's failing is told on others, whether or not a route asks for it.
        check(alert(Kind::ChannelFailed, Severity::High, "", "pager"), day, &[("mail", true)]);
        check(alert(Kind::ChannelFailed, Severity::High, "", "mail"), day, &[("pager", true), ("team", true)]);
        let only = Alert { only: Some("team".to_owned()), ..alert(Kind::Test, Severity::Low, "", "x") };
        check(only, midnight, &[("team", true)]);
        assert!(router.wants_events());
    }

    #[test]
    fn quiet_hours_end_by_the_operators_clock() {
        let check = |hours: &str, zone: Tz, now: &str, expected: Option<&str>| {
            let end = QuietHours::parse(hours, zone).expect("hours").end(at(now));
            assert_eq!(end, expected.map(at), "{hours} {zone} {now}");
        };
        check("22:00-07:00", Tz::Asia__Seoul, "2026-03-22T12:59:59Z", None);
        check("22:00-07:00", Tz::Asia__Seoul, "2026-03-22T13:00:00Z", Some("2026-03-22T22:00:00Z"));
        check("22:00-07:00", Tz::Asia__Seoul, "2026-03-22T21:59:59.999Z", Some("2026-03-22T22:00:00Z"));
        check("22:00-07:00", Tz::Asia__Seoul, "2026-03-22T22:00:00Z", None);
        check("12:00-13:30", Tz::UTC, "2026-03-22T13:29:00Z", Some("2026-03-22T13:30:00Z"));
        check("12:00-13:30", Tz::UTC, "2026-03-22T11:59:00Z", None);
        // The clock is put forward at 2 in the morning: 02:30 is skipped, and 07:00 comes an hour sooner.
        check("22:00-02:30", Tz::Europe__Berlin, "2026-03-28T22:00:00Z", Some("2026-03-29T01:00:00Z"));
        check("22:00-07:00", Tz::Europe__Berlin, "2026-03-28T22:00:00Z", Some("2026-03-29T05:00:00Z"));
        for odd in ["", "22:00", "22-07", "22:00-22:00", "24:00-07:00", "22:60-07:00", "2:00-7:00", "22:00-07:00-08:00"]
        {
            assert_eq!(QuietHours::parse(odd, Tz::UTC), None, "{odd}");
        }
        let hours = QuietHours::parse("22:00-07:00", Tz::UTC).expect("hours");
        assert_eq!(hours.end(Timestamp::from_millis(i64::MAX)), None);
    }
}
