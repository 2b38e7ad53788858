//! Goals of an intruder.

use serde::Serialize;

/// A goal of an intruder, from ATT&CK's enterprise matrix. Both the older name of evading the defence and the two it
/// was later split into are read; they are one goal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tactic {
    Reconnaissance,
    ResourceDevelopment,
    InitialAccess,
    Execution,
    Persistence,
    PrivilegeEscalation,
    DefenceEvasion,
    CredentialAccess,
    Discovery,
    LateralMovement,
    Collection,
    CommandAndControl,
    Exfiltration,
    Impact,
}

impl Tactic {
    /// Reads a tactic however a rule spells it: `Defense Evasion`, `defense-evasion`, `attack.defense_evasion`.
    pub fn named(text: &str) -> Option<Self> {
        let word: String = text.trim().to_ascii_lowercase().trim_start_matches("attack.").replace(['-', ' '], "_");
        Some(match word.as_str() {
            "reconnaissance" => Self::Reconnaissance,
            "resource_development" => Self::ResourceDevelopment,
            "initial_access" => Self::InitialAccess,
            "execution" => Self::Execution,
            "persistence" => Self::Persistence,
            "privilege_escalation" => Self::PrivilegeEscalation,
            "defense_evasion" | "defence_evasion" | "stealth" | "defense_impairment" | "impair_defenses" => {
                Self::DefenceEvasion
            }
            "credential_access" => Self::CredentialAccess,
            "discovery" => Self::Discovery,
            "lateral_movement" => Self::LateralMovement,
            "collection" => Self::Collection,
            "command_and_control" => Self::CommandAndControl,
            "exfiltration" => Self::Exfiltration,
            "impact" => Self::Impact,
            _ => return None,
        })
    }
}
