//! Acting on a case: the life of one action, who may allow it, how much is allowed, and what is written down about it.
//!
//! All of it is decided here and nothing is done: clocks, signatures' arithmetic and AWS are the shell's, which hands in
//! what happened and is told what is next.

pub mod approval;
pub mod audit;
pub mod hold;
pub mod iam;
pub mod life;
pub mod limits;
pub mod refusals;
pub mod rehearsal;

use sha2::{Digest as _, Sha256};

use crate::plan::Action;

/// Names an action for ever: the same case, playbook, target and parameters are the same action, however often it is
/// asked for. 64 hexadecimal digits: sha256(case, playbook, target, parameters).
pub fn idempotency_key(case: &str, action: &Action) -> String {
    let mut hasher = Sha256::new();
    let target = &action.target;
    let owner = action.owner.as_deref().unwrap_or_default();
    let kind = format!("{:?}", target.kind);
    // Of the operator's, one that says something else is another.
    let own = action.own.as_ref().map(|own| format!("{}@{}", own.name, own.digest()));
    let playbook = own.as_deref().unwrap_or(action.playbook.as_str());
    for text in [case, playbook, &kind, &target.account, &target.region, &target.id, owner] {
        // The length first, so that no two lists of texts look the same.
        hasher.update((text.len() as u64).to_be_bytes());
        hasher.update(text.as_bytes());
    }
    hex(&hasher.finalize())
}

/// sha256 of a text, in hexadecimal digits.
pub fn digest(text: &[u8]) -> String {
    hex(&Sha256::digest(text))
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Reads what [`hex`] writes.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return None;
    }
    digits.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::Playbook;
    use crate::resource::{Resource, ResourceKind};

    #[test]
    fn the_same_action_has_one_key_and_others_have_others() {
        let target = |id: &str, kind| Resource {
            kind,
            account: "111122223333".to_owned(),
            region: "eu-west-1".to_owned(),
            id: id.to_owned(),
            created: false,
        };
        let user = Action::proposed(Playbook::QuarantineUserHard, target("alice", ResourceKind::User));
        let key = idempotency_key("c1", &user);
        assert_eq!(key, idempotency_key("c1", &user.clone()));
        let soft = Action::proposed(Playbook::QuarantineUserSoft, target("alice", ResourceKind::User));
        let others = [
            idempotency_key("c2", &user),
            idempotency_key("c1", &soft),
            idempotency_key("c1", &user.clone().owned_by("bob")),
            idempotency_key("c1", &Action { target: target("bob", ResourceKind::User), ..user.clone() }),
        ];
        assert!(others.iter().all(|other| *other != key));
        assert_eq!(unhex(&key).map(|bytes| hex(&bytes)), Some(key));
        assert_eq!((unhex("0"), unhex("zz")), (None, None));
    }
}
