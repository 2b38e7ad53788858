//! The rules that ship with Trailwarden.

macro_rules! rule_files {
    ($($name:literal),+ $(,)?) => {
        /// Every rule file of our own, with its name, as [`super::RuleSet::load`] takes them.
        pub const RULES: &[(&str, &str)] = &[$((
            concat!($name, ".yml"),
            include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/rules/", $name, ".yml")),
        )),+];
    };
}

rule_files!(
    "initial_access",
    "execution",
    "persistence",
    "privilege_escalation",
    "defense_evasion",
    "credential_access",
    "discovery",
    "lateral_movement",
    "exfiltration",
    "impact",
    "first_seen",
);
