//! Figures in the form people read them.

use crate::measure::Estimate;

/// What stands for a figure that is missing.
pub(super) const NOT_MEASURED: &str = "not measured";

/// `0.583`; small shares keep two significant digits, `0.00012`.
pub(super) fn share(value: f64) -> String {
    match value {
        v if !v.is_finite() => NOT_MEASURED.to_owned(),
        v if v != 0.0 && v.abs() < 0.01 => {
            let digits = (1.0 - v.abs().log10().floor()).clamp(0.0, 9.0) as usize;
            format!("{v:.digits$}")
        }
        v => format!("{v:.3}"),
    }
}

/// `0.58`, for sentences.
pub(super) fn short(value: f64) -> String {
    if value.is_finite() { format!("{value:.2}") } else { NOT_MEASURED.to_owned() }
}

pub(super) fn share_or(value: Option<f64>) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), share)
}

/// `[0.550, 0.612]`.
pub(super) fn interval(estimate: &Estimate) -> String {
    format!("[{}, {}]", share(estimate.low), share(estimate.high))
}

/// `0.58 [0.55, 0.61]`, for sentences.
pub(super) fn short_estimate(estimate: &Estimate) -> String {
    format!("{} [{}, {}]", short(estimate.value), short(estimate.low), short(estimate.high))
}

/// `1.31`, a number of things an account a day.
pub(super) fn rate_or(value: Option<f64>) -> String {
    value.map_or_else(|| NOT_MEASURED.to_owned(), short)
}

/// `0.583 [0.550, 0.612]`.
pub(super) fn estimate_or(estimate: Option<&Estimate>) -> String {
    estimate
        .map_or_else(|| NOT_MEASURED.to_owned(), |estimate| format!("{} {}", share(estimate.value), interval(estimate)))
}

/// `+0.211`.
pub(super) fn signed(value: f64) -> String {
    format!("{value:+.3}")
}

/// `1,234,567`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).expect("decimal digits are ASCII"))
        .collect();
    groups.join(",")
}

/// `2.3 %`, `0.01 %`.
pub(super) fn percent(value: f64) -> String {
    let percent = value * 100.0;
    if !percent.is_finite() {
        return NOT_MEASURED.to_owned();
    }
    let digits =
        if percent >= 10.0 || percent == 0.0 { 0 } else { (1.0 - percent.log10().floor()).clamp(1.0, 6.0) as usize };
    let text = format!("{percent:.digits$}");
    let text = if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { &text };
    format!("{text} %")
}

/// `0 s`, `45 s`, `12 min`, `3.4 h`, `2.1 days`.
pub(super) fn duration(seconds: f64) -> String {
    match seconds.max(0.0) {
        s if !s.is_finite() => NOT_MEASURED.to_owned(),
        s if s < 60.0 => format!("{s:.0} s"),
        s if s < 3_600.0 => format!("{:.0} min", s / 60.0),
        s if s < 48.0 * 3_600.0 => format!("{:.1} h", s / 3_600.0),
        s => format!("{:.1} days", s / 86_400.0),
    }
}

/// The first 12 characters of a hash.
pub(super) fn short_hash(hash: &str) -> String {
    hash.chars().take(12).collect()
}
