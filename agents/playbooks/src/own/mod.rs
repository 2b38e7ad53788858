//! Playbooks that operators write: held to the table of operations that there are, and spelled out as steps.

mod lint;
mod parameters;

use std::sync::LazyLock;

use serde_json::{Value, json};
use trailwarden_core::plan::own::{
    Condition, Expected, Flaw, OwnCall, OwnCheck, OwnPlaybook, OwnUndo, Piece, Slot, is_word, pieces, read,
};

use crate::aws::facts::{Operation, Table};
use crate::call::{Call, Check, Expect, Kept, Lookup, Target, When, captured, is_ordinary};
use crate::{Step, Undo};

/// The facts of `data/protocols.json`; a test holds them to be whole.
static TABLE: LazyLock<Option<Table>> = LazyLock::new(|| Table::compiled_in().ok());

/// Codes that say that something is not there, as the services of the table write them.
const ABSENT: [&str; 6] = [
    "NoSuchEntity",
    "NoSuchBucketPolicy",
    "NoSuchPublicAccessBlockConfiguration",
    "ResourceNotFoundException",
    "NotFoundException",
    "TrailNotFoundException",
];

/// Reads and lints a playbook's file.
///
/// # Errors
/// What is wrong with it, each by its place; a file without flaws is good.
pub fn load(text: &str) -> Result<OwnPlaybook, Vec<Flaw>> {
    let draft = read(text)?;
    let flaws = lint::flaws(&draft);
    if flaws.is_empty() { Ok(draft.own) } else { Err(flaws) }
}

fn operation(service: &str, operation: &str) -> Option<(&'static str, &'static str, &'static Operation)> {
    TABLE.as_ref()?.named(service, operation)
}

/// Services without regions.
fn is_global(service: &str) -> bool {
    service == "iam"
}

/// A playbook against a target. A call that no table knows is left out, and said: what was linted has none.
pub(crate) fn spelled(own: &OwnPlaybook, target: &Target<'_>) -> Step {
    let all = |calls: &[OwnCall]| -> Vec<Call> { calls.iter().filter_map(|own| call(own, target)).collect() };
    let mut step = Step {
        captured_first: all(&own.capture),
        calls: all(&own.steps),
        verify: own.checks.iter().filter_map(|own| check(own, target)).collect(),
        undo: match &own.undo {
            OwnUndo::Calls(calls) => Undo::Calls(all(calls)),
            OwnUndo::Nothing(reason) => Undo::Words(reason.clone().into()),
        },
        blast_radius: own.affects.clone().into(),
        notes: own.notes.iter().map(|note| note.clone().into()).collect(),
        ..Step::blank()
    };
    step.notes.push("A playbook of your own: its calls stand in your file.".into());
    if own.calls().len() != step_len(&step) {
        step.notes.push("Some of its calls are none of this version's: it is not carried out.".into());
        step.calls.clear();
    }
    step
}

fn step_len(step: &Step) -> usize {
    let undo = match &step.undo {
        Undo::Calls(calls) => calls.len(),
        Undo::Words(_) => 0,
    };
    step.captured_first.len() + step.calls.len() + step.verify.len() + undo
}

fn call(own: &OwnCall, target: &Target<'_>) -> Option<Call> {
    let (service, operation, facts) = operation(&own.service, &own.operation)?;
    // They become variables of a shell where calls are shown, and a proposal may bring a playbook that nobody linted.
    if !own.keep.keys().map(String::as_str).chain(own.only_if.as_ref().map(Condition::name)).all(is_word) {
        return None;
    }
    let fill = |text: &str| filled(text, target);
    let parameters = parameters::built(&facts.request, &own.with, &fill).ok()?;
    let call = match is_global(service) {
        true => Call::global(service, operation, parameters),
        false => target.call(service, operation, parameters),
    };
    Some(Call {
        keeps: own
            .keep
            .iter()
            .map(|(name, path)| Kept { name: name.clone().into(), path: path.clone().into(), unset: None })
            .collect(),
        when: own.only_if.as_ref().map(when),
        tolerates: if own.may_be_absent { ABSENT.to_vec() } else { vec![] },
        ..call
    })
}

fn when(condition: &Condition) -> When {
    match condition {
        Condition::Known(name) => When::Known(name.clone().into()),
        Condition::Unknown(name) => When::Unknown(name.clone().into()),
        Condition::Is(name, text) => When::Is(name.clone().into(), text.clone().into()),
    }
}

fn check(own: &OwnCheck, target: &Target<'_>) -> Option<Check> {
    let expect = match &own.expect {
        Expected::Equals(text) => Expect::Equals(typed(text, target)),
        Expected::Contains(text) => Expect::Contains(typed(text, target)),
        Expected::Has(members) => {
            let members = members.iter().map(|(name, text)| (name.clone(), typed(text, target)));
            Expect::Contains(Value::Object(members.collect()))
        }
        Expected::Statements(text) => Expect::Statements(plain(text, target)),
        Expected::Nothing => Expect::Nothing,
        Expected::Any => Expect::Any,
    };
    Some(Check { read: Lookup { call: call(&own.read, target)?, path: own.at.clone() }, expect })
}

/// What an answer is compared with: a number or a boolean where the text is one.
fn typed(text: &str, target: &Target<'_>) -> Value {
    match text {
        "true" => json!(true),
        "false" => json!(false),
        _ => text.parse::<i64>().map_or_else(|_| filled(text, target), |number| json!(number)),
    }
}

/// A text with its slots filled: a text, or the place of a kept value.
fn filled(text: &str, target: &Target<'_>) -> Value {
    match pieces(text).as_deref() {
        Ok([Piece::Slot(Slot::Kept(name))]) => captured(name),
        _ => json!(plain(text, target)),
    }
}

fn plain(text: &str, target: &Target<'_>) -> String {
    let pieces = pieces(text).unwrap_or_default();
    let is_alone = pieces.len() == 1;
    let slot = |slot: Slot<'_>| match slot {
        Slot::Target => target.name,
        Slot::TargetId => target.id,
        Slot::Owner => target.owner.unwrap_or_default(),
        Slot::Account => target.account,
        Slot::Region => target.region(),
        Slot::Case => &target.case,
        Slot::Kept(_) => "",
    };
    let texts = pieces.into_iter().map(|piece| match piece {
        Piece::Plain(plain) => plain,
        // Within a text, such as a policy document, a name from a record could end what it stands in. The executor refuses
        // such a target; what is shown of it is safe as well.
        Piece::Slot(name) => Some(slot(name)).filter(|text| is_alone || is_ordinary(text)).unwrap_or_default(),
    });
    texts.collect()
}

#[cfg(test)]
mod tests;
