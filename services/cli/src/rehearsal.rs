//! What a proposal's denials would have blocked in the past, as far as the archive tells.

use std::ffi::OsString;

use anyhow::Result;
use trailwarden_archive::lookup::{ActivityRow, Query};
use trailwarden_archive::query::{Archive, Limits};
use trailwarden_core::response::approval::Proposal;
use trailwarden_core::response::rehearsal::{PastCall, Rehearsed, rehearse};
use trailwarden_core::time::{DAY_MS, Timestamp};
use trailwarden_playbooks::{CaseContext, Denial, Whose, denial};

use crate::line::Line;
use crate::untrusted::name;

/// How long before the case's last event the past begins.
const PAST_MS: i64 = 14 * DAY_MS;
/// Calls of the past that are looked at for one step.
const CALLS_MAX: usize = 50_000;

/// Where the past is kept, and how it is opened.
pub(crate) struct Past<'a> {
    pub(crate) location: &'a str,
    pub(crate) environment: &'a [(OsString, OsString)],
}

impl Past<'_> {
    /// Says of each step of a proposal that denies what it would have blocked, or why that is not known.
    ///
    /// # Errors
    /// When the case's line cannot be read.
    pub(crate) async fn rehearse(&self, proposal: &mut Proposal, line: &str) -> Result<()> {
        let line = Line::read(line.as_bytes())?;
        let (case, reference_time) = (proposal.case.clone(), proposal.reference_time);
        let context = CaseContext { case_id: &case, reference_time };
        let mut archive = None;
        for step in &mut proposal.steps {
            let Some(denial) = denial(&step.action, &context) else { continue };
            let archive = match &mut archive {
                Some(archive) => archive,
                none => none.insert(self.open().await),
            };
            let rehearsed = match archive {
                Ok(archive) => of(archive, &denial, &step.action.target.account, &line, reference_time).await,
                Err(why) => Err(why.clone()),
            };
            step.rehearsed = Some(rehearsed.unwrap_or_else(Rehearsed::Skipped));
        }
        Ok(())
    }

    /// The archive, or why there is none.
    async fn open(&self) -> Result<Archive, String> {
        let location = name(self.location);
        let objects = match trailwarden_archive::open(self.location, false, self.environment) {
            Ok(objects) => objects,
            Err(trailwarden_archive::Error::Absent { .. }) => {
                return Err(format!("there is no archive in {location}"));
            }
            Err(error) => return Err(format!("the archive in {location} does not open: {error}")),
        };
        let unreadable = |error| format!("the archive in {location} cannot be read: {error}");
        let limits = Limits { rows_max: CALLS_MAX, ..Limits::default() };
        let archive = Archive::open(objects, limits).map_err(unreadable)?;
        if archive.is_empty().await.map_err(unreadable)? {
            return Err(format!("nothing is archived in {location}"));
        }
        Ok(archive)
    }
}

async fn of(
    archive: &Archive,
    denial: &Denial,
    account: &str,
    line: &Line<'_>,
    until: Timestamp,
) -> Result<Rehearsed, String> {
    let since = line.last_event_time.plus_ms(-PAST_MS);
    let (principal, session) = match &denial.whose {
        Whose::Principal(arn) => (Some(arn.clone()), None),
        Whose::Key(id) => (None, Some(id.clone())),
    };
    let query = Query {
        from: Some(since),
        until: Some(until),
        account: Some(account.to_owned()),
        principal,
        session,
        ..Query::default()
    };
    let found = archive.lookup(&query, CALLS_MAX).await.map_err(|error| error.to_string())?;
    if found.rows.is_empty() {
        return Err(format!("nothing that it did since {since} is archived"));
    }
    let past: Vec<PastCall> = found.rows.iter().map(|row| call(row, line)).collect();
    let told = rehearse(&denial.policy, &past).map_err(|error| error.to_string())?;
    Ok(Rehearsed::Told { since, is_cut: found.is_cut, told })
}

fn call(row: &ActivityRow, line: &Line<'_>) -> PastCall {
    // A case without a session is all that its principal did in its time.
    let suspected = match line.session.as_ref() {
        "" => {
            row.principal == line.principal && (line.first_event_time..=line.last_event_time).contains(&row.event_time)
        }
        session => row.session == session,
    };
    // Long-term keys are no tokens; whatever else was used was issued before it was.
    let is_token = !row.session.starts_with("AKIA");
    PastCall {
        action: format!("{}:{}", row.service, row.call),
        resource: "*".to_owned(),
        principal: row.principal.clone(),
        token_issued_at: is_token.then_some(row.event_time),
        suspected,
        failed: row.error_code.is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cases_own_calls_are_told_from_others() {
        let at = Timestamp::from_millis;
        let of_session = Line { session: "ASIA1".into(), ..Line::default() };
        let of_time =
            Line { principal: "alice".into(), first_event_time: at(100), last_event_time: at(200), ..Line::default() };
        let row = |session: &str, time| ActivityRow {
            session: session.to_owned(),
            principal: "alice".to_owned(),
            event_time: at(time),
            ..ActivityRow::default()
        };
        for (line, row, suspected, is_token) in [
            (&of_session, row("ASIA1", 0), true, true),
            (&of_session, row("AKIA1", 150), false, false),
            (&of_time, row("AKIA1", 200), true, false),
            (&of_time, row("AKIA1", 201), false, false),
        ] {
            let call = call(&row, line);
            assert_eq!((call.suspected, call.token_issued_at.is_some()), (suspected, is_token), "{row:?}");
        }
    }

    #[tokio::test]
    async fn without_an_archive_it_says_so() {
        let folder = tempfile::tempdir().expect("a folder");
        for (path, expected) in
            [(folder.path().join("none"), "there is no archive"), (folder.path().to_owned(), "nothing is archived")]
        {
            let location = path.to_string_lossy();
            let past = Past { location: &location, environment: &[] };
            let why = past.open().await.err();
            assert!(why.as_ref().is_some_and(|why| why.contains(expected)), "{why:?}");
        }
    }
}
