//! A plotting area in SVG: scales, axes, lines. Colours and weights stand in the style sheet.

use maud::{Markup, html};

use crate::measure::Point;

const WIDTH: f64 = 520.0;
const LEFT: f64 = 46.0;
const RIGHT: f64 = 14.0;
const TOP: f64 = 12.0;
const BOTTOM: f64 = 44.0;

/// How an axis runs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    Linear {
        from: f64,
        to: f64,
    },
    /// Both ends above 0; what lies at or below `from` is drawn at its end.
    Log {
        from: f64,
        to: f64,
    },
}

impl Scale {
    pub(super) const UNIT: Scale = Scale::Linear { from: 0.0, to: 1.0 };

    /// Place along the axis, 0 to 1; what lies outside is drawn at the edge.
    fn place(self, value: f64) -> f64 {
        let place = match self {
            Self::Linear { from, to } => (value - from) / (to - from),
            Self::Log { from, to } => (value.max(from) / from).ln() / (to / from).ln(),
        };
        if place.is_nan() { 0.0 } else { place.clamp(0.0, 1.0) }
    }

    fn ticks(self) -> Vec<f64> {
        match self {
            Self::Linear { from, to } => (0..=5).map(|tick| from + (to - from) * f64::from(tick) / 5.0).collect(),
            Self::Log { from, to } => {
                let (low, high) = (from.log10().round() as i32, to.log10().round() as i32);
                (low..=high).map(|power| 10_f64.powi(power)).collect()
            }
        }
    }
}

/// A frame with axes into which lines are drawn.
pub(super) struct Chart {
    height: f64,
    left: f64,
    x: Scale,
    y: Scale,
}

impl Chart {
    pub(super) fn new(x: Scale, y: Scale) -> Self {
        Self { height: 340.0, left: LEFT, x, y }
    }

    /// For named rows instead of a vertical axis, each `row` pixels high.
    pub(super) fn of_rows(x: Scale, rows: usize, row: f64) -> Self {
        let y = Scale::Linear { from: 0.0, to: rows.max(1) as f64 };
        Self { height: TOP + BOTTOM + row * rows.max(1) as f64, left: 172.0, x, y }
    }

    pub(super) fn x(&self, value: f64) -> f64 {
        self.left + self.x.place(value) * (WIDTH - RIGHT - self.left)
    }

    pub(super) fn y(&self, value: f64) -> f64 {
        self.height - BOTTOM - self.y.place(value) * (self.height - BOTTOM - TOP)
    }

    /// Middle of a named row, the first on top.
    pub(super) fn row(&self, number: usize) -> f64 {
        let Scale::Linear { to, .. } = self.y else { return TOP };
        self.y(to - number as f64 - 0.5)
    }

    /// The whole picture. `title` is read out to those who cannot see it.
    pub(super) fn drawn(&self, title: &str, x_label: &str, y_label: Option<&str>, inside: &Markup) -> Markup {
        let (right, bottom) = (WIDTH - RIGHT, self.height - BOTTOM);
        html! {
            svg viewBox=(format!("0 0 {WIDTH} {:.0}", self.height)) role="img" aria-label=(title) {
                @for tick in self.x.ticks() {
                    @let x = coordinate(self.x(tick));
                    line.rule x1=(x) x2=(x) y1=(coordinate(TOP)) y2=(coordinate(bottom)) {}
                    text.tick x=(x) y=(coordinate(bottom + 17.0)) text-anchor="middle" { (tick_text(tick)) }
                }
                @if let Some(label) = y_label {
                    @for tick in self.y.ticks() {
                        @let y = self.y(tick);
                        line.rule x1=(coordinate(self.left)) x2=(coordinate(right)) y1=(coordinate(y)) y2=(coordinate(y)) {}
                        text.tick x=(coordinate(self.left - 7.0)) y=(coordinate(y + 4.0)) text-anchor="end" { (tick_text(tick)) }
                    }
                    @let middle = coordinate(f64::midpoint(TOP, bottom));
                    text.label x="12" y=(middle) text-anchor="middle" transform=(format!("rotate(-90 12 {middle})")) { (label) }
                }
                line.axis x1=(coordinate(self.left)) x2=(coordinate(right)) y1=(coordinate(bottom)) y2=(coordinate(bottom)) {}
                text.label x=(coordinate(f64::midpoint(self.left, right))) y=(coordinate(self.height - 7.0)) text-anchor="middle" { (x_label) }
                (inside)
            }
        }
    }

    pub(super) fn line(&self, points: &[Point], class: &str) -> Markup {
        let path: Vec<String> = points.iter().map(|point| self.at(point.x, point.y)).collect();
        html! { polyline class=(class) points=(path.join(" ")) {} }
    }

    /// Holds each value until the next point, and the last one to the right edge.
    pub(super) fn steps(&self, points: &[Point], class: &str) -> Markup {
        let mut path = Vec::with_capacity(2 * points.len() + 1);
        for (at, point) in points.iter().enumerate() {
            path.push(self.at(point.x, point.y));
            let until = points.get(at + 1).map_or(f64::MAX, |next| next.x);
            path.push(self.at(until, point.y));
        }
        html! { polyline class=(class) points=(path.join(" ")) {} }
    }

    /// A dashed line across, with what it means.
    pub(super) fn level(&self, value: f64, meaning: &str) -> Markup {
        let y = self.y(value);
        html! {
            line.guide x1=(coordinate(self.left)) x2=(coordinate(WIDTH - RIGHT)) y1=(coordinate(y)) y2=(coordinate(y)) {}
            text.tick x=(coordinate(WIDTH - RIGHT - 4.0)) y=(coordinate(y - 5.0)) text-anchor="end" { (meaning) }
        }
    }

    /// A dashed line upwards, with what it means beside its foot.
    pub(super) fn upright(&self, value: f64, meaning: &str) -> Markup {
        let (x, bottom) = (self.x(value), self.height - BOTTOM);
        html! {
            line.guide x1=(coordinate(x)) x2=(coordinate(x)) y1=(coordinate(TOP)) y2=(coordinate(bottom)) {}
            text.tick x=(coordinate(x + 5.0)) y=(coordinate(bottom - 7.0)) { (meaning) }
        }
    }

    fn at(&self, x: f64, y: f64) -> String {
        format!("{},{}", coordinate(self.x(x)), coordinate(self.y(y)))
    }
}

/// A tenth of a pixel is enough, and keeps the page small.
pub(super) fn coordinate(value: f64) -> String {
    format!("{value:.1}")
}

fn tick_text(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}
