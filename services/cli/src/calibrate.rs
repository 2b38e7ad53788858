//! `case calibrate`: from labelled cases to bounds and a refit of the pool, in a file that `routing.calibration` names.
//!
//! A labelled case is read from one line of JSON, wherever it comes from: the line that `scan --cases` writes, with `label` added.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};
use tonic::transport::Channel;
use trailwarden_core::level::Verdict;
use trailwarden_core::negotiation::calibration::{Calibrated, Calibration, Control, Fit};
use trailwarden_core::negotiation::conformal::{CONTAINED, MISSED, Promise};
use trailwarden_core::negotiation::labels::{LabelledCase, LeftOut, Settled, settle};
use trailwarden_core::negotiation::refit::LABELS_MIN;
use trailwarden_core::negotiation::terms::Pooled;
use trailwarden_proto::v1::case_service_client::CaseServiceClient;
use trailwarden_proto::v1::{Case, CaseLabel, CaseState, ListCasesRequest};

use crate::case::{answered, timed};
use crate::command::{Format, print};
use crate::config::Config;
use crate::outputs;
use crate::scan::Scanner;
use crate::untrusted::{name, visible_json};

/// Cases of one page; all that a council lists at once.
const PAGE: u32 = 1_000;
/// Labelled cases that are read.
const RECORDS_MAX: usize = 200_000;
/// Bytes of a line; the largest that a council keeps are below it.
const LINE_BYTES_MAX: u64 = 4 << 20;

#[derive(Clone, Debug, Args)]
pub struct Arguments {
    /// Where to write the calibration; nothing is written without a labelled case that counts
    #[arg(long, value_name = "FILE", default_value = "trailwarden-calibration.json")]
    out: PathBuf,
    /// Read labelled cases from a file instead: lines of `scan --cases` with `label` added. May be given several times
    #[arg(long, value_name = "FILE.jsonl")]
    pub(crate) labels: Vec<PathBuf>,
    /// Also fit an intercept and a slope of the pool, on a third of the cases. Probabilities and severities become those of the
    /// labelled cases: ask for it where people label what comes, and not what looks worst
    #[arg(long)]
    refit: bool,
    /// Write the labelled cases that the council told to a new file, for `--labels` to read: they outlive the council's lists
    #[arg(long, value_name = "FILE.jsonl", conflicts_with = "labels")]
    save_labels: Option<PathBuf>,
}

/// Calibrates on files, offline.
pub(crate) fn of_files(asked: &Arguments, config: Config, format: Format) -> Result<ExitCode> {
    outputs::check(&asked.labels, &[&asked.out])?;
    let mut read = Records::default();
    for path in &asked.labels {
        let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
        read.lines(BufReader::new(file)).with_context(|| format!("could not read {}", path.display()))?;
    }
    finish(asked, config, &read, format)
}

/// Calibrates on the cases that a council lists.
pub(crate) async fn of_council(
    asked: &Arguments,
    config: Config,
    mut council: CaseServiceClient<Channel>,
    format: Format,
) -> Result<ExitCode> {
    let mut read = Records::default();
    let mut kept = asked.save_labels.as_deref().map(|path| kept_in(path, &asked.out)).transpose()?;
    let mut request = ListCasesRequest { limit: PAGE, ..ListCasesRequest::default() };
    loop {
        let page = answered(council.list(timed(request.clone())).await)?;
        for case in &page.cases {
            let Some(line) = read.case(case)? else { continue };
            if let (Some(kept), Some(path)) = (&mut kept, &asked.save_labels) {
                writeln!(kept, "{line}").with_context(|| format!("could not write {}", path.display()))?;
            }
        }
        if page.next.is_empty() || page.cases.is_empty() {
            break;
        }
        request.after = page.next;
    }
    finish(asked, config, &read, format)
}

/// Labelled cases, and what could not be read of them.
#[derive(Debug, Default)]
struct Records {
    cases: Vec<LabelledCase>,
    /// Labelled, but not over yet.
    open: usize,
    /// Labelled before the last of their events: whoever did so did not see what the case became.
    early: usize,
    /// Lines that are none.
    unreadable: usize,
}

impl Records {
    /// One case as the council keeps it; the line that would be read again, if it is labelled and over.
    fn case(&mut self, case: &Case) -> Result<Option<String>> {
        let Some(label) = &case.label else { return Ok(None) };
        if case.state() != CaseState::Closed {
            self.open += 1;
            return Ok(None);
        }
        if label.at_ms < case.last_event_time_ms {
            self.early += 1;
            return Ok(None);
        }
        // A case too large for its line is kept without; it still says whose it is.
        let mut line: Value = serde_json::from_str(&case.line_json).unwrap_or_default();
        if !line.is_object() {
            line = json!({ "case_id": case.id, "event_ids": case.event_ids });
        }
        line["label"] = told(label);
        let line = line.to_string();
        self.line(line.as_bytes())?;
        Ok(Some(line))
    }

    #[expect(clippy::disallowed_methods, reason = "capped by the `take` before it")]
    fn lines(&mut self, mut reader: impl BufRead) -> Result<()> {
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut reader).take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
            if read == 0 {
                return Ok(());
            }
            if read as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
                bail!("a line has more than {LINE_BYTES_MAX} bytes");
            }
            if !line.trim_ascii().is_empty() {
                self.line(&line)?;
            }
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<()> {
        if self.cases.len() >= RECORDS_MAX {
            bail!("more than {RECORDS_MAX} labelled cases are more than this reads");
        }
        match serde_json::from_slice::<Line>(line) {
            Ok(Line { label: Some(label), case_id, event_ids, judged_under, pool }) => self.cases.push(LabelledCase {
                case_id,
                event_ids,
                label: Some(label.verdict),
                author: label.author,
                at_ms: label.at_ms,
                is_synthetic: label.synthetic,
                is_contested: !label.contested_by.is_empty(),
                model: judged_under.and_then(|terms| terms.model),
                pooled: pool,
            }),
            // Nobody said a word on it.
            Ok(_) => {}
            Err(_) => self.unreadable += 1,
        }
        Ok(())
    }
}

/// A line of `scan --cases` as far as a calibration goes, with its label.
#[derive(Deserialize)]
struct Line {
    case_id: String,
    #[serde(default)]
    event_ids: Vec<String>,
    judged_under: Option<TermsLine>,
    pool: Option<Pooled>,
    label: Option<Label>,
}

#[derive(Deserialize)]
struct TermsLine {
    model: Option<String>,
}

#[derive(Deserialize)]
struct Label {
    verdict: Verdict,
    #[serde(default)]
    author: String,
    #[serde(default)]
    at_ms: i64,
    #[serde(default)]
    synthetic: bool,
    #[serde(default)]
    contested_by: Vec<String>,
}

fn told(label: &CaseLabel) -> Value {
    let CaseLabel { verdict, note, author, at_ms, synthetic, contested_by } = label;
    json!({
        "verdict": verdict, "note": note, "author": author, "at_ms": at_ms, "synthetic": synthetic, "contested_by": contested_by,
    })
}

/// Calibrates, writes the file, and says what came of it.
fn finish(asked: &Arguments, mut config: Config, read: &Records, format: Format) -> Result<ExitCode> {
    // The one in force may be of another model, which is why a new one is made.
    config.routing.calibration = None;
    let scanner = Scanner::from_config(config)?;
    let settled = settle(&read.cases, scanner.model());
    let calibrated = Calibration::on(&settled, scanner.model(), asked.refit);
    let is_empty = settled.attacks.is_empty() && settled.benign.is_empty();
    if !is_empty {
        let mut file = create(&asked.out)?;
        let written = file.write_all(calibrated.calibration.to_json().as_bytes());
        written.with_context(|| format!("could not write {}", asked.out.display()))?;
    }
    if format == Format::Table {
        print(&text(read, &settled, &calibrated))?;
        print(&match is_empty {
            true => "no labelled case counts, so nothing was written; `case label` labels one\n".to_owned(),
            false => format!("written to          {}; `routing.calibration` names it\n", asked.out.display()),
        })?;
    }
    print(&format!("{}\n", visible_json(&figures(read, &settled, &calibrated).to_string())))?;
    Ok(ExitCode::SUCCESS)
}

/// A new file for labels. The council may not tell those of an earlier one any more, so none is written over.
fn kept_in(path: &Path, out: &Path) -> Result<File> {
    outputs::check(&[], &[out, path])?;
    File::create_new(path).with_context(|| {
        format!("could not create {}; earlier labels stay, and `--labels` reads several files", path.display())
    })
}

fn create(path: &Path) -> Result<File> {
    File::create(path).with_context(|| format!("could not create {}", path.display()))
}

fn text(read: &Records, settled: &Settled, calibrated: &Calibrated) -> String {
    let Settled { attacks, benign, left_out } = settled;
    let Calibrated { closing, acting, acting_without_models, fitted, published, average_precision, calibration } =
        calibrated;
    let model = calibration.model.as_deref().unwrap_or("none");
    let precision = average_precision.map_or_else(|| "without an attack".to_owned(), |ap| format!("{ap:.3}"));
    [
        format!("labelled cases      attacks {}, benign {}; each counts once\n", attacks.len(), benign.len()),
        format!("not counted         {}\n", not_counted(read, left_out)),
        format!("closing             {}\n", bound(closing, MISSED, "up to", "attack", "benign case")),
        format!("automatic steps     {}\n", bound(acting, CONTAINED, "from", "benign case", "attack")),
        format!("  without models    {}\n", bound(acting_without_models, CONTAINED, "from", "benign case", "attack")),
        format!("refit of the pool   with a model's word: {}\n", refit(fitted.as_ref())),
        format!("                    by published priors: {}\n", refit(published.as_ref())),
        format!("ranking             average precision {precision}, of model {}\n", name(model)),
        format!("calibration         {}\n", calibration.digest()),
    ]
    .concat()
}

fn not_counted(read: &Records, left_out: &LeftOut) -> String {
    let LeftOut { duplicates, conflicting, conflicts, synthetic, undecided, other_model, incomplete } = left_out;
    let mut parts: Vec<String> = [
        (*duplicates, "told twice"),
        (*conflicting, "in conflict"),
        (*synthetic, "synthetic"),
        (*undecided, "undecided"),
        (*other_model, "of another model"),
        (*incomplete, "without the pool's figures"),
        (read.open, "not over yet"),
        (read.early, "labelled before their last event"),
        (read.unreadable, "unreadable"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, what)| format!("{count} {what}"))
    .collect();
    if parts.is_empty() {
        return "none".to_owned();
    }
    if !conflicts.is_empty() {
        let names: Vec<String> = conflicts.iter().map(|case| name(case)).collect();
        parts.push(format!("people disagree on {}", names.join(", ")));
    }
    parts.join("; ")
}

/// A bound in words. `kind` is the dangerous one, `other` what the bound is for.
fn bound(control: &Control, promise: Promise, side: &str, kind: &str, other: &str) -> String {
    let Control { at, cases, passed, promised, left_out, others, others_passed } = control;
    let percent = |share: f64| format!("{:.2} %", 100.0 * share);
    let Some(promised) = promised else {
        return format!("nothing: it takes {} labelled {kind}s, and {cases} count", promise.cases_min());
    };
    let Some(at) = at else {
        return format!("nothing: some of the {cases} labelled {kind}s are beyond any bound");
    };
    let out = left_out.map_or_else(
        || "leaving each out in turn takes one more".to_owned(),
        |out| format!("leaving each out in turn, {out} do ({})", percent(out as f64 / (*cases).max(1) as f64)),
    );
    format!(
        "{side} {at:.6}: at most {} of {kind}s pass; {passed} of {cases} labelled ones do; {out}; of {others} {other}s, {others_passed} pass",
        percent(*promised),
    )
}

fn refit(fit: Option<&Fit>) -> String {
    let Some(Fit { refitted, before, after }) = fit else {
        return format!(
            "none: it takes `--refit`, {LABELS_MIN} attacks and {LABELS_MIN} benign cases beside those that bounds need"
        );
    };
    let (line, labelled) = (refitted.refit, refitted.labelled);
    format!(
        "intercept {:+.3}, slope {:.3}, from {} attacks and {} benign cases; mean loss on the others {before:.4} before, {after:.4} after",
        line.intercept, line.slope, labelled.attacks, labelled.benign,
    )
}

/// All of it by name, for a machine: what is compared between bundles.
fn figures(read: &Records, settled: &Settled, calibrated: &Calibrated) -> Value {
    let Settled { attacks, benign, left_out } = settled;
    let share = |part: usize, all: usize| (all > 0).then(|| part as f64 / all as f64);
    let bound = |control: &Control| {
        json!({
            "at": control.at,
            "cases": control.cases,
            "passed": control.passed,
            "promised": control.promised,
            "left_out": control.left_out,
            "others": control.others,
            "others_passed": control.others_passed,
        })
    };
    let fit = |fit: &Option<Fit>| {
        fit.as_ref().map(
            |Fit { refitted, before, after }| json!({ "refit": refitted, "loss_before": before, "loss_after": after }),
        )
    };
    let Calibrated { closing, acting, acting_without_models, .. } = calibrated;
    json!({
        "model": calibrated.calibration.model,
        "calibration": calibrated.calibration.digest(),
        "attacks": attacks.len(),
        "benign": benign.len(),
        "duplicates": left_out.duplicates,
        "conflicting": left_out.conflicting,
        "conflicts": left_out.conflicts,
        "synthetic": left_out.synthetic,
        "undecided": left_out.undecided,
        "other_model": left_out.other_model,
        "incomplete": left_out.incomplete,
        "open": read.open,
        "early": read.early,
        "unreadable": read.unreadable,
        "close": bound(closing),
        "act": bound(acting),
        "act_without_models": bound(acting_without_models),
        "fitted": fit(&calibrated.fitted),
        "published": fit(&calibrated.published),
        "average_precision": calibrated.average_precision,
        // At the bounds: attacks that a person still sees, and benign cases that nobody has to.
        "recall_at_close": share(closing.cases - closing.passed, closing.cases),
        "benign_closed": share(closing.others_passed, closing.others),
    })
}

#[cfg(test)]
#[path = "calibrate_tests.rs"]
mod tests;
