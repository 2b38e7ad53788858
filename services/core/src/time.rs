//! Event time: milliseconds since 1970-01-01T00:00:00Z, the only clock that decisions know.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A point in event time, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Timestamp(i64);

pub const SECOND_MS: i64 = 1_000;
pub const MINUTE_MS: i64 = 60 * SECOND_MS;
pub const HOUR_MS: i64 = 60 * MINUTE_MS;
pub const DAY_MS: i64 = 24 * HOUR_MS;

impl Timestamp {
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Reads an RFC 3339 time, as CloudTrail writes it (`2024-07-30T21:31:21Z`, fractions allowed).
    /// `None` when it is not one.
    pub fn parse(text: &str) -> Option<Self> {
        let parsed: jiff::Timestamp = text.parse().ok()?;
        Some(Self(parsed.as_millisecond()))
    }

    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// `self - earlier`, in milliseconds; negative when `earlier` is later.
    pub const fn since_ms(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }

    pub const fn plus_ms(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Hour of the day in UTC, 0 to 23.
    pub const fn hour_of_day(self) -> u8 {
        (self.0.div_euclid(HOUR_MS)).rem_euclid(24) as u8
    }

    /// Day of the week in UTC, 0 for Monday to 6 for Sunday (1970-01-01 was a Thursday).
    pub const fn weekday(self) -> u8 {
        (self.0.div_euclid(DAY_MS) + 3).rem_euclid(7) as u8
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            // Outside years -9999 to 9999: parse never returns such a value, arithmetic can.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_writes_and_places_in_the_week() {
        let time = Timestamp::parse("2024-07-30T21:31:21Z").expect("valid");
        assert_eq!(time.to_string(), "2024-07-30T21:31:21Z");
        assert_eq!((time.hour_of_day(), time.weekday()), (21, 1));
        assert_eq!(Timestamp::parse("2024-07-30T21:31:21.250Z").map(Timestamp::as_millis), Some(1_722_375_081_250));
        for bad in ["", "...", "2024-07-30", "2024-13-30T00:00:00Z", "yesterday"] {
            assert_eq!(Timestamp::parse(bad), None, "{bad}");
        }
        for extreme in ["1970-01-01T00:00:00Z", "9999-12-30T00:00:00Z"] {
            assert_eq!(Timestamp::parse(extreme).expect("valid").to_string(), extreme);
        }
    }
}
