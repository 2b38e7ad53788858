//! The logs of cases on the bus: one subject a case, every entry fenced by where the log ended before it.

use std::sync::Arc;

use trailwarden_bus::{self as bus, Bus, Outgoing, Published, Sequence, Subject};
use trailwarden_core::response::approval::{Intent, Order, Refusal, Submitted};
use trailwarden_core::response::refusals::Told;
use trailwarden_proto::v1::{Case, CaseLabel, CaseTransition, TransitionKind};
use trailwarden_proto::{Invalid, wire};
use trailwarden_runtime::metrics::Metrics;

use crate::entry::{Decision, History, Statement};

/// Entries read in one go.
const PAGE: usize = 64;
/// Entries that one log may have. The fold makes a handful; the rest are people's.
const ENTRIES_MAX: usize = 512;
/// How often an entry is tried when somebody else was faster.
const RACES_MAX: u32 = 16;
/// Orders of one case that are looked through: all that may be let in.
const ORDERS_READ_MAX: usize = Intent::Approve.orders_max() + Intent::Undo.orders_max();
/// Labels that one case may be given.
pub(crate) const LABELS_MAX: usize = 256;

/// What became of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Logged {
    Appended(Sequence),
    /// It stood there before.
    Present,
    /// Something else stands in its place; that stays.
    Differs,
}

/// Why the log did not take an entry.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Error {
    #[error(transparent)]
    Bus(#[from] bus::Error),
    /// Ours: an entry cannot be read.
    #[error("an entry of the log of case {case} cannot be read")]
    Broken { case: String, source: Invalid },
    /// Retry later: others write to the log all the time.
    #[error("the log of case {case} is written to by others all the time")]
    Contended { case: String },
    /// The caller's: no such case.
    #[error("there is no case {case}")]
    Absent { case: String },
    /// The caller's: enough is enough.
    #[error("case {case} has been labelled {LABELS_MAX} times, which is all that it may be")]
    Labels { case: String },
}

impl Error {
    /// Whether trying the same again can help.
    pub(crate) fn is_transient(&self) -> bool {
        match self {
            Self::Bus(error) => error.is_transient() || matches!(error, bus::Error::Missing { .. }),
            Self::Contended { .. } => true,
            Self::Broken { .. } | Self::Absent { .. } | Self::Labels { .. } => false,
        }
    }
}

/// The logs of a tenant's cases.
#[derive(Clone)]
pub(crate) struct CaseLogs {
    bus: Arc<dyn Bus>,
    tenant: String,
    metrics: Metrics,
}

impl CaseLogs {
    pub(crate) fn new(bus: Arc<dyn Bus>, tenant: &str, metrics: Metrics) -> Self {
        Self { bus, tenant: tenant.to_owned(), metrics }
    }

    /// The log of a case; empty when there is none.
    pub(crate) async fn history(&self, case: &str) -> Result<History, Error> {
        let subject = Subject::case(&self.tenant, case);
        let mut history = History::default();
        while history.entries.len() < ENTRIES_MAX {
            let page = self.bus.read(&subject, history.tail, PAGE).await?;
            let is_last = page.len() < PAGE;
            for stored in page {
                history.tail = stored.sequence;
                history.entries.push(read(case, stored.sequence, &stored.payload)?);
            }
            if is_last {
                break;
            }
        }
        Ok(history)
    }

    /// The case after the latest entry of its log; `None` when there is none.
    pub(crate) async fn latest(&self, case: &str) -> Result<Option<Case>, Error> {
        let Some(stored) = self.bus.last(&Subject::case(&self.tenant, case)).await? else { return Ok(None) };
        Ok(read(case, stored.sequence, &stored.payload)?.case)
    }

    /// Sees to it that the log says `statement` at `ordinal` among the fold's entries.
    pub(crate) async fn state(&self, case: &str, ordinal: u32, statement: &Statement) -> Result<Logged, Error> {
        for race in 0..RACES_MAX {
            // Whose first entry it is has no log yet, as a rule; where there is one after all, the bus refuses.
            let history = match (race, ordinal) {
                (0, 1) => History::default(),
                _ => self.history(case).await?,
            };
            match history.decide(ordinal, statement) {
                Decision::Present => return Ok(Logged::Present),
                Decision::Differs { found } => {
                    tracing::error!(
                        case,
                        ordinal,
                        found_kind = found.as_ref().map(|found| found.kind().as_str_name()),
                        "the log of a case says something else than what follows from its signals"
                    );
                    self.metrics.cases("differing", 1);
                    return Ok(Logged::Differs);
                }
                Decision::Append(entry) => match self.append(case, history.tail, &entry).await {
                    Ok(Some(sequence)) => return Ok(Logged::Appended(sequence)),
                    Ok(None) => {}
                    // A full stream may hold the entry already.
                    Err(Error::Bus(bus::Error::Full { .. })) if race == 0 => {}
                    Err(error) => return Err(error),
                },
            }
        }
        Err(Error::Contended { case: case.to_owned() })
    }

    /// Appends what a person found the case to be, and returns the entry.
    pub(crate) async fn label(&self, case: &str, label: CaseLabel) -> Result<CaseTransition, Error> {
        for _ in 0..RACES_MAX {
            let history = self.history(case).await?;
            if history.labels() >= LABELS_MAX {
                return Err(Error::Labels { case: case.to_owned() });
            }
            let Some(entry) = history.labelled(label.clone()) else {
                return Err(Error::Absent { case: case.to_owned() });
            };
            if let Some(sequence) = self.append(case, history.tail, &entry).await? {
                return Ok(CaseTransition { sequence, ..entry });
            }
        }
        Err(Error::Contended { case: case.to_owned() })
    }

    /// Takes an order about a case to whoever executes, once: after those that are there, and while there is room for it.
    pub(crate) async fn order(
        &self,
        case: &str,
        order: &Order,
        submitted: &Submitted,
    ) -> Result<Result<(), Refusal>, Error> {
        let subject = Subject::order(&self.tenant, case);
        // Texts alone are always JSON.
        let payload: bytes::Bytes = serde_json::to_vec(submitted).unwrap_or_default().into();
        for _ in 0..RACES_MAX {
            let there = self.bus.read(&subject, 0, ORDERS_READ_MAX).await?;
            let taken: Vec<(Intent, String)> = there.iter().filter_map(|stored| taken(&stored.payload)).collect();
            if taken.iter().any(|(_, nonce)| *nonce == order.nonce) {
                return Ok(Err(Refusal::Replayed(order.approver.clone())));
            }
            let is_kind = |intent: &Intent| intent.is_about_proposal() == order.intent.is_about_proposal();
            let of_kind = taken.iter().filter(|(intent, _)| is_kind(intent)).count();
            if of_kind >= order.intent.orders_max() || there.len() >= ORDERS_READ_MAX {
                return Ok(Err(Refusal::TooMany));
            }
            let expected = Some(there.last().map_or(0, |last| last.sequence));
            let message = Outgoing { payload: payload.clone(), expected, ..Outgoing::default() };
            match self.bus.publish(&subject, message).await {
                Ok(_) => return Ok(Ok(())),
                Err(bus::Error::Refused { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(Error::Contended { case: case.to_owned() })
    }

    /// Tells whoever keeps the audit log of orders that were not let in.
    pub(crate) async fn refused(&self, told: &Told) -> Result<(), Error> {
        let payload = serde_json::to_vec(told).unwrap_or_default().into();
        self.bus.publish(&Subject::refused(&self.tenant), Outgoing { payload, ..Outgoing::default() }).await?;
        Ok(())
    }

    /// `None` when the log ends elsewhere by now.
    async fn append(&self, case: &str, tail: Sequence, entry: &CaseTransition) -> Result<Option<Sequence>, Error> {
        let message = Outgoing { payload: wire::pack(entry), expected: Some(tail), ..Outgoing::default() };
        match self.bus.publish(&Subject::case(&self.tenant, case), message).await {
            Ok(Published::Stored(sequence) | Published::Duplicate(sequence)) => {
                self.metrics.cases(transition(entry.kind()), 1);
                Ok(Some(sequence))
            }
            Err(bus::Error::Refused { .. }) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// What an order on the bus orders, and its nonce.
fn taken(payload: &[u8]) -> Option<(Intent, String)> {
    let submitted: Submitted = serde_json::from_slice(payload).ok()?;
    let order: Order = serde_json::from_str(&submitted.signed.order).ok()?;
    Some((order.intent, order.nonce))
}

/// What measures call it.
fn transition(kind: TransitionKind) -> &'static str {
    match kind {
        TransitionKind::Judged => "judged",
        TransitionKind::Closed => "closed",
        TransitionKind::Merged => "merged",
        TransitionKind::Labelled => "labelled",
        TransitionKind::Unspecified => "unspecified",
    }
}

/// Reads an entry as it stands on the bus.
pub(crate) fn read(case: &str, sequence: Sequence, payload: &[u8]) -> Result<CaseTransition, Error> {
    let entry = wire::unpack(payload).map_err(|source| Error::Broken { case: case.to_owned(), source })?;
    Ok(CaseTransition { sequence, ..entry })
}
