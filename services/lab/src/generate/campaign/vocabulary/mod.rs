//! API calls as people, pipelines and intruders make them, with the parameters and answers that CloudTrail records.
//!
//! Campaigns and look-alikes take their calls from here alone, so that an attack differs from its innocent twin by
//! who calls, from where, when and in which order, never by the shape of a record.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::generate::call::Call;
use crate::generate::world::Account;

pub(in crate::generate) use crate::generate::names::{hex, pick, upper as capitals, uuid};

/// A call in an account, its details drawn from the random numbers of the script.
pub(in crate::generate) type Make = fn(&Account, &mut ChaCha8Rng) -> Call;

/// One function a call: `read|write name [arguments] = service API |account, rng| {request} => {answer} @ resource + data`.
macro_rules! calls {
    ($($kind:ident $function:ident $([$($argument:ident),+])? = $service:literal $name:literal
        |$account:ident, $rng:ident| {$($with:tt)*} $(=> {$($returning:tt)*})?
        $(@ $resource:literal $arn:block)? $(+ $mark:ident)*;)*) => {
        $(pub(in crate::generate) fn $function(
            $account: &Account, $rng: &mut ChaCha8Rng $($(, $argument: &str)+)?
        ) -> Call {
            let _ = (&$account, &$rng);
            let call = Call::$kind($service, $name).with(serde_json::json!({$($with)*}));
            $(let call = call.returning(serde_json::json!({$($returning)*}));)?
            $(let call = call.on($resource, $arn);)?
            $(let call = call.$mark();)*
            call
        })*
    };
}

/// Calls without parameters.
macro_rules! plain {
    ($($kind:ident $function:ident = $service:literal $name:literal;)*) => {
        $(pub(in crate::generate) fn $function(_: &Account, _: &mut ChaCha8Rng) -> Call {
            Call::$kind($service, $name)
        })*
    };
}

pub(in crate::generate) mod audit;
pub(in crate::generate) mod compute;
pub(in crate::generate) mod data;
pub(in crate::generate) mod edge;
pub(in crate::generate) mod functions;
pub(in crate::generate) mod identity;
pub(in crate::generate) mod storage;
pub(in crate::generate) mod vault;

/// One of some words.
pub(in crate::generate) fn one<T: Copy>(list: &[T], rng: &mut ChaCha8Rng) -> T {
    list[rng.random_range(0..list.len())]
}

/// A name that somebody gives to a new thing, in the sort of words that everybody uses.
pub(in crate::generate) fn new_name(rng: &mut ChaCha8Rng) -> String {
    const FIRST: &[&str] = &[
        "data", "report", "billing", "ops", "backup", "web", "batch", "metrics", "sync", "export", "test", "tmp",
        "support", "monitor", "deploy", "ml", "search", "mail", "audit", "etl",
    ];
    const SECOND: &[&str] =
        &["service", "job", "worker", "user", "sync", "tool", "task", "agent", "reader", "runner", "helper", "copy"];
    let (first, second) = (one(FIRST, rng), one(SECOND, rng));
    match rng.random_range(0..4) {
        0 => format!("{first}-{second}"),
        1 => format!("{first}_{second}"),
        2 => format!("{first}-{second}-{}", rng.random_range(1..30)),
        _ => format!("{first}{second}{}", hex(rng, 4)),
    }
}

/// The name of one of the account's users; a role's where it has no users.
pub(in crate::generate) fn user_name(account: &Account, rng: &mut ChaCha8Rng) -> String {
    if account.users.is_empty() {
        return new_name(rng);
    }
    account.users[rng.random_range(0..account.users.len())].name.clone()
}

/// The name of one of the account's roles.
pub(in crate::generate) fn role_name(account: &Account, rng: &mut ChaCha8Rng) -> String {
    if account.roles.is_empty() {
        return new_name(rng);
    }
    account.roles[rng.random_range(0..account.roles.len())].name.clone()
}

/// `arn:aws:<service>:<home region>:<account>:<rest>`.
pub(in crate::generate) fn arn(account: &Account, service: &str, rest: &str) -> String {
    format!("arn:aws:{service}:{}:{}:{rest}", account.regions[0], account.id)
}
