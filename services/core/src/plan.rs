//! Plans: what could be done about a case, chosen from a closed menu. The exact AWS calls of each
//! step belong to the playbooks room; core knows the menu's names, tiers and what each can target. Beside the menu stand
//! playbooks that operators write ([`own`]).

pub mod own;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use self::own::OwnPlaybook;
use crate::resource::{Resource, ResourceKind};

/// Who must agree before a step is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Tier {
    /// Nobody: it changes nothing that works.
    T0,
    /// Nobody under the two-key rule, else one approver: narrow and reversible.
    T1,
    /// One approver.
    T2,
    /// Two approvers.
    T3,
}

/// How a step will be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    DryRun,
    Approval,
    Auto,
}

macro_rules! menu {
    ($($(#[$meta:meta])* $variant:ident = $name:literal, $tier:ident, $kind:ident;)+) => {
        /// The closed menu of responses (RESPONSE.md).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(rename_all = "snake_case")]
        pub enum Playbook {
            $($(#[$meta])* $variant,)+
            /// One that the operator wrote: which stands in [`Action::own`]. Not on the menu.
            Own,
        }

        impl Playbook {
            pub const ALL: &'static [Playbook] = &[$(Playbook::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Playbook::$variant => $name,)+ Playbook::Own => "own" }
            }

            pub const fn tier(self) -> Tier {
                // Of the operator's, what it says itself counts: see [`Action::least_tier`].
                match self { $(Playbook::$variant => Tier::$tier,)+ Playbook::Own => Tier::T3 }
            }

            /// The one kind of resource this playbook acts on.
            pub const fn target_kind(self) -> ResourceKind {
                match self { $(Playbook::$variant => ResourceKind::$kind,)+ Playbook::Own => ResourceKind::Other }
            }
        }
    };
}

menu! {
    TagUser = "tag_and_notify", T0, User;
    TagRole = "tag_and_notify", T0, Role;
    TagInstance = "tag_and_notify", T0, Instance;
    DisableAccessKey = "disable_access_key", T1, AccessKey;
    QuarantineUserSoft = "quarantine_user_soft", T1, User;
    QuarantineUserHard = "quarantine_user_hard", T2, User;
    RevokeRoleSessions = "revoke_role_sessions", T2, Role;
    LockRoleTrust = "lock_role_trust", T2, Role;
    RemoveConsoleLogin = "remove_console_login", T2, LoginProfile;
    /// A key that the incident itself created; the next two are the same for a user and a role.
    DisableCreatedCredentials = "disable_created_credentials", T1, AccessKey;
    DisableCreatedUser = "disable_created_credentials", T1, User;
    DisableCreatedRole = "disable_created_credentials", T1, Role;
    RestoreTrail = "restore_trail", T1, Trail;
    RestoreDetector = "restore_detectors", T1, Detector;
    RestoreConfigRecorder = "restore_detectors", T1, ConfigRecorder;
    BlockPublicS3 = "block_public_s3", T2, Bucket;
    ProtectS3Data = "protect_s3_data", T2, Bucket;
    IsolateEc2 = "isolate_ec2", T2, Instance;
    ForensicSnapshot = "forensic_snapshot", T1, Instance;
    /// Withdraws what the incident shared: the menu's `forensic_snapshot` holds this half too.
    UnshareSnapshot = "forensic_snapshot", T1, Snapshot;
    UnshareDbSnapshot = "forensic_snapshot", T1, DbSnapshot;
    UnshareImage = "forensic_snapshot", T1, Image;
    FreezeLambda = "freeze_lambda", T2, Function;
    RescueKms = "rescue_kms", T1, KmsKey;
    ScpQuarantine = "scp_quarantine", T3, Account;
    /// Copies the case's raw records; the account is the one whose records they are.
    PreserveLogs = "preserve_logs", T0, Account;
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub playbook: Playbook,
    pub target: Resource,
    /// The user that owns the target, where the target is an access key and its owner is known: IAM
    /// changes a key only under its owner's name. Written by the caller, so never trusted.
    #[serde(default)]
    pub owner: Option<String>,
    pub tier: Tier,
    pub mode: Mode,
    /// What the operator's playbook says, whole, so that the step can be undone whatever becomes of its file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Arc<OwnPlaybook>>,
}

impl Action {
    /// A step at its playbook's tier that changes nothing yet.
    pub fn proposed(playbook: Playbook, target: Resource) -> Self {
        Self { playbook, target, owner: None, tier: playbook.tier(), mode: Mode::DryRun, own: None }
    }

    /// A step of a playbook of the operator's.
    pub fn of_own(own: Arc<OwnPlaybook>, target: Resource) -> Self {
        Self { playbook: Playbook::Own, target, owner: None, tier: own.tier, mode: Mode::DryRun, own: Some(own) }
    }

    /// The playbook's name, whosever it is.
    pub fn name(&self) -> &str {
        match (self.playbook, &self.own) {
            (Playbook::Own, Some(own)) => &own.name,
            (playbook, _) => playbook.as_str(),
        }
    }

    /// Who must agree at least, whatever tier is written beside it.
    pub fn least_tier(&self) -> Tier {
        let least = match (self.playbook, &self.own) {
            (Playbook::Own, Some(own)) => own.tier,
            (playbook, _) => playbook.tier(),
        };
        least.max(self.tier)
    }

    /// The same step, with the name of the user that owns the target.
    pub fn owned_by(self, owner: impl Into<String>) -> Self {
        Self { owner: Some(owner.into()), ..self }
    }
}

/// What is proposed for a case, best step first. Digest and approval come with the executor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub actions: Vec<Action>,
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    #[test]
    fn the_menu_is_the_tables() {
        use Tier::*;
        let table = BTreeMap::from([
            ("tag_and_notify", T0),
            ("disable_access_key", T1),
            ("quarantine_user_soft", T1),
            ("quarantine_user_hard", T2),
            ("revoke_role_sessions", T2),
            ("lock_role_trust", T2),
            ("remove_console_login", T2),
            ("disable_created_credentials", T1),
            ("restore_trail", T1),
            ("restore_detectors", T1),
            ("block_public_s3", T2),
            ("protect_s3_data", T2),
            ("isolate_ec2", T2),
            ("forensic_snapshot", T1),
            ("freeze_lambda", T2),
            ("rescue_kms", T1),
            ("scp_quarantine", T3),
            ("preserve_logs", T0),
        ]);
        let menu: BTreeSet<_> = Playbook::ALL.iter().map(|p| (p.as_str(), p.tier())).collect();
        assert_eq!(menu, table.into_iter().collect());
    }

    #[test]
    fn a_name_and_a_kind_tell_the_playbook() {
        let told: BTreeSet<_> = Playbook::ALL.iter().map(|p| (p.as_str(), p.target_kind())).collect();
        assert_eq!(told.len(), Playbook::ALL.len());
    }

    #[test]
    fn an_action_survives_json_with_and_without_owner() {
        let target = Resource {
            kind: ResourceKind::AccessKey,
            account: "111122223333".to_owned(),
            region: "us-east-1".to_owned(),
            id: "AKIAIOSFODNN7EXAMPLE".to_owned(),
            created: false,
        };
        let action = Action::proposed(Playbook::DisableAccessKey, target);
        let text = serde_json::to_string(&action).expect("writes");
        let before_owners = text.replace(r#""owner":null,"#, "");
        assert_ne!(before_owners, text);
        assert_eq!(serde_json::from_str::<Action>(&before_owners).expect("reads"), action);
        for action in [action.clone(), action.owned_by("alice")] {
            let text = serde_json::to_string(&action).expect("writes");
            assert_eq!(serde_json::from_str::<Action>(&text).expect("reads"), action);
        }
    }
}
