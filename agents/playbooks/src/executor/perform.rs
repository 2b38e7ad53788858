//! A piece of work against AWS: what the life asks for, done, as what came of it.

use std::time::Duration;

use async_trait::async_trait;
use serde_json::{Value, json};
use trailwarden_core::plan::Playbook;
use trailwarden_core::response::life::{Event, Fault, Work};
use trailwarden_runtime::failpoint;

use crate::aws::{Aws, AwsError, Request, Scope};
use crate::value::{self, Known};
use crate::{Call, Check, Step, Undo, keys};

/// Told before each call and after each that kept something: the action still has to be ours, and what was kept stored.
#[async_trait]
pub(super) trait Held: Send + Sync {
    /// `false` when somebody else has taken the action over: nothing more is called.
    async fn hold(&mut self, known: &Known) -> bool;
}

/// The work's surroundings.
pub(super) struct Performance<'a> {
    pub(super) aws: &'a dyn Aws,
    pub(super) scope: Scope,
    pub(super) step: &'a Step,
    pub(super) by_alternative: bool,
    /// Changed by what is captured and kept.
    pub(super) known: Known,
    pub(super) held: &'a mut dyn Held,
    /// Names that nothing may be applied to, since too few persons agreed.
    pub(super) is_barred: &'a (dyn Fn(&str) -> bool + Sync),
    /// Whether all that the step puts there has to be missing before it is applied, for what is taken away is all of it.
    pub(super) is_whole: bool,
}

/// Why work stopped.
enum Stop {
    Aws(AwsError),
    /// A value that nothing provides.
    Unknown(String),
    Taken,
    /// In words.
    Barred(String),
}

impl From<AwsError> for Stop {
    fn from(error: AwsError) -> Self {
        Self::Aws(error)
    }
}

/// The longest that one call may take, credentials included: less than an action is held for when it is made.
const CALL_MAX: Duration = Duration::from_secs(35);
/// Items that one call is made for.
const EACH_MAX: usize = 64;
const PASSWORD_BYTES: usize = 24;

impl Performance<'_> {
    /// `None` when somebody else has taken the action over.
    pub(super) async fn perform(&mut self, work: Work) -> Option<Event> {
        let done = match work {
            Work::Capture => self.capture().await,
            // Between executors alone: AWS has no part in it.
            Work::Join => return None,
            Work::Apply => {
                let step = self.step;
                let calls = match (&step.instead, self.by_alternative) {
                    (Some(instead), true) => &instead.calls,
                    _ => &step.calls,
                };
                self.all(calls, false).await.map(|()| Event::Applied)
            }
            Work::Inspect | Work::ReadBack => self.stands().await.map(Event::Stands),
            Work::Undo => self.undo().await.map(|()| Event::UndoApplied),
            Work::CheckUndone => self.is_back().await.map(Event::IsBack),
        };
        match done {
            Ok(event) => Some(event),
            Err(Stop::Taken) => None,
            Err(Stop::Barred(why)) => Some(Event::Failed(Fault::Final, why)),
            Err(Stop::Unknown(name)) => Some(Event::Failed(Fault::Final, format!("nothing provides {name}"))),
            Err(Stop::Aws(error)) => Some(Event::Failed(fault(&error), error.to_string())),
        }
    }

    async fn capture(&mut self) -> Result<Event, Stop> {
        let captures = &self.step.captured_first;
        self.all(captures, false).await?;
        for derived in &self.step.derived {
            self.known.insert(derived.name.to_owned(), value::derived(derived, &self.known));
        }
        let step = self.step;
        let standing = self.standing(&step.verify).await?;
        if !standing.is_empty() && standing.iter().all(|stands| *stands) {
            return Ok(Event::Captured { already: true });
        }
        if self.is_whole && standing.contains(&true) {
            let why = "a part of it stands already, and undoing would take that away too: a person has to look";
            return Err(Stop::Barred(why.to_owned()));
        }
        match self.missing() {
            Some(name) => Err(Stop::Unknown(name)),
            None => Ok(Event::Captured { already: false }),
        }
    }

    /// The first value that applying or undoing would need and nothing provides: then nothing is applied.
    fn missing(&self) -> Option<String> {
        let step = self.step;
        let applies = step.calls.iter().chain(step.instead.iter().flat_map(|instead| &instead.calls));
        let undoes = match &step.undo {
            Undo::Calls(calls) => calls.as_slice(),
            Undo::Words(_) => &[],
        };
        let undoes = undoes.iter().chain(step.instead.iter().flat_map(|instead| &instead.undo));
        let kept_later: Vec<&str> = step
            .calls
            .iter()
            .flat_map(|call| &call.keeps)
            .map(|kept| kept.name.as_ref())
            .chain(["new_password"])
            .collect();
        for call in applies.chain(undoes) {
            let is_made_later = call.when.as_ref().is_some_and(|when| match when {
                crate::When::Known(name) | crate::When::Unknown(name) | crate::When::Is(name, _) => {
                    kept_later.contains(&name.as_ref())
                }
            });
            if !is_made_later && !value::holds(call.when.as_ref(), &self.known) {
                continue;
            }
            let mut places = Vec::new();
            value::places(&call.parameters, &mut places);
            let missing = places
                .into_iter()
                .find(|name| !kept_later.contains(name) && self.known.get(*name).is_none_or(Value::is_null));
            if let Some(name) = missing {
                return Some(name.to_owned());
            }
        }
        None
    }

    /// Undoes what the first way may have begun, where others hold what the other way put there. `None` as above.
    pub(super) async fn undo_first_way(&mut self) -> Option<Result<(), Event>> {
        self.by_alternative = false;
        match self.perform(Work::Undo).await? {
            Event::UndoApplied => Some(Ok(())),
            failed => Some(Err(failed)),
        }
    }

    async fn undo(&mut self) -> Result<(), Stop> {
        let step = self.step;
        let Undo::Calls(calls) = &step.undo else {
            return Ok(());
        };
        if step.calls.iter().any(|call| call.operation == "DeleteLoginProfile") {
            // Nobody is to know it: the user's administrator resets it.
            let password = keys::random_hex(PASSWORD_BYTES).map_err(|error| Stop::Unknown(error.to_string()))?;
            self.known.insert("new_password".to_owned(), json!(format!("Tw1!{password}")));
        }
        // What the other way put there is taken away too where it was taken; the first may have begun before it.
        let other = step.instead.as_ref().filter(|_| self.by_alternative).map_or(&[][..], |instead| &instead.undo);
        let done = match self.all(other, true).await {
            Ok(()) => self.all(calls, true).await,
            stopped => stopped,
        };
        self.known.remove("new_password");
        done
    }

    /// Makes calls in order. While undoing, what is gone needs no undoing, and what was never made has no name.
    async fn all(&mut self, calls: &[Call], undoing: bool) -> Result<(), Stop> {
        for call in calls {
            if !value::holds(call.when.as_ref(), &self.known) {
                continue;
            }
            match self.each(call).await {
                Ok(()) => {}
                Err(Stop::Aws(AwsError::Gone { .. }) | Stop::Unknown(_)) if undoing => {}
                Err(stop) => return Err(stop),
            }
        }
        Ok(())
    }

    async fn each(&mut self, call: &Call) -> Result<(), Stop> {
        if call.each.is_empty() {
            return self.one(call, &self.known.clone()).await;
        }
        let lists = call.each.iter().map(|name| {
            let items = self.known.get(*name).and_then(Value::as_array);
            items.cloned().map(|items| (*name, items)).ok_or_else(|| Stop::Unknown((*name).to_owned()))
        });
        let lists = lists.collect::<Result<Vec<_>, _>>()?;
        let count = lists.iter().map(|(_, items)| items.len()).max().unwrap_or_default();
        if count > EACH_MAX || lists.iter().any(|(_, items)| items.len() != count) {
            return Err(Stop::Unknown(format!("{} of one number, at most {EACH_MAX}", call.each.join(" and "))));
        }
        for nth in 0..count {
            let mut known = self.known.clone();
            for (name, items) in &lists {
                known.insert((*name).to_owned(), items[nth].clone());
            }
            self.one(call, &known).await?;
        }
        Ok(())
    }

    async fn one(&mut self, call: &Call, known: &Known) -> Result<(), Stop> {
        if let (Some(lookup), Some(kept)) = (&call.unless, call.keeps.first()) {
            let found = self.read(&lookup.call, &lookup.path, known).await?;
            if value::is_known(Some(&found)) {
                self.known.insert(kept.name.clone().into_owned(), found);
                return self.hold().await;
            }
        }
        self.hold().await?;
        let barred = value::filled(&call.parameters, known).ok().and_then(|filled| self.barred(call, &filled));
        if let Some(name) = barred {
            return Err(Stop::Barred(format!("{name} is protected: two persons have to agree")));
        }
        let answer = self.call(call, known).await?;
        failpoint::hit("executor.called");
        for kept in &call.keeps {
            let found = value::kept(value::at(&answer, &kept.path));
            let found = if found.as_str().is_some_and(|text| kept.unset == Some(text)) { Value::Null } else { found };
            self.known.insert(kept.name.clone().into_owned(), found);
        }
        if call.keeps.is_empty() { Ok(()) } else { self.hold().await }
    }

    /// Whom or what a call would change and may not: it is known only now where it was looked up.
    fn barred(&self, call: &Call, parameters: &Value) -> Option<String> {
        let is_read = ["Get", "List", "Describe"].iter().any(|head| call.operation.starts_with(head));
        let names = ["UserName", "RoleName", "Bucket"].into_iter().filter_map(|name| parameters.get(name)?.as_str());
        names.filter(|name| !is_read && (self.is_barred)(name)).map(str::to_owned).next()
    }

    async fn hold(&mut self) -> Result<(), Stop> {
        if self.held.hold(&self.known).await { Ok(()) } else { Err(Stop::Taken) }
    }

    /// One call; an error that it tolerates is an empty answer.
    async fn call(&self, call: &Call, known: &Known) -> Result<Value, Stop> {
        let parameters = value::filled(&call.parameters, known).map_err(Stop::Unknown)?;
        let request = Request {
            service: call.service.to_owned(),
            operation: call.operation.to_owned(),
            parameters,
            region: call.region.clone(),
        };
        // Whoever is overtaken must not call any more: what it waits for longer than it holds the action, it has not done.
        let answer = tokio::time::timeout(CALL_MAX, self.aws.call(&self.scope, &request)).await;
        let unanswered = || AwsError::Unanswered { message: format!("within {} s", CALL_MAX.as_secs()) };
        match answer.unwrap_or_else(|_| Err(unanswered())) {
            Err(error) if call.tolerates.contains(&error.code()) => Ok(Value::Null),
            answer => Ok(answer?),
        }
    }

    async fn read(&self, call: &Call, path: &str, known: &Known) -> Result<Value, Stop> {
        Ok(value::at(&self.call(call, known).await?, path))
    }

    async fn stands(&mut self) -> Result<bool, Stop> {
        let step = self.step;
        let checks = match (&step.instead, self.by_alternative) {
            (Some(instead), true) => &instead.verify,
            _ => &step.verify,
        };
        let standing = self.standing(checks).await?;
        Ok(!standing.is_empty() && standing.into_iter().all(|stands| stands))
    }

    /// Of each check that is due, whether it shows; none after the first that does not, unless each has to be known.
    async fn standing(&self, checks: &[Check]) -> Result<Vec<bool>, Stop> {
        let mut standing = Vec::new();
        for check in checks.iter().filter(|check| value::holds(check.read.call.when.as_ref(), &self.known)) {
            standing.push(self.shows(check).await?);
            if standing.last() == Some(&false) && !self.is_whole {
                break;
            }
        }
        Ok(standing)
    }

    /// A check whose names are not known yet does not hold: what they name was not made. Nor does one whose object, such
    /// as the policy itself, is not there.
    async fn shows(&self, check: &Check) -> Result<bool, Stop> {
        match self.read(&check.read.call, &check.read.path, &self.known).await {
            Ok(read) => Ok(value::shows(&read, &check.expect, &self.known)),
            Err(Stop::Unknown(_) | Stop::Aws(AwsError::Gone { .. })) => Ok(false),
            Err(stop) => Err(stop),
        }
    }

    /// Whether what the step put there is gone, and all that its undo goes by is as it was.
    async fn is_back(&mut self) -> Result<bool, Stop> {
        let (step, before) = (self.step, self.known.clone());
        let Undo::Calls(undo) = &step.undo else {
            return Ok(true);
        };
        // What was public is not made public again: there is nothing to look for then.
        if !undo.iter().any(|call| value::holds(call.when.as_ref(), &before)) {
            return Ok(true);
        }
        if self.stands().await? {
            return Ok(false);
        }
        let mut names = Vec::new();
        for call in undo {
            value::places(&call.parameters, &mut names);
        }
        for capture in &step.captured_first {
            let answer = self.call(capture, &before).await?;
            for kept in capture.keeps.iter().filter(|kept| names.contains(&kept.name.as_ref())) {
                let now = value::kept(value::at(&answer, &kept.path));
                let now = if now.as_str().is_some_and(|text| kept.unset == Some(text)) { Value::Null } else { now };
                if !value::is_same(before.get(kept.name.as_ref()).unwrap_or(&Value::Null), &now) {
                    return Ok(false);
                }
            }
        }
        Ok(true)
    }
}

fn fault(error: &AwsError) -> Fault {
    match error {
        error if error.is_transient() => Fault::Transient,
        AwsError::Gone { .. } => Fault::Gone,
        AwsError::Conflict { .. } => Fault::Conflict,
        _ => Fault::Final,
    }
}

/// Playbooks that are no executor's, and whose they are.
pub(crate) fn unbuilt(playbook: Playbook) -> Option<&'static str> {
    match playbook {
        Playbook::PreserveLogs => Some("it calls no account: `trailwarden case preserve` copies the records"),
        _ => None,
    }
}
