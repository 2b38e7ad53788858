//! Plans: what could be done about a case, chosen from a closed menu. The exact AWS calls of each
//! step belong to the playbooks room; core knows the menu's names, tiers and what each can target.

use serde::{Deserialize, Serialize};

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
        pub enum Playbook { $($(#[$meta])* $variant),+ }

        impl Playbook {
            pub const ALL: &'static [Playbook] = &[$(Playbook::$variant),+];

            pub const fn as_str(self) -> &'static str {
                match self { $(Playbook::$variant => $name),+ }
            }

            pub const fn tier(self) -> Tier {
                match self { $(Playbook::$variant => Tier::$tier),+ }
            }

            /// The one kind of resource this playbook acts on.
            pub const fn target_kind(self) -> ResourceKind {
                match self { $(Playbook::$variant => ResourceKind::$kind),+ }
            }
        }
    };
}

menu! {
    TagUser = "tag_and_notify", T0, User;
    TagRole = "tag_and_notify", T0, Role;
    DisableAccessKey = "disable_access_key", T1, AccessKey;
    QuarantineUserSoft = "quarantine_user_soft", T1, User;
    QuarantineUserHard = "quarantine_user_hard", T2, User;
    RevokeRoleSessions = "revoke_role_sessions", T2, Role;
    LockRoleTrust = "lock_role_trust", T2, Role;
    RemoveConsoleLogin = "remove_console_login", T2, LoginProfile;
    /// A key, user or role that the incident itself created.
    DisableCreatedCredentials = "disable_created_credentials", T1, AccessKey;
    RestoreTrail = "restore_trail", T1, Trail;
    RestoreDetector = "restore_detectors", T1, Detector;
    RestoreConfigRecorder = "restore_detectors", T1, ConfigRecorder;
    BlockPublicS3 = "block_public_s3", T2, Bucket;
    ProtectS3Data = "protect_s3_data", T2, Bucket;
    IsolateEc2 = "isolate_ec2", T2, Instance;
    ForensicSnapshot = "forensic_snapshot", T1, Instance;
    UnshareSnapshot = "unshare_snapshot", T1, Snapshot;
    FreezeLambda = "freeze_lambda", T2, Function;
    RescueKms = "rescue_kms", T1, KmsKey;
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Action {
    pub playbook: Playbook,
    pub target: Resource,
    pub tier: Tier,
    pub mode: Mode,
}

/// What is proposed for a case, best step first. Digest and approval come with the executor.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub actions: Vec<Action>,
}
