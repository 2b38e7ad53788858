//! The shell of [`trailwarden_core::response::hold`]: one subject of the bus for each effect that actions hold.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::json;
use trailwarden_bus::{Error as BusError, Outgoing, Sequence, Subject};
use trailwarden_core::response::digest;
use trailwarden_core::response::hold::{Hold, Joined, Left};

use super::{Executor, ExecutorError, RACES_MAX, Record};
use crate::{Call, Step};

/// A word in subjects.
const HOLD: &str = "hold";
/// The parameter that names a key's user, which some records tell and others do not: the key is the same.
const OWNER: &str = "UserName";

/// Names what a step's calls bring about: the same calls on the same thing are one effect, whatever case asks for them.
pub(super) fn effect(record: &Record, step: &Step) -> String {
    let calls = match (&step.instead, record.life.by_alternative) {
        (Some(instead), true) => &instead.calls,
        _ => &step.calls,
    };
    let named = |call: &Call| {
        let mut parameters = call.parameters.clone();
        if let (Some(members), "UpdateAccessKey") = (parameters.as_object_mut(), call.operation) {
            members.remove(OWNER);
        }
        json!([call.service, call.operation, call.region, parameters])
    };
    let calls: Vec<_> = calls.iter().map(named).collect();
    digest(json!([record.action.target.account, calls]).to_string().as_bytes())
}

impl Executor {
    /// Joins those that hold the effect of an action; what it captured becomes what was there before the first of them.
    pub(super) async fn join(&self, record: &mut Record, step: &Step) -> Result<Joined, ExecutorError> {
        let (name, stood) = (effect(record, step), record.life.stood_already());
        for _ in 0..RACES_MAX {
            let (mut hold, sequence) = self.hold_of(&name).await?;
            let open = self.open_among(&hold).await?;
            let mut known = record.known.clone();
            let joined = hold.join(&record.key, stood, &mut known, |key| open.contains(key));
            if joined != Joined::Held {
                return Ok(joined);
            }
            if self.put_hold(&name, &hold, sequence).await? {
                record.known = known;
                record.holds.retain(|own| *own != name);
                record.holds.push(name);
                return Ok(joined);
            }
        }
        Err(self.contended(&name))
    }

    /// Leaves those that hold an action's effect.
    pub(super) async fn leave(&self, record: &Record) -> Result<Left, ExecutorError> {
        let Some(name) = record.holds.last() else { return Ok(Left::Last) };
        for _ in 0..RACES_MAX {
            let (mut hold, sequence) = self.hold_of(name).await?;
            let open = self.open_among(&hold).await?;
            let left = hold.leave(&record.key, |key| open.contains(key));
            if left == Left::Last || self.put_hold(name, &hold, sequence).await? {
                return Ok(left);
            }
        }
        Err(self.contended(name))
    }

    /// An action has come to its end, and holds nothing any more.
    pub(super) async fn forget(&self, record: &Record) -> Result<(), ExecutorError> {
        for name in &record.holds {
            let mut is_done = false;
            for _ in 0..RACES_MAX {
                let (mut hold, sequence) = self.hold_of(name).await?;
                let before = hold.clone();
                hold.forget(&record.key);
                is_done = hold == before || self.put_hold(name, &hold, sequence).await?;
                if is_done {
                    break;
                }
            }
            if !is_done {
                return Err(self.contended(name));
            }
        }
        Ok(())
    }

    /// Keeps what an action holds from being forgotten before its renewed lease ends: messages do not stay for ever.
    pub(super) async fn touch(&self, record: &Record) -> Result<(), ExecutorError> {
        for name in &record.holds {
            let (hold, sequence) = self.hold_of(name).await?;
            // Whoever was faster has written it too.
            self.put_hold(name, &hold, sequence).await?;
        }
        Ok(())
    }

    async fn hold_of(&self, name: &str) -> Result<(Hold, Sequence), ExecutorError> {
        let Some(stored) = self.bus.last(&self.hold_subject(name)).await? else {
            return Ok((Hold::default(), 0));
        };
        let read = serde_json::from_slice(&stored.payload);
        let unreadable =
            |error: serde_json::Error| ExecutorError::Record { key: name.to_owned(), why: error.to_string() };
        Ok((read.map_err(unreadable)?, stored.sequence))
    }

    /// `false` when somebody else moved it.
    async fn put_hold(&self, name: &str, hold: &Hold, expected: Sequence) -> Result<bool, ExecutorError> {
        let unwritable =
            |error: serde_json::Error| ExecutorError::Record { key: name.to_owned(), why: error.to_string() };
        let payload = Bytes::from(serde_json::to_vec(hold).map_err(unwritable)?);
        let message = Outgoing { payload, expected: Some(expected), ..Outgoing::default() };
        match self.bus.publish(&self.hold_subject(name), message).await {
            Ok(_) => Ok(true),
            Err(BusError::Refused { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Those of the holders that are not at their end; one whose record cannot be read may stand.
    async fn open_among(&self, hold: &Hold) -> Result<BTreeSet<String>, ExecutorError> {
        let mut open = BTreeSet::new();
        for key in hold.holders() {
            match self.record(key).await {
                Ok(None) => {}
                Ok(Some((record, _))) if record.life.due().is_none() => {}
                Ok(_) | Err(ExecutorError::Record { .. }) => {
                    open.insert(key.to_owned());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(open)
    }

    /// Which cases hold an effect still, for people.
    pub(super) async fn cases_of(&self, keys: &[String]) -> Result<String, ExecutorError> {
        let mut cases = BTreeSet::new();
        for key in keys {
            if let Some((record, _)) = self.record(key).await? {
                cases.insert(record.case);
            }
        }
        Ok(cases.into_iter().collect::<Vec<_>>().join(", "))
    }

    fn contended(&self, name: &str) -> ExecutorError {
        BusError::Unavailable { what: format!("{} is written to by others all the time", self.hold_subject(name)) }
            .into()
    }

    fn hold_subject(&self, name: &str) -> Subject {
        Subject::action(&self.settings.tenant, HOLD, name)
    }
}
