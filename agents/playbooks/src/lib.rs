//! The response menu's knowledge: which AWS calls each playbook makes, how they are undone, whom they touch.
//!
//! What a step is, is a function of the action and its case, and is shown as JSON and as command lines. Nothing calls AWS but
//! [`executor`], through [`aws`], with an approval.

pub mod aws;
mod call;
mod cli;
mod compute;
mod data;
pub mod drill;
pub mod executor;
mod good;
mod identity;
pub mod keys;
mod korean;
mod organization;
mod own;
mod permissions;
mod policy;
mod rehearsal;
mod value;
mod watch;

use std::borrow::Cow;
use std::sync::Arc;

use serde::Serialize;
use trailwarden_core::language::Language;
use trailwarden_core::plan::own::{OwnPlaybook, OwnUndo};
use trailwarden_core::plan::{Action, Playbook};
use trailwarden_core::time::Timestamp;

pub use call::{CAPTURED, Call, Check, Derived, Expect, Kept, Lookup, SUPPLIED, When};
pub use cli::cli_text;
pub use good::{GoodTrail, check_supplied, known_good};
pub use own::load as load_own;
pub use permissions::{own_policy, playbook_policy};
pub use rehearsal::{Denial, Whose, denial};

use call::Target;

/// What a step needs of its case.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaseContext<'a> {
    /// Names what the step creates, so that undoing finds it; characters that AWS names cannot hold are dropped.
    pub case_id: &'a str,
    /// Sessions issued before this are revoked: usually when the plan is made, never before the case's last event.
    pub reference_time: Timestamp,
}

/// An action spelled out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Step {
    /// Reads that come first: what they keep is needed by the calls or to undo them.
    pub captured_first: Vec<Call>,
    /// The calls, in order; at least one.
    pub calls: Vec<Call>,
    /// Documents made of what was captured.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub derived: Vec<Derived>,
    /// What shows that the step stands: all of it does.
    pub verify: Vec<Check>,
    /// What is done instead where AWS refuses the calls for a quota or the target's state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub instead: Option<Instead>,
    pub undo: Undo,
    /// Who or what is touched.
    pub blast_radius: Cow<'static, str>,
    /// What a person should know before agreeing.
    pub notes: Vec<Cow<'static, str>>,
}

impl Step {
    /// A step's optional parts, empty.
    fn blank() -> Self {
        Self {
            captured_first: vec![],
            calls: vec![],
            derived: vec![],
            verify: vec![],
            instead: None,
            undo: Undo::Words("".into()),
            blast_radius: "".into(),
            notes: vec![],
        }
    }
}

/// The other way to do a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Instead {
    pub calls: Vec<Call>,
    pub verify: Vec<Check>,
    pub undo: Vec<Call>,
}

/// The way back.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Undo {
    /// Calls, in order.
    Calls(Vec<Call>),
    /// There is nothing to call, or a person has to decide.
    Words(Cow<'static, str>),
}

/// Spells an action out. Names in the action are taken as data wherever they go: into JSON values, and from
/// there into quoted command lines.
pub fn calls(action: &Action, case: &CaseContext<'_>) -> Step {
    let target = Target::new(action, case);
    let mut step = match action.playbook {
        Playbook::TagUser => identity::tag_user(&target),
        Playbook::TagRole => identity::tag_role(&target),
        Playbook::TagInstance => compute::tag_instance(&target),
        Playbook::DisableAccessKey | Playbook::DisableCreatedCredentials => identity::disable_access_key(&target),
        Playbook::QuarantineUserSoft => identity::quarantine_user_soft(&target),
        Playbook::QuarantineUserHard | Playbook::DisableCreatedUser => identity::quarantine_user_hard(&target),
        Playbook::RevokeRoleSessions => identity::revoke_role_sessions(&target),
        Playbook::LockRoleTrust => identity::lock_role_trust(&target),
        Playbook::RemoveConsoleLogin => identity::remove_console_login(&target),
        Playbook::DisableCreatedRole => identity::disable_created_role(&target),
        Playbook::RestoreTrail => watch::restore_trail(&target),
        Playbook::RestoreDetector => watch::restore_detector(&target),
        Playbook::RestoreConfigRecorder => watch::restore_config_recorder(&target),
        Playbook::PreserveLogs => watch::preserve_logs(&target),
        Playbook::BlockPublicS3 => data::block_public_s3(&target),
        Playbook::ProtectS3Data => data::protect_s3_data(&target),
        Playbook::UnshareSnapshot => data::unshare_snapshot(&target),
        Playbook::UnshareDbSnapshot => data::unshare_db_snapshot(&target),
        Playbook::UnshareImage => data::unshare_image(&target),
        Playbook::RescueKms => data::rescue_kms(&target),
        Playbook::IsolateEc2 => compute::isolate_ec2(&target),
        Playbook::ForensicSnapshot => compute::forensic_snapshot(&target),
        Playbook::FreezeLambda => compute::freeze_lambda(&target),
        Playbook::ScpQuarantine => organization::scp_quarantine(&target),
        Playbook::Own => action.own.as_ref().map_or_else(Step::blank, |own| own::spelled(own, &target)),
    };
    if !target.is_ordinary() {
        step.notes.push(
            "The target's name is empty or holds characters that AWS names do not: \
             the record may be forged, a person checks it first."
                .into(),
        );
    }
    step
}

/// What is known of a playbook whatever its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Who or what is touched.
    pub blast_radius: Cow<'static, str>,
    /// Whether it is undone by itself when its lease ends.
    pub is_leased: bool,
    /// Why it is not the executor's to do.
    pub unbuilt: Option<&'static str>,
}

pub fn about(playbook: Playbook) -> About {
    let step = permissions::sample_step(playbook);
    let is_leased = matches!(step.undo, Undo::Calls(_));
    About { blast_radius: step.blast_radius, is_leased, unbuilt: executor::unbuilt(playbook) }
}

/// The same of a playbook of the operator's.
pub fn about_own(own: &Arc<OwnPlaybook>) -> About {
    let is_leased = matches!(own.undo, OwnUndo::Calls(_));
    About { blast_radius: own.affects.clone().into(), is_leased, unbuilt: None }
}

/// Notes of a step.
fn told_of<const N: usize>(notes: [&'static str; N]) -> Vec<Cow<'static, str>> {
    notes.map(Cow::Borrowed).to_vec()
}

/// What a step says of itself (its blast radius, notes, and undo where that is words) in a language; a sentence that is none
/// of this version's stands as it is.
pub fn told(sentence: &str, language: Language) -> &str {
    match language {
        Language::English => sentence,
        Language::Korean => korean::korean(sentence).unwrap_or(sentence),
    }
}

#[cfg(test)]
mod tests;
