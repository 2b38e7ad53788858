//! Events over time as inline SVG: cases as marks above, what was raised below them, all events at the foot.
//! Lengths across are percentages, so the picture follows the page's width and its text keeps its size.

use maud::{Markup, html};
use trailwarden_core::level::Level;
use trailwarden_core::time::Timestamp;

use crate::figures;
use crate::findings::{Finding, Findings};
use crate::histogram::{LevelCounts, wider};
use crate::words::Words;

/// Bars drawn at most.
const BARS_MAX: i64 = 120;
/// Cases marked at most; the table names the others.
const MARKS_MAX: usize = 60;
const LANES_MAX: usize = 5;
const LANE_HEIGHT: usize = 24;
/// Two marks of one lane stand at least this far apart, in percent of the width.
const MARK_SPACE: f64 = 3.0;
const RAISED_HEIGHT: f64 = 64.0;
const ALL_HEIGHT: f64 = 40.0;
/// What exists at all is at least this tall.
const HAIR: f64 = 2.0;
/// A few events far from all others (a clock set to 1970) would squeeze the rest into one bar.
const OUTLYING_SHARE: f64 = 0.01;

/// What is drawn: bars of equal width, and how many events stand outside of them.
struct Drawing {
    from_ms: i64,
    width_ms: i64,
    bars: Vec<LevelCounts>,
    outside: u64,
}

/// A case's place: where it begins and ends in percent, and its lane.
struct Mark<'a> {
    number: usize,
    finding: &'a Finding,
    from: f64,
    to: f64,
    lane: usize,
}

pub(super) fn section(findings: &Findings, shown: &[&Finding], w: &Words) -> Markup {
    let Some(drawing) = Drawing::of(findings) else {
        return html! {};
    };
    let (marks, unmarked) = marks(&drawing, shown);
    html! {
        section #timeline {
            h2 { (w.when_head) }
            (legend(&drawing, w))
            figure.timeline { (picture(&drawing, &marks, w)) }
            @if unmarked > 0 || drawing.outside > 0 {
                p.muted {
                    @if unmarked > 0 { ((w.unmarked)(unmarked as u64)) }
                    @if drawing.outside > 0 { ((w.outside)(drawing.outside)) }
                }
            }
        }
    }
}

impl Drawing {
    fn of(findings: &Findings) -> Option<Self> {
        let mut buckets: Vec<(i64, LevelCounts)> =
            findings.histogram.buckets().map(|(start, counts)| (start.as_millis(), counts)).collect();
        let outside = drop_outliers(&mut buckets);
        let (first, last) = (buckets.first()?.0, buckets.last()?.0);
        let mut width_ms = findings.histogram.width_ms();
        while last.div_euclid(width_ms).saturating_sub(first.div_euclid(width_ms)) >= BARS_MAX {
            width_ms = finer_step(width_ms);
        }
        let first_bar = first.div_euclid(width_ms);
        let mut bars = vec![LevelCounts::default(); (last.div_euclid(width_ms) - first_bar + 1) as usize];
        for (start, counts) in buckets {
            bars[(start.div_euclid(width_ms) - first_bar) as usize].merge(counts);
        }
        Some(Self { from_ms: first_bar.saturating_mul(width_ms), width_ms, bars, outside })
    }

    fn span_ms(&self) -> i64 {
        self.width_ms.saturating_mul(self.bars.len() as i64)
    }

    /// Where a time stands across, in percent; `None` outside.
    fn across(&self, time: Timestamp) -> Option<f64> {
        let into_ms = time.as_millis().saturating_sub(self.from_ms);
        (0..=self.span_ms()).contains(&into_ms).then(|| into_ms as f64 * 100.0 / self.span_ms() as f64)
    }
}

/// Doubles while a wider step of the histogram's ladder is further off, so that bars are not needlessly coarse.
fn finer_step(width_ms: i64) -> i64 {
    width_ms.saturating_mul(2).min(wider(width_ms))
}

/// Takes away few events at either end that lie further off than the rest is long; returns how many.
fn drop_outliers(buckets: &mut Vec<(i64, LevelCounts)>) -> u64 {
    let total: u64 = buckets.iter().map(|(_, counts)| counts.total()).sum();
    let mut budget = (total as f64 * OUTLYING_SHARE) as u64;
    let mut outside = 0;
    while let [first, second, .., before_last, last] = buckets.as_slice() {
        let (at_start, at_end) = (second.0.saturating_sub(first.0), last.0.saturating_sub(before_last.0));
        let (gap, counts) = if at_start >= at_end { (at_start, first.1) } else { (at_end, last.1) };
        let rest = last.0.saturating_sub(first.0).saturating_sub(gap);
        if gap <= rest || counts.total() > budget {
            break;
        }
        budget -= counts.total();
        outside += counts.total();
        if at_start >= at_end {
            buckets.remove(0);
        } else {
            buckets.pop();
        }
    }
    outside
}

fn marks<'a>(drawing: &Drawing, shown: &[&'a Finding]) -> (Vec<Mark<'a>>, usize) {
    let mut lanes_end = [f64::NEG_INFINITY; LANES_MAX];
    let mut placed = Vec::new();
    // The most urgent cases claim their place first, then all are laid out in time.
    let mut wanted: Vec<(usize, &Finding, f64, f64)> = shown
        .iter()
        .enumerate()
        .filter_map(|(at, finding)| {
            let from = drawing.across(finding.case.first_event_time)?;
            let to = drawing.across(finding.case.last_event_time).unwrap_or(100.0);
            Some((at + 1, *finding, from, to))
        })
        .take(MARKS_MAX)
        .collect();
    wanted.sort_by(|a, b| a.2.total_cmp(&b.2).then(a.0.cmp(&b.0)));
    for (number, finding, from, to) in wanted {
        if let Some(lane) = lanes_end.iter().position(|end| *end + MARK_SPACE <= from) {
            lanes_end[lane] = to.max(from);
            placed.push(Mark { number, finding, from, to, lane });
        }
    }
    let unmarked = shown.len() - placed.len();
    (placed, unmarked)
}

fn legend(drawing: &Drawing, w: &Words) -> Markup {
    let highest = drawing.bars.iter().map(LevelCounts::total).max().unwrap_or(0);
    let raised = drawing.bars.iter().map(LevelCounts::raised).max().unwrap_or(0);
    html! {
        p.legend {
            span { i.mark {} (w.mark_legend) }
            @for level in [Level::Critical, Level::Warning, Level::Caution] {
                span { i class={ "lev-" (level) } {} " " ((w.level)(level)) }
            }
            span { i.lev-none {} (w.all_events) }
            span.muted { ((w.bar_legend)(&(w.duration)(drawing.width_ms), raised, highest)) }
        }
    }
}

fn picture(drawing: &Drawing, marks: &[Mark<'_>], w: &Words) -> Markup {
    let lanes = marks.iter().map(|mark| mark.lane + 1).max().unwrap_or(0);
    let raised_foot = (lanes * LANE_HEIGHT) as f64 + RAISED_HEIGHT + 8.0;
    let all_foot = raised_foot + ALL_HEIGHT + 8.0;
    let height = all_foot + 22.0;
    html! {
        svg role="img" aria-label=(spoken(drawing, marks, w)) width="100%" height=(format!("{height:.0}")) {
            @for mark in marks {
                line.guide x1=(percent(inside(mark.from))) x2=(percent(inside(mark.from))) y1=(mark.lane * LANE_HEIGHT + 12) y2=(format!("{all_foot:.0}")) {}
            }
            (bars(drawing, raised_foot, all_foot))
            line.axis x1="0" x2="100%" y1=(format!("{raised_foot:.1}")) y2=(format!("{raised_foot:.1}")) {}
            line.axis x1="0" x2="100%" y1=(format!("{all_foot:.1}")) y2=(format!("{all_foot:.1}")) {}
            (ticks(drawing, height))
            @for mark in marks { (case_mark(mark, w)) }
        }
    }
}

fn bars(drawing: &Drawing, raised_foot: f64, all_foot: f64) -> Markup {
    let highest = drawing.bars.iter().map(LevelCounts::total).max().unwrap_or(0);
    let most_raised = drawing.bars.iter().map(LevelCounts::raised).max().unwrap_or(0);
    let wide = 100.0 / drawing.bars.len() as f64;
    html! {
        @for (at, counts) in drawing.bars.iter().enumerate() {
            @for (level, foot, tall) in stack(counts, raised_foot, most_raised, all_foot, highest) {
                rect class={ "lev-" (level) } x=(percent(at as f64 * wide + wide * 0.08)) width=(percent(wide * 0.84))
                    y=(format!("{:.1}", foot - tall)) height=(format!("{tall:.1}")) {}
            }
        }
    }
}

/// The rectangles of one bar as (level, foot, height): all events, and above them what was raised, the worst lowest.
/// What was raised grows by the square root, so that three events are still seen beside three hundred.
fn stack(
    counts: &LevelCounts,
    raised_foot: f64,
    most_raised: u64,
    all_foot: f64,
    highest: u64,
) -> Vec<(Level, f64, f64)> {
    let mut rectangles = Vec::new();
    if counts.total() > 0 {
        let tall = counts.total() as f64 / highest as f64 * ALL_HEIGHT;
        rectangles.push((Level::None, all_foot, tall.max(HAIR)));
    }
    let raised = counts.raised() as f64;
    let all_raised = (raised / most_raised.max(1) as f64).sqrt() * RAISED_HEIGHT;
    let mut foot = raised_foot;
    for level in [Level::Critical, Level::Warning, Level::Caution] {
        if counts.of(level) > 0 {
            let tall = (counts.of(level) as f64 / raised * all_raised).max(HAIR);
            rectangles.push((level, foot, tall));
            foot -= tall;
        }
    }
    rectangles
}

fn ticks(drawing: &Drawing, height: f64) -> Markup {
    let time =
        |share: f64| Timestamp::from_millis(drawing.from_ms.saturating_add((drawing.span_ms() as f64 * share) as i64));
    let y = format!("{:.0}", height - 4.0);
    html! {
        text.tick x="0" y=(y) { (figures::minute(time(0.0)).trim_end_matches(" UTC")) }
        text.tick.wide x="50%" y=(y) text-anchor="middle" { (figures::minute(time(0.5)).trim_end_matches(" UTC")) }
        text.tick x="100%" y=(y) text-anchor="end" { (figures::minute(time(1.0))) }
    }
}

fn case_mark(mark: &Mark<'_>, w: &Words) -> Markup {
    let judgement = &mark.finding.judgement;
    let y = mark.lane * LANE_HEIGHT + 12;
    let across = percent(inside(mark.from));
    html! {
        a href={ "#case-" (mark.number) } class={ "mark sev-" (judgement.severity) } {
            title {
                ((w.case_number)(&mark.number.to_string())) ": " (w.language.severity(judgement.severity)) ", "
                (w.language.verdict(judgement.verdict))
            }
            line x1=(across) x2=(percent(inside(mark.to))) y1=(y) y2=(y) {}
            circle cx=(across) cy=(y) r="10" {}
            text x=(across) y=(y + 4) text-anchor="middle" { (mark.number) }
        }
    }
}

fn spoken(drawing: &Drawing, marks: &[Mark<'_>], w: &Words) -> String {
    let until = Timestamp::from_millis(drawing.from_ms.saturating_add(drawing.span_ms()));
    let from = Timestamp::from_millis(drawing.from_ms);
    (w.spoken)(&(w.period)(from, until), marks.len() as u64)
}

/// So that a whole circle fits at both edges.
fn inside(across: f64) -> f64 {
    across.clamp(1.2, 98.8)
}

fn percent(value: f64) -> String {
    format!("{value:.3}%")
}
