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
        if let Some(seconds) = parse_plain(text.as_bytes()) {
            return Some(Self(seconds * SECOND_MS));
        }
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

impl Timestamp {
    /// The last day of the year 9999 lies outside jiff's range for instants, not outside its civil one.
    fn fmt_far(self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let epoch = jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0);
        match epoch.checked_add(jiff::SignedDuration::from_millis(self.0)) {
            Ok(time) => write!(f, "{time}Z"),
            // Outside years -9999 to 9999: parse never returns such a value, arithmetic can.
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// Seconds since the epoch of `YYYY-MM-DDTHH:MM:SSZ`, the form of nearly every record; `None` for any other form.
/// Days from the civil date: Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil.
fn parse_plain(text: &[u8]) -> Option<i64> {
    let text: &[u8; 20] = text.try_into().ok()?;
    if [text[4], text[7], text[10], text[13], text[16], text[19]] != *b"--T::Z" {
        return None;
    }
    let number = |from: usize, to: usize| {
        text[from..to]
            .iter()
            .try_fold(0_i64, |sum, byte| byte.is_ascii_digit().then(|| sum * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    let (hour, minute, second) = (number(11, 13)?, number(14, 16)?, number(17, 19)?);
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days_of_month = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=days_of_month).contains(&day) || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let shifted_year = year - i64::from(month <= 2);
    let era = shifted_year.div_euclid(400);
    let year_of_era = shifted_year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = era * 146_097 + day_of_era - 719_468;
    Some(((days * 24 + hour) * 60 + minute) * 60 + second)
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(time) => write!(f, "{time}"),
            Err(_) => self.fmt_far(f),
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
        for extreme in ["1970-01-01T00:00:00Z", "9999-12-30T00:00:00Z", "9999-12-31T23:59:59Z"] {
            assert_eq!(Timestamp::parse(extreme).expect("valid").to_string(), extreme);
        }
    }

    #[test]
    fn the_plain_form_agrees_with_the_library() {
        for day in (-30_000..60_000).step_by(13) {
            let millis = day * DAY_MS + (day % 86_400) * SECOND_MS;
            let text = Timestamp::from_millis(millis).to_string();
            assert_eq!(parse_plain(text.as_bytes()).map(|seconds| seconds * SECOND_MS), Some(millis), "{text}");
        }
        for bad in ["2023-02-29T00:00:00Z", "2024-04-31T00:00:00Z", "2024-01-01T24:00:00Z", "2024-01-0aT00:00:00Z"] {
            assert_eq!(parse_plain(bad.as_bytes()), None, "{bad}");
        }
    }
}
