//! `query`: SQL over the archive, printed so that nothing an attacker wrote reaches the terminal's own language.

use std::fmt::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde_json::Value;
use trailwarden_archive::query::{Answer, Archive, Error, Limits};
use unicode_width::UnicodeWidthStr;

use crate::command::{Format, NOTHING_READ, Surroundings, WRONG, print, tell};
use crate::config::Config;
use crate::figures::count;
use crate::terminal::fit;
use crate::untrusted;

/// Rows without `--limit`.
pub const ROWS_DEFAULT: usize = 1_000;
pub const ROWS_MAX: usize = 1_000_000;
/// Characters of one value on a line of a table, and where a row has lines of its own.
const CELL_CHARS_MAX: usize = 60;
const VALUE_CHARS_MAX: usize = 4_000;
/// Names further apart than this are no slip of the hand.
const SLIP_MAX: usize = 3;

/// What `query` was asked for.
#[derive(Debug)]
pub struct QueryRequest {
    pub sql: String,
    /// The configuration's without it.
    pub archive: Option<String>,
    pub format: Format,
    pub rows_max: usize,
    pub config: Option<PathBuf>,
}

/// Answers one question.
pub fn query(request: QueryRequest, surroundings: &Surroundings<'_>) -> Result<ExitCode> {
    if matches!(request.format, Format::Ocsf | Format::Markdown) {
        bail!("the rows of a query are no cases; `--format table` and `--format jsonl` print them");
    }
    let config = Config::load(request.config.as_deref(), surroundings.environment.iter().cloned())?;
    let location = request.archive.unwrap_or(config.archive.location);
    let nothing = |why: &str| {
        tell(&format!("trailwarden: nothing is archived in {}{why}\n", untrusted::name(&location)));
        Ok(ExitCode::from(NOTHING_READ))
    };
    let objects = match trailwarden_archive::open(&location, false, &surroundings.environment) {
        Ok(objects) => objects,
        Err(trailwarden_archive::Error::Absent { .. }) => return nothing(": there is no such folder"),
        Err(error) => return Err(error.into()),
    };
    let threads =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("could not start threads")?;
    let limits = Limits { rows_max: request.rows_max, ..Limits::default() };
    let outcome = threads.block_on(async {
        let archive = Archive::open(objects, limits)?;
        Ok(if archive.is_empty().await? { None } else { Some(archive.query(&request.sql).await?) })
    });
    // What a question that took too long still does ends with the process.
    threads.shutdown_background();
    match outcome {
        Ok(None) => nothing("; `trailwarden run --role archive` fills it"),
        Ok(Some(answer)) => {
            let text = match request.format {
                Format::Jsonl => lines(&answer),
                _ => table(&answer, surroundings.screen().width),
            };
            print(&text)?;
            tell(&note(&answer));
            Ok(ExitCode::SUCCESS)
        }
        Err(error) => {
            tell(&format!("trailwarden: {}\n", explain(&error)));
            let code = if matches!(error, Error::Unreadable(_)) { NOTHING_READ } else { WRONG };
            Ok(ExitCode::from(code))
        }
    }
}

/// How many rows there are, and whether there are more.
fn note(answer: &Answer) -> String {
    let rows = count(answer.rows.len() as u64);
    if answer.is_cut {
        format!("the first {rows} rows; there are more: `--limit N` shows them, `ORDER BY` says which come first\n")
    } else {
        format!("{rows} {}\n", if answer.rows.len() == 1 { "row" } else { "rows" })
    }
}

fn explain(error: &Error) -> String {
    let (known, name) = match error {
        Error::UnknownTable { name, known } | Error::UnknownColumn { name, known } => (known, name),
        Error::Unreadable(source) => return untrusted::visible(&format!("{error}: {source}"), VALUE_CHARS_MAX),
        other => return untrusted::visible(&other.to_string(), VALUE_CHARS_MAX),
    };
    let mut text = untrusted::visible(&error.to_string(), VALUE_CHARS_MAX);
    let distance = |other: &&String| strsim::damerau_levenshtein(&name.to_lowercase(), other);
    // Writing to a String cannot fail.
    match known.iter().min_by_key(distance).filter(|nearest| distance(nearest) <= SLIP_MAX) {
        Some(nearest) => {
            let _ = write!(text, "; did you mean `{nearest}`?");
        }
        None => {
            let _ = write!(text, "; there are {}", known.join(", "));
        }
    }
    text
}

/// The answer as a table, or, where its columns need more room than there is, each row on lines of its own.
fn table(answer: &Answer, width: usize) -> String {
    let shown: Vec<Vec<String>> =
        answer.rows.iter().map(|row| row.iter().map(|value| cell(value, CELL_CHARS_MAX)).collect()).collect();
    let heads: Vec<String> = answer.columns.iter().map(|name| untrusted::visible(name, CELL_CHARS_MAX)).collect();
    let widths: Vec<usize> = heads
        .iter()
        .enumerate()
        .map(|(at, head)| {
            shown.iter().filter_map(|row| row.get(at)).chain([head]).map(|text| text.width()).max().unwrap_or(0)
        })
        .collect();
    if widths.iter().map(|width| width + 2).sum::<usize>() > width + 2 {
        return by_row(answer, &heads);
    }
    let mut out = String::new();
    for row in std::iter::once(&heads).chain(&shown) {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(text, width)| fit(text, *width)).collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    out
}

fn by_row(answer: &Answer, heads: &[String]) -> String {
    let widest = heads.iter().map(|head| head.width()).max().unwrap_or(0);
    let mut out = String::new();
    for (at, row) in answer.rows.iter().enumerate() {
        // Writing to a String cannot fail.
        let _ = writeln!(out, "-- {}", count(at as u64 + 1));
        for (head, value) in heads.iter().zip(row).filter(|(_, value)| !value.is_null()) {
            let _ = writeln!(out, "{}  {}", fit(head, widest), cell(value, VALUE_CHARS_MAX));
        }
    }
    out
}

fn cell(value: &Value, chars_max: usize) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => untrusted::visible(text, chars_max),
        other => other.to_string(),
    }
}

/// A JSON object a row, names in the order asked for. What hides is written as JSON's own escapes.
fn lines(answer: &Answer) -> String {
    let mut names: Vec<String> = Vec::with_capacity(answer.columns.len());
    for column in &answer.columns {
        let mut name = column.clone();
        let mut number = 1;
        while names.contains(&name) {
            number += 1;
            name = format!("{column}_{number}");
        }
        names.push(name);
    }
    let names: Vec<String> = names.into_iter().map(|name| Value::from(name).to_string()).collect();
    let mut out = String::new();
    for row in &answer.rows {
        let members: Vec<String> = names.iter().zip(row).map(|(name, value)| format!("{name}:{value}")).collect();
        out.push_str(&untrusted::visible_json(&format!("{{{}}}", members.join(","))));
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn answer() -> Answer {
        let columns = vec!["who".to_owned(), "n".to_owned(), "n".to_owned()];
        let rows = vec![
            vec![json!("a\u{1b}[2Jb\u{202e}"), json!(3), Value::Null],
            vec![json!("日本"), json!(0.5), json!(true)],
        ];
        Answer { columns, rows, is_cut: false }
    }

    #[test]
    fn what_was_written_in_a_log_does_not_reach_the_terminal() {
        let text = table(&answer(), 100);
        assert_eq!(text, "who                  n    n\na\\u{1b}[2Jb\\u{202e}  3\n日本                 0.5  true\n");
        let narrow = table(&answer(), 10);
        assert_eq!(narrow, "-- 1\nwho  a\\u{1b}[2Jb\\u{202e}\nn    3\n-- 2\nwho  日本\nn    0.5\nn    true\n");
    }

    #[test]
    fn lines_are_json_whose_names_differ_and_that_means_what_was_stored() {
        let text = lines(&answer());
        let first = text.lines().next().unwrap();
        assert_eq!(first, "{\"who\":\"a\\u001b[2Jb\\u202e\",\"n\":3,\"n_2\":null}");
        let read: Value = serde_json::from_str(first).unwrap();
        assert_eq!(read["who"], answer().rows[0][0]);
    }

    #[test]
    fn a_slip_is_answered_with_the_nearest_name_and_nonsense_with_all() {
        let known = vec!["activities".to_owned(), "signals".to_owned()];
        let error = |name: &str| Error::UnknownTable { name: name.to_owned(), known: known.clone() };
        assert_eq!(explain(&error("activites")), "there is no table `activites`; did you mean `activities`?");
        assert_eq!(explain(&error("\u{1b}zz")), "there is no table `\\u{1b}zz`; there are activities, signals");
    }
}
