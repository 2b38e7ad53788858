//! What others may ask of cases.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use futures::{Stream, StreamExt, TryStreamExt};
use tonic::{Request, Response, Status};
use trailwarden_core::level::Verdict;
use trailwarden_core::response::approval::{
    Intent, ORDER_BYTES_MAX, Order, PROPOSAL_BYTES_MAX, Refusal, SignedOrder, Submitted,
};
use trailwarden_proto::status::{self, Fault, Retry, absent, not_built};
use trailwarden_proto::v1::case_service_server::CaseService;
use trailwarden_proto::v1::{self, CaseState};
use trailwarden_runtime::Clock;

use crate::door::Door;
use crate::log::{self, CaseLogs};
use crate::view::{Filter, Place, Shown, View};
use crate::watch::{self, WATCHERS_MAX};

const LIST_DEFAULT: usize = 100;
const LIST_MAX: usize = 1_000;
/// Bytes of the cases in one answer: below what a message may have, with room for the largest case.
const LIST_BYTES_MAX: usize = 2 << 20;
/// Logs that are read at the same time for one answer.
const LOGS_AT_ONCE: usize = 16;
const VERDICTS_MAX: usize = 8;
const ID_BYTES_MAX: usize = 64;
/// Of an Ed25519 signature.
const SIGNATURE_DIGITS: usize = 128;
const AUTHOR_BYTES_MAX: usize = 200;
const NOTE_BYTES_MAX: usize = 2_000;
/// How long a label waits until lists show it too.
const SHOWN_PATIENCE: Duration = Duration::from_secs(2);

/// Answers from the view; writes to the logs.
pub(crate) struct Cases {
    pub(crate) view: Arc<View>,
    pub(crate) logs: CaseLogs,
    pub(crate) clock: Clock,
    pub(crate) watchers: Arc<AtomicUsize>,
    pub(crate) door: Arc<Door>,
}

fn invalid(what: impl std::fmt::Display) -> Status {
    status::status(Fault::Input, Retry::Never, what)
}

/// A case id as it may stand in a subject.
fn checked_id(id: &str) -> Result<&str, Status> {
    let good = !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if good { Ok(id) } else { Err(invalid("`id` is no case id")) }
}

/// Checks a text that people will read in lists and terminals.
fn checked_text(field: &str, text: &str, bytes_max: usize, lines: bool) -> Result<(), Status> {
    if text.len() > bytes_max {
        return Err(invalid(format!("`{field}` has {} bytes, and at most {bytes_max} are taken", text.len())));
    }
    match text.chars().any(|letter| letter.is_control() && !(lines && letter == '\n')) {
        true => Err(invalid(format!("`{field}` holds control characters"))),
        false => Ok(()),
    }
}

fn checked_verdict(word: &str) -> Result<Verdict, Status> {
    word.parse().map_err(|error| invalid(format!("verdict {error}")))
}

/// A place in a list as `next` carries it.
fn token((began, id): Place) -> String {
    format!("{began}-{id}")
}

fn place(token: &str) -> Result<Option<Place>, Status> {
    if token.is_empty() {
        return Ok(None);
    }
    let read = || {
        // The time may have a sign of its own.
        let (began, id) = token.rsplit_once('-')?;
        Some((began.parse().ok()?, checked_id(id).ok()?.to_owned()))
    };
    read().map(Some).ok_or_else(|| invalid("`after` is no `next` of a list"))
}

impl From<log::Error> for Status {
    fn from(error: log::Error) -> Self {
        let (fault, retry) = match &error {
            log::Error::Absent { case } => return absent(format!("case {case}")),
            log::Error::Labels { .. } => (Fault::Input, Retry::AfterChange),
            log::Error::Bus(error) if error.is_transient() => (Fault::Peer, Retry::Later),
            log::Error::Bus(_) => (Fault::Peer, Retry::AfterChange),
            log::Error::Contended { .. } => (Fault::Us, Retry::Later),
            log::Error::Broken { .. } => (Fault::Us, Retry::Never),
        };
        status::status(fault, retry, error)
    }
}

impl Cases {
    /// From the view, or from the log itself where the case began before what the view holds.
    async fn case(&self, id: &str) -> Result<v1::Case, Status> {
        let id = checked_id(id)?;
        let case = match self.view.get(id) {
            Some(case) => case,
            None => self.logs.latest(id).await?.ok_or_else(|| absent(format!("case {id}")))?,
        };
        if case.label.is_none() || !case.transcript_json.is_empty() {
            return Ok(case);
        }
        // A label does not repeat what models said.
        let history = self.logs.history(id).await?;
        Ok(v1::Case { transcript_json: history.transcript().to_owned(), ..case })
    }

    /// As the view shows it; what it does not hold is read from the log. `None` where the broker keeps that no longer.
    async fn shown(&self, shown: Shown) -> Result<Option<v1::Case>, Status> {
        match shown {
            Shown::Held(case) => Ok(Some(*case)),
            Shown::Logged(id) => Ok(self.logs.latest(&id).await?),
        }
    }

    /// Sends an order on its way that an approver signed. The gate stands before the executor, and what it refuses is
    /// audited there; so is what does not come through the door, within bounds.
    async fn order(&self, id: &str, intents: &[Intent], submitted: Submitted) -> Result<Response<v1::Case>, Status> {
        let case = self.case(id).await?;
        if let Err(misshapen) = shaped(&submitted, &case.id, intents) {
            self.door.refused(&case.id, &Refusal::Malformed(misshapen.message().to_owned())).await;
            return Err(misshapen);
        }
        if !self.door.is_staffed() {
            self.door.refused(&case.id, &Refusal::Unknown("whoever sends it".to_owned())).await;
            let why =
                "no approvers are known here, so no order is taken: set executor.approvers where the council runs";
            return Err(status::status(Fault::Input, Retry::AfterChange, why));
        }
        let taken = match self.door.check(&submitted, &case.id) {
            Ok(order) => self.logs.order(&case.id, &order, &submitted).await?,
            Err(refusal) => Err(refusal),
        };
        match taken {
            Ok(()) => Ok(Response::new(case)),
            Err(refusal) => {
                self.door.refused(&case.id, &refusal).await;
                let retry = if refusal == Refusal::TooMany { Retry::AfterChange } else { Retry::Never };
                Err(status::status(Fault::Input, retry, format!("the order is refused: {refusal}")))
            }
        }
    }
}

/// Looks at an order for its shape alone.
fn shaped(submitted: &Submitted, case: &str, intents: &[Intent]) -> Result<(), Status> {
    let SignedOrder { order, signature } = &submitted.signed;
    if order.is_empty() || signature.is_empty() {
        return Err(invalid("`order_json` or `signature` is missing: an approver signs what is to be done"));
    }
    if order.len() > ORDER_BYTES_MAX || signature.len() > SIGNATURE_DIGITS {
        return Err(invalid("`order_json` or `signature` is too long"));
    }
    if submitted.proposal.len() > PROPOSAL_BYTES_MAX {
        return Err(invalid(format!("`proposal_json` has more than {PROPOSAL_BYTES_MAX} bytes")));
    }
    let read: Order = serde_json::from_str(order).map_err(|error| invalid(format!("`order_json`: {error}")))?;
    if !intents.contains(&read.intent) || read.case != case {
        return Err(invalid("`order_json` orders something else"));
    }
    Ok(())
}

#[tonic::async_trait]
impl CaseService for Cases {
    type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::CaseTransition, Status>> + Send>>;

    async fn list(&self, request: Request<v1::ListCasesRequest>) -> Result<Response<v1::ListCasesResponse>, Status> {
        let v1::ListCasesRequest { verdicts, open_only, limit, after } = request.into_inner();
        let limit = match usize::try_from(limit).unwrap_or(usize::MAX) {
            0 => LIST_DEFAULT,
            limit if limit <= LIST_MAX => limit,
            limit => return Err(invalid(format!("`limit` is {limit}, and at most {LIST_MAX} are listed at once"))),
        };
        if verdicts.len() > VERDICTS_MAX {
            return Err(invalid(format!("`verdicts` names more than {VERDICTS_MAX}")));
        }
        let words = verdicts.iter().map(|word| Ok(checked_verdict(word)?.as_str().to_owned()));
        let filter = Filter { verdicts: words.collect::<Result<_, Status>>()?, open_only };
        let page = self.view.list(&filter, place(&after)?.as_ref(), limit, LIST_BYTES_MAX);
        let shown = page.cases.into_iter().map(|shown| self.shown(shown));
        let cases: Vec<Option<v1::Case>> = futures::stream::iter(shown).buffered(LOGS_AT_ONCE).try_collect().await?;
        let (cases, next) = (cases.into_iter().flatten().collect(), page.next.map(token).unwrap_or_default());
        Ok(Response::new(v1::ListCasesResponse { cases, next }))
    }

    async fn get(&self, request: Request<v1::GetCaseRequest>) -> Result<Response<v1::Case>, Status> {
        self.case(&request.into_inner().id).await.map(Response::new)
    }

    async fn watch(&self, request: Request<v1::WatchCasesRequest>) -> Result<Response<Self::WatchStream>, Status> {
        let from = match request.into_inner().from_sequence {
            0 => *self.view.latest().borrow() + 1,
            from => from,
        };
        let Some(seat) = watch::Seat::take(&self.watchers) else {
            let why = format!("{WATCHERS_MAX} watch already");
            return Err(status::status(Fault::Input, Retry::Later, why));
        };
        Ok(Response::new(watch::watch(self.view.clone(), from, seat)?))
    }

    async fn label(&self, request: Request<v1::LabelCaseRequest>) -> Result<Response<v1::Case>, Status> {
        let v1::LabelCaseRequest { id, verdict, note, author, synthetic } = request.into_inner();
        let verdict = checked_verdict(&verdict)?.as_str().to_owned();
        checked_text("note", &note, NOTE_BYTES_MAX, true)?;
        checked_text("author", &author, AUTHOR_BYTES_MAX, false)?;
        if author.trim().is_empty() {
            return Err(invalid("`author` is missing: whose word is it?"));
        }
        let case = self.case(&id).await?;
        if case.state() == CaseState::Merged {
            let why = format!("case {id} went on in case {}, which can be labelled", case.merged_into);
            return Err(status::status(Fault::Input, Retry::AfterChange, why));
        }
        let at_ms = (self.clock)().as_millis();
        let label = v1::CaseLabel { verdict, note, author, at_ms, synthetic, contested_by: Vec::new() };
        let entry = self.logs.label(&id, label).await?;
        let mut latest = self.view.latest();
        let shown = latest.wait_for(|latest| *latest >= entry.sequence);
        // It is durable; that a list shows it a little later is no failure.
        let _ = tokio::time::timeout(SHOWN_PATIENCE, shown).await;
        entry.case.map(Response::new).ok_or_else(|| absent(format!("case {id}")))
    }

    async fn approve(&self, request: Request<v1::ApproveCaseRequest>) -> Result<Response<v1::Case>, Status> {
        let v1::ApproveCaseRequest { id, order_json, signature, proposal_json } = request.into_inner();
        let signed = SignedOrder { order: order_json, signature };
        self.order(
            &id,
            &[Intent::Propose, Intent::Approve, Intent::Renew],
            Submitted { proposal: proposal_json, signed },
        )
        .await
    }

    async fn deny(&self, request: Request<v1::DenyCaseRequest>) -> Result<Response<v1::Case>, Status> {
        let v1::DenyCaseRequest { id, order_json, signature } = request.into_inner();
        let signed = SignedOrder { order: order_json, signature };
        self.order(&id, &[Intent::Deny], Submitted { proposal: String::new(), signed }).await
    }

    async fn undo(&self, request: Request<v1::UndoCaseRequest>) -> Result<Response<v1::Case>, Status> {
        let v1::UndoCaseRequest { id, order_json, signature } = request.into_inner();
        let signed = SignedOrder { order: order_json, signature };
        self.order(&id, &[Intent::Undo], Submitted { proposal: String::new(), signed }).await
    }

    async fn replay(&self, _: Request<v1::ReplayCaseRequest>) -> Result<Response<v1::ReplayCaseResponse>, Status> {
        Err(not_built("replaying a negotiation"))
    }
}

#[cfg(test)]
mod tests {
    use trailwarden_bus::{Bus, Layout, Memory};
    use trailwarden_core::time::Timestamp;
    use trailwarden_runtime::metrics::Metrics;

    use super::*;
    use crate::entry::Statement;
    use crate::view::Bounds;

    #[tokio::test]
    async fn what_the_view_does_not_hold_is_listed_from_its_log() {
        let bus = Arc::new(Memory::default());
        bus.set_up(&Layout::in_memory("default", 1)).await.expect("set up");
        let logs = CaseLogs::new(bus, "default", Metrics::nowhere());
        let bounds = Bounds { case_bytes_max: 0, ..Bounds::default() };
        let (view, watchers) = (Arc::new(View::new(bounds)), Arc::default());
        let clock: Clock = Arc::new(Timestamp::default);
        let door = Arc::new(Door::new("default", None, logs.clone(), clock.clone(), Metrics::nowhere()));
        let cases = Cases { view: view.clone(), logs: logs.clone(), clock, watchers, door };
        for (began, id) in [(1, "a"), (2, "b"), (3, "c")] {
            let case = v1::Case { id: id.into(), first_event_time_ms: began, score: 0.5, ..v1::Case::default() };
            logs.state(id, 1, &Statement::Closed(Box::new(case))).await.expect("a log");
            view.apply(&logs.history(id).await.expect("a log").entries[0]);
        }
        // The broker keeps its log no longer.
        let gone = v1::Case { id: "d".into(), first_event_time_ms: 4, ..v1::Case::default() };
        view.apply(&v1::CaseTransition { sequence: 9, case: Some(gone), ..v1::CaseTransition::default() });
        let request = Request::new(v1::ListCasesRequest { limit: 3, ..v1::ListCasesRequest::default() });
        let answer = cases.list(request).await.expect("a list").into_inner();
        let listed: Vec<(&str, f64)> = answer.cases.iter().map(|case| (case.id.as_str(), case.score)).collect();
        assert_eq!(listed, [("c", 0.5), ("b", 0.5)]);
        let request = Request::new(v1::ListCasesRequest { after: answer.next, ..v1::ListCasesRequest::default() });
        let rest = cases.list(request).await.expect("a list").into_inner();
        assert_eq!((rest.cases[0].id.as_str(), rest.next.as_str()), ("a", ""));
        let absent = cases.get(Request::new(v1::GetCaseRequest { id: "d".into() })).await;
        assert_eq!(absent.map_err(|status| status.code()).err(), Some(tonic::Code::NotFound));
    }
}
