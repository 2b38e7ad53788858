//! What is wrong with a playbook whose shape is right: operations that there are not, tiers too low for what is called, and
//! calls that would give somebody something.

use serde_json::{Value, json};
use trailwarden_core::plan::Tier;
use trailwarden_core::plan::own::{Draft, Flaw, OwnCall, OwnUndo, Piece, Slot, Texts, pieces};
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::spelling::nearest;
use trailwarden_core::untrusted::name as shown;

use super::{TABLE, operation, parameters};
use crate::aws::facts::{Operation, Shape};

const OPERATIONS: &str = include_str!("../../data/operations.tsv");
const FLAWS_MAX: usize = 16;

/// All flaws, in the order of the file; the first sixteen.
pub(super) fn flaws(draft: &Draft) -> Vec<Flaw> {
    let own = &draft.own;
    let mut flaws = Vec::new();
    let mut flaw = |part: &str, text: String| flaws.push(Flaw { at: draft.place(part), text });
    let mut least = match own.undo {
        OwnUndo::Calls(_) => Tier::T1,
        OwnUndo::Nothing(_) => Tier::T2,
    };
    let (mut deserving, mut names_target) = (String::new(), false);
    for (place, call) in own.calls() {
        let Some((service, name, facts)) = operation(&call.service, &call.operation) else {
            flaw(&format!("{place}.call"), unknown(&call.service, &call.operation));
            continue;
        };
        for (part, text) in of_parameters(call, &place, facts).into_iter().chain(of_answer(call, &place, facts)) {
            flaw(&part, text);
        }
        let what = format!("{service} {name}");
        let is_undo = place.starts_with("undo");
        if place.starts_with("capture") || place.starts_with("checks") {
            if !is_read(name) {
                flaw(
                    &format!("{place}.call"),
                    format!("{what} changes something; here only reads stand (Get, List, Describe)"),
                );
            }
            continue;
        }
        if place.starts_with("steps") {
            names_target |= call.with.values().flat_map(Texts::all).any(|text| is_about_target(text));
        }
        if let Err(why) = allowed(service, name, call, is_undo) {
            flaw(&place, format!("{what}: {why}"));
        }
        let deserved = deserved(service, name, call, is_undo);
        if deserved > least {
            (least, deserving) = (deserved, what);
        }
    }
    if !names_target && own.answers.target != ResourceKind::Account {
        flaw("steps", "no step is about the target: fill ${target} or a kept value into one".to_owned());
    }
    if own.tier < least {
        let why = if deserving.is_empty() { String::new() } else { format!(": {deserving} deserves it") };
        flaw("tier", format!("{:?} is too low, {least:?} is the least{why}", own.tier));
    }
    flaws.sort();
    flaws.dedup();
    flaws.truncate(FLAWS_MAX);
    flaws
}

fn is_read(operation: &str) -> bool {
    ["Get", "List", "Describe"].iter().any(|head| operation.starts_with(head))
}

fn is_about_target(text: &str) -> bool {
    pieces(text)
        .unwrap_or_default()
        .iter()
        .any(|piece| matches!(piece, Piece::Slot(Slot::Target | Slot::TargetId | Slot::Owner | Slot::Kept(_))))
}

fn unknown(service: &str, operation: &str) -> String {
    let wanted = shown(&format!("{service} {operation}"));
    let known: Vec<String> =
        TABLE.iter().flat_map(|table| table.all()).map(|(service, name)| format!("{service} {name}")).collect();
    let near = nearest(&wanted, known.iter().map(String::as_str), 3).join(", ");
    format!("{wanted} is none of the operations that playbooks may call; the nearest are {near}")
}

fn of_parameters(call: &OwnCall, place: &str, facts: &Operation) -> Vec<(String, String)> {
    let mut found = Vec::new();
    // Whatever a slot is filled with later, it is a text here.
    if let Err(wrong) = parameters::built(&facts.request, &call.with, &|text| json!(text)) {
        found
            .push((format!("{place}.with.{}", wrong.parameter), format!("{}: {}", shown(&wrong.parameter), wrong.why)));
    }
    for parameter in described(&call.service, &call.operation) {
        let plain = parameter.path;
        let given: Vec<_> = call.with.iter().filter(|(name, _)| unindexed(name) == plain).collect();
        if parameter.is_required && !plain.contains(['.', '[']) {
            let below = |name: &str| {
                name == plain || name.starts_with(&format!("{plain}.")) || name.starts_with(&format!("{plain}["))
            };
            if !call.with.keys().any(|name| below(name)) {
                found.push((place.to_owned(), format!("{} needs {plain}, in `with`", call.operation)));
            }
        }
        if parameter.is_required
            && let Some((outer, member)) = plain.rsplit_once('.')
        {
            let prefixes = call.with.keys().filter_map(|name| Some(name.rsplit_once('.')?.0));
            let lacking =
                prefixes.filter(|prefix| unindexed(prefix) == outer).map(|prefix| format!("{prefix}.{member}"));
            let lacking = lacking.filter(|name| !call.with.contains_key(name));
            let told = lacking.map(|name| (format!("{place}.with"), format!("{} needs {name}", call.operation)));
            found.extend(told);
        }
        for (name, texts) in given {
            let is_slot = |text: &str| text.contains("${");
            let wrong = texts.all().iter().find(|text| !is_slot(text) && !parameter.allowed.contains(&text.as_str()));
            if let Some(wrong) = wrong.filter(|_| !parameter.allowed.is_empty()) {
                let text = format!("{name} is {}, and not {}", parameter.allowed.join(" or "), shown(wrong));
                found.push((format!("{place}.with.{name}"), text));
            }
        }
    }
    found
}

/// What is kept or looked at has to be where the answer's shape has something.
fn of_answer(call: &OwnCall, place: &str, facts: &Operation) -> Vec<(String, String)> {
    let Some(shape) = &facts.answer else { return vec![] };
    let kept = call.keep.values().filter(|path| *path != "@").filter_map(|path| {
        let why = missing(shape, path)?;
        Some((format!("{place}.keep"), format!("{}: {why}", shown(path))))
    });
    kept.collect()
}

fn missing(shape: &Shape, path: &str) -> Option<String> {
    let mut shape = shape;
    for part in path.split('.') {
        let Shape::Structure { members } = shape else {
            return Some("nothing lies below this".to_owned());
        };
        let Some(member) = members.get(part.trim_end_matches("[]")) else {
            let known: Vec<_> = members.keys().map(String::as_str).collect();
            return Some(format!("the answer has no such member; there are {}", known.join(", ")));
        };
        shape = match (&member.shape, part.ends_with("[]")) {
            (Shape::List { item, .. }, true) => item,
            (_, true) => return Some("this is no list".to_owned()),
            (plain, false) => plain,
        };
    }
    None
}

/// A parameter as `operations.tsv` describes it.
struct Described {
    path: &'static str,
    is_required: bool,
    allowed: Vec<&'static str>,
}

fn described(service: &str, operation: &str) -> Vec<Described> {
    let mut lines =
        OPERATIONS.lines().filter(|line| !line.starts_with('#')).map(|line| line.split('\t').collect::<Vec<_>>());
    let line = lines.find(|fields| fields.first() == Some(&service) && fields.get(1) == Some(&operation));
    let parameters = line.and_then(|fields| fields.get(3).copied()).unwrap_or_default();
    let described = parameters.split(',').filter_map(|parameter| {
        let (path, kind) = parameter.split_once(':')?;
        let allowed = kind.split_once('(').map_or("", |(_, values)| values.trim_end_matches(')'));
        let allowed = allowed.split('|').filter(|value| !value.is_empty()).collect();
        Some(Described { path: path.trim_end_matches('!'), is_required: path.ends_with('!'), allowed })
    });
    described.collect()
}

/// `Tags[0].Key` as the table writes it, `Tags[].Key`.
fn unindexed(name: &str) -> String {
    let mut plain = String::new();
    for (nth, part) in name.split('[').enumerate() {
        match nth {
            0 => plain.push_str(part),
            _ => {
                plain.push_str("[]");
                plain.push_str(part.split_once(']').map_or("", |(_, rest)| rest));
            }
        }
    }
    plain
}

fn text<'c>(call: &'c OwnCall, name: &str) -> Option<&'c str> {
    match call.with.get(name)? {
        Texts::One(text) => Some(text),
        Texts::Many(_) => None,
    }
}

fn is_kept(text: &str) -> bool {
    matches!(pieces(text).as_deref(), Ok([Piece::Slot(Slot::Kept(_))]))
}

/// Policies of AWS' own that only deny.
const DENYING: [&str; 4] =
    ["AWSDenyAll", "AWSCompromisedKeyQuarantine", "AWSCompromisedKeyQuarantineV2", "AWSCompromisedKeyQuarantineV3"];

const BLOCKS: [&str; 4] = ["BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"];

/// Whether a call may stand here. A playbook takes away, marks, protects and restores; it gives nobody anything, but for
/// what an undo brings back.
pub(super) fn allowed(service: &str, operation: &str, call: &OwnCall, is_undo: bool) -> Result<(), &'static str> {
    let is = |name: &str, value: &str| text(call, name) == Some(value);
    let only_undo = |why| if is_undo { Ok(()) } else { Err(why) };
    match (service, operation) {
        ("sts", _) => Err("the executor calls it for itself"),
        ("organizations", _) => Err("it is called from another account than the target's; scp_quarantine does that"),
        ("iam", "CreateLoginProfile" | "DeleteLoginProfile") => {
            Err("a password has to be made; remove_console_login does that")
        }
        ("iam", "PutUserPolicy" | "PutRolePolicy" | "UpdateAssumeRolePolicy") => {
            denies(call, "PolicyDocument", is_undo)
        }
        ("s3", "PutBucketPolicy") => denies(call, "Policy", is_undo),
        ("iam", "DetachUserPolicy") if !is_undo => Err("it takes away what a step put there, so it stands in `undo`"),
        ("iam", "AttachUserPolicy" | "DetachUserPolicy") => {
            let name = text(call, "PolicyArn").and_then(|arn| arn.strip_prefix("arn:aws:iam::aws:policy/"));
            match name.is_some_and(|name| DENYING.contains(&name)) {
                true => Ok(()),
                false => {
                    Err("only policies of AWS' that deny are attached: arn:aws:iam::aws:policy/AWSDenyAll and its kin")
                }
            }
        }
        ("iam", "UpdateAccessKey") if !is("Status", "Inactive") => {
            only_undo("a key is made Inactive; only an undo makes it Active")
        }
        ("iam", "DeleteUserPolicy" | "DeleteRolePolicy" | "UntagUser" | "UntagRole") => {
            only_undo("it takes away what a step put there, so it stands in `undo`")
        }
        ("ec2", "DeleteTags" | "DeleteSecurityGroup" | "AuthorizeSecurityGroupIngress") => {
            only_undo("it takes away what a step put there, so it stands in `undo`")
        }
        ("ec2", "ModifySnapshotAttribute" | "ModifyImageAttribute") if !is("OperationType", "remove") => {
            only_undo("sharing is withdrawn (OperationType remove); only an undo shares again")
        }
        ("rds", "ModifyDBSnapshotAttribute") if call.with.keys().any(|name| name.starts_with("ValuesToAdd")) => {
            only_undo("sharing is withdrawn (ValuesToRemove); only an undo shares again")
        }
        ("s3", "PutBucketAcl") if !is("ACL", "private") => only_undo("a bucket's list is made private"),
        // A part that is not named is switched off.
        ("s3", "PutPublicAccessBlock")
            if BLOCKS.iter().any(|part| !is(&format!("PublicAccessBlockConfiguration.{part}"), "true")) =>
        {
            only_undo("a block is put in place with all of its four parts, each true")
        }
        ("cloudtrail", "UpdateTrail" | "PutEventSelectors") => {
            only_undo("it can blind a trail; restore_trail brings back what a trail should be")
        }
        // Who dies between the call and its answer would make another.
        ("ec2", "CreateSnapshots") => Err("nobody can tell whether it was made already; forensic_snapshot can"),
        ("ec2", "CreateSecurityGroup") => Err("nobody can tell whether it was made already; isolate_ec2 can"),
        ("s3", "PutBucketVersioning") if !is("VersioningConfiguration.Status", "Enabled") => {
            only_undo("versioning is switched on")
        }
        ("s3", "DeletePublicAccessBlock" | "DeleteBucketPolicy") => {
            only_undo("it opens what was closed, so it stands in `undo`")
        }
        ("lambda", "AddPermission" | "DeleteFunctionConcurrency") => {
            only_undo("it opens what was closed, so it stands in `undo`")
        }
        ("guardduty", "UpdateDetector") if !is("Enable", "true") => Err("a detector is switched on, and never off"),
        _ => Ok(()),
    }
}

/// Whether a policy document only denies; an undo may put back what was kept.
fn denies(call: &OwnCall, name: &str, is_undo: bool) -> Result<(), &'static str> {
    const WHY: &str = "the policy is written out as JSON, and each of its statements has \"Effect\": \"Deny\"";
    let document = text(call, name).unwrap_or_default();
    if is_kept(document) {
        return if is_undo { Ok(()) } else { Err("what was kept is put back by `undo` alone") };
    }
    let read: Value = serde_json::from_str(document).unwrap_or_default();
    let statements = match &read["Statement"] {
        Value::Array(items) => items.as_slice(),
        one => std::slice::from_ref(one),
    };
    // A key that stands twice, or is spelled by escapes, is read in one way here and may be in another elsewhere.
    let counted = |key: &str| document.matches(key).count();
    let is_plain =
        !document.contains('\\') && counted("\"Statement\"") == 1 && counted("\"Effect\"") == statements.len();
    let only = is_plain && !statements.is_empty() && statements.iter().all(|one| one["Effect"] == "Deny");
    if only { Ok(()) } else { Err(WHY) }
}

/// Who has to agree to a call at least.
fn deserved(service: &str, operation: &str, call: &OwnCall, is_undo: bool) -> Tier {
    match (service, operation) {
        (_, name) if is_read(name) => Tier::T1,
        ("iam", "TagUser" | "UntagUser" | "TagRole" | "UntagRole" | "UpdateAccessKey") => Tier::T1,
        // The part of the calls that is most often abused; all of them are more.
        ("iam", "AttachUserPolicy" | "DetachUserPolicy")
            if text(call, "PolicyArn").is_some_and(|arn| arn.contains("AWSCompromisedKeyQuarantine")) =>
        {
            Tier::T1
        }
        ("ec2", "CreateTags" | "DeleteTags") => Tier::T1,
        ("ec2", "ModifySnapshotAttribute" | "ModifyImageAttribute") | ("rds", "ModifyDBSnapshotAttribute")
            if !is_undo =>
        {
            Tier::T1
        }
        ("kms", "CancelKeyDeletion" | "EnableKey") => Tier::T1,
        ("cloudtrail", "StartLogging") | ("config", "StartConfigurationRecorder") | ("guardduty", "UpdateDetector") => {
            Tier::T1
        }
        _ => Tier::T2,
    }
}
