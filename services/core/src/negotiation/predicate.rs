//! The closed vocabulary of claims: who may make them, what they weigh and why, and how a person reads them.
//!
//! **Weights** are log-odds for an attack (negative: for an innocent cause). They are priors, stated as such; a fit on
//! labelled cases replaces them. What a detection says by itself is in [`PRIORS`](super::score::PRIORS) already, so the
//! weight of a claim that a detection grounds is only what it adds *beyond* that: little, and more where an innocent
//! cause is rare. What adds is corroboration that no single rule sees. A benign claim rests on what an attacker
//! cannot set: what AWS or the operator wrote, or history.

use serde::{Deserialize, Serialize};

use super::Role;

/// How firmly a claim is made. One made more weakly than its predicate allows counts half.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Strength {
    Weak,
    Moderate,
    Strong,
}

/// What a predicate is checked on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ground {
    /// A detection whose rule names the predicate.
    Detection,
    /// Facts of the pack that need no history.
    Facts,
    /// The principal's past; unknown where there is none. A first-seen rule that names the predicate grounds it too.
    History,
}

/// A predicate's entry in the vocabulary.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Definition {
    pub name: &'static str,
    pub owner: Role,
    pub ground: Ground,
    /// Log-odds; positive speaks for an attack.
    pub weight: f64,
    /// The most that may be claimed.
    pub strength: Strength,
    /// When it is true.
    pub meaning: &'static str,
    /// Why it weighs what it does.
    pub reason: &'static str,
    /// As a sentence for a person.
    pub sentence: &'static str,
    /// What was done, `stopped the audit trail`; empty where the predicate names no deed.
    pub done: &'static str,
    /// The same as an attempt, `stop the audit trail`.
    pub tried: &'static str,
}

macro_rules! vocabulary {
    ($(#[doc = $meaning:literal] $variant:ident = $name:literal, $owner:ident, $ground:ident, $weight:literal, $strength:ident,
        $sentence:literal, ($done:literal, $tried:literal), $reason:literal;)+) => {
        /// A claim that can be made about a case.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Predicate { $(#[doc = $meaning] $variant),+ }

        impl Predicate {
            pub const ALL: &'static [Predicate] = &[$(Predicate::$variant),+];

            const DEFINITIONS: &'static [Definition] = &[$(Definition {
                name: $name, owner: Role::$owner, ground: Ground::$ground, weight: $weight,
                strength: Strength::$strength, meaning: $meaning.trim_ascii(), reason: $reason,
                sentence: $sentence, done: $done, tried: $tried,
            }),+];

            /// The predicate of a name; `None` when the vocabulary has none such.
            pub fn named(name: &str) -> Option<Self> {
                match name { $($name => Some(Predicate::$variant),)+ _ => None }
            }
        }
    };
}

vocabulary! {
    /// A trail, event data store or flow log was stopped, deleted or narrowed.
    LoggingTamper = "logging_tamper", Analysis, Detection, 0.30, Strong,
        "The audit trail was stopped or weakened.", ("stopped or weakened the audit trail", "stop or weaken the audit trail"),
        "Blinds the defender first (ATT&CK Impair Defenses: Disable Cloud Logs); hardly ever done by hand for a good reason.";
    /// A threat detector, configuration recorder or alarm was disabled or blinded.
    DetectorTamper = "detector_tamper", Analysis, Detection, 0.25, Strong,
        "A threat detector was disabled or blinded.", ("disabled or blinded a threat detector", "disable or blind a threat detector"),
        "As logging_tamper, but also part of tearing down accounts.";
    /// An account left, or tried to leave, its organisation.
    OrganisationLeave = "organisation_leave", Analysis, Detection, 0.30, Strong,
        "The account left its organisation, and with it the organisation's guard rails.", ("took the account out of its organisation", "take the account out of its organisation"),
        "Removes every guard rail at once; a planned move is rare and announced.";
    /// A permission was added that leads to administration: policy attached, inline policy, group, policy version.
    PrivilegeGrant = "privilege_grant", Analysis, Detection, 0.15, Strong,
        "Far-reaching permissions were granted.", ("granted far-reaching permissions", "grant far-reaching permissions"),
        "The usual step after a stolen key (ATT&CK Account Manipulation); administrators do it too.";
    /// A user or role was created.
    PrincipalCreation = "principal_creation", Analysis, Detection, 0.10, Moderate,
        "A new principal was created.", ("created a principal", "create a principal"),
        "ATT&CK Create Account: Cloud Account; daily work in many organisations.";
    /// An access key or console login was made for another principal than the caller.
    CredentialCreationForOther = "credential_creation_for_other", Analysis, Detection, 0.15, Strong,
        "A credential was created for somebody else.", ("created a credential for another principal", "create a credential for another principal"),
        "Persistence that survives the loss of the first key (ATT&CK Additional Cloud Credentials).";
    /// An access key was made for the caller itself.
    CredentialCreationForSelf = "credential_creation_for_self", Analysis, Detection, 0.05, Moderate,
        "The caller created a further credential for itself.", ("created a further key for itself", "create a further key for itself"),
        "Key rotation looks the same.";
    /// A console password of another principal was set or changed.
    PasswordResetForOther = "password_reset_for_other", Analysis, Detection, 0.15, Strong,
        "Somebody else's console password was set.", ("set another principal's password", "set another principal's password"),
        "Takes over a person's access; help desks do it too.";
    /// A role's trust policy was opened to more callers.
    TrustWidened = "trust_widened", Analysis, Detection, 0.15, Strong,
        "A role now trusts more callers than before.", ("widened who may assume a role", "widen who may assume a role"),
        "A back door that needs no key (ATT&CK Account Manipulation: Additional Cloud Roles).";
    /// A resource was opened to everybody.
    PublicExposure = "public_exposure", Analysis, Detection, 0.15, Strong,
        "A resource was opened to everybody.", ("opened a resource to everybody", "open a resource to everybody"),
        "Either theft or a mistake, and a person should see both.";
    /// A snapshot, image, database copy or bucket was shared with an account outside the organisation.
    ExternalSharing = "external_sharing", Analysis, Detection, 0.20, Strong,
        "Data was shared with an account outside.", ("shared data with an outside account", "share data with an outside account"),
        "ATT&CK Transfer Data to Cloud Account; partners receive copies too, but then the operator can name them.";
    /// A firewall rule was opened to the world.
    NetworkOpening = "network_opening", Analysis, Detection, 0.05, Moderate,
        "The network was opened to the world.", ("opened the network to the world", "open the network to the world"),
        "Mostly carelessness.";
    /// Many secrets or parameters were read in a short time.
    SecretSweep = "secret_sweep", Analysis, Detection, 0.15, Strong,
        "Many secrets were read in a short time.", ("read many secrets in a short time", "read many secrets in a short time"),
        "ATT&CK Cloud Secrets Management Stores; deployments read the few that they own.";
    /// Many different listing calls in a short time.
    EnumerationBurst = "enumeration_burst", Analysis, Detection, 0.10, Moderate,
        "Many different things were listed in a short time.", ("listed what there is to find", "list what there is to find"),
        "The first minutes with a stolen key (ATT&CK Cloud Infrastructure Discovery); auditors and inventory tools look alike.";
    /// Calls that only tell what a key is good for.
    CredentialProbe = "credential_probe", Analysis, Detection, 0.10, Moderate,
        "The caller tried out what its credential is good for.", ("probed what its credential is good for", "probe what its credential is good for"),
        "Scripts of key thieves begin with it; so do some SDKs.";
    /// An instance's or function's credentials were used from somewhere else, or for something they never serve.
    InstanceCredentialUse = "instance_credential_use", Analysis, Detection, 0.30, Strong,
        "Credentials of an instance were used outside it.", ("used an instance's credentials outside it", "use an instance's credentials outside it"),
        "Those credentials have no business elsewhere (ATT&CK Cloud Instance Metadata API).";
    /// A person signed in to the console without MFA.
    LoginWithoutMfa = "login_without_mfa", Analysis, Detection, 0.05, Moderate,
        "Somebody signed in to the console without MFA.", ("signed in to the console without MFA", "sign in to the console without MFA"),
        "Bad hygiene far more often than an attack.";
    /// The root user acted.
    RootUse = "root_use", Analysis, Detection, 0.15, Strong,
        "The root user acted.", ("acted as the root user", "act as the root user"),
        "Good practice keeps root for a handful of tasks a year.";
    /// Commands were run on instances through the control plane.
    RemoteCommand = "remote_command", Analysis, Detection, 0.10, Moderate,
        "Commands were sent to instances.", ("sent commands to instances", "send commands to instances"),
        "ATT&CK Cloud Administration Command; operations teams live by it.";
    /// An SSH key or serial console access was pushed to an instance.
    SshKeyPush = "ssh_key_push", Analysis, Detection, 0.10, Moderate,
        "An SSH key was pushed to an instance.", ("pushed an SSH key to an instance", "push an SSH key to an instance"),
        "Lateral movement without network access; also a normal way to log in.";
    /// An instance's start-up script was changed.
    StartupScriptChange = "startup_script_change", Analysis, Detection, 0.20, Strong,
        "An instance's start-up script was changed.", ("changed an instance's start-up script", "change an instance's start-up script"),
        "Runs as root at the next start; changing it on a stopped instance is unusual.";
    /// A function's code, layer or configuration was replaced.
    CodeChange = "code_change", Analysis, Detection, 0.05, Moderate,
        "A function's code was changed.", ("changed a function's code", "change a function's code"),
        "Every deployment does it.";
    /// Something was left behind that acts by itself: scheduled job, function permission, event rule.
    PersistenceResource = "persistence_resource", Analysis, Detection, 0.10, Moderate,
        "Something was left behind that gives access later.", ("left behind a way back in", "leave behind a way back in"),
        "ATT&CK Event Triggered Execution; infrastructure as code makes the same calls.";
    /// A federation token, identity provider or trust anchor was created.
    FederationGrant = "federation_grant", Analysis, Detection, 0.20, Strong,
        "Access was granted by federation.", ("granted access by federation", "grant access by federation"),
        "Sessions from it outlive the key that made them; set up once in an organisation's life.";
    /// Machines of a size, number or kind that miners want.
    ComputeAbuse = "compute_abuse", Analysis, Detection, 0.15, Strong,
        "Large computing capacity was started.", ("started large computing capacity", "start large computing capacity"),
        "ATT&CK Resource Hijacking; batch work looks similar.";
    /// A hosted model was enabled or invoked by somebody who should not.
    ModelAbuse = "model_abuse", Analysis, Detection, 0.15, Moderate,
        "Hosted models were enabled or invoked.", ("made use of hosted models", "make use of hosted models"),
        "Stolen keys are resold for model access; new projects start the same way.";
    /// Data or its backups were deleted, or set to expire.
    DataDestruction = "data_destruction", Analysis, Detection, 0.20, Strong,
        "Data or backups were deleted or set to expire.", ("deleted data or set it to expire", "delete data or set it to expire"),
        "ATT&CK Data Destruction, preparation of ransom; clean-up jobs delete too.";
    /// An encryption key was disabled or scheduled for deletion.
    KeyDestruction = "key_destruction", Analysis, Detection, 0.20, Strong,
        "An encryption key was disabled or scheduled for deletion.", ("disabled or scheduled deletion of an encryption key", "disable or delete an encryption key"),
        "Makes everything under the key unreadable.";
    /// The mail service was probed or opened for sending.
    EmailAbuse = "email_abuse", Analysis, Detection, 0.15, Moderate,
        "The mail service was prepared for sending.", ("prepared the mail service for sending", "prepare the mail service for sending"),
        "Spam from a trusted sender is a common use of stolen keys.";
    /// Work in a region where the organisation has none.
    UnusualRegion = "unusual_region", Analysis, Detection, 0.10, Moderate,
        "Work was done in an unusual region.", ("worked in an unusual region", "work in an unusual region"),
        "ATT&CK Unused/Unsupported Cloud Regions; expansions happen.";
    /// Detectors, trails or alarms were looked at.
    DefenceDiscovery = "defence_discovery", Analysis, Detection, 0.05, Moderate,
        "The defences were looked over.", ("looked over the defences", "look over the defences"),
        "Auditors and dashboards do it all day.";

    /// Five or more calls of the case were refused for lack of permission.
    DeniedBurst = "denied_burst", Analysis, Facts, 0.60, Moderate,
        "Five or more calls were refused: the caller does not know what it may do.", ("", ""),
        "The owner of a credential knows its rights; a misconfigured job repeats one call, so the weight stays below one step of severity.";
    /// Three or more detections of medium severity or above, of three different tactics, on two or more events.
    SeveralTactics = "several_tactics", Analysis, Facts, 1.00, Strong,
        "Several steps of an intrusion were seen, not one.", ("", ""),
        "Independent rules for different goals seldom meet in one lineage by chance; a person's odd act seldom has three goals.";
    /// Three or more detections of low severity, of two or more tactics, by a long-term key without MFA.
    SeveralWeakSigns = "several_weak_signs", Analysis, Facts, 1.80, Moderate,
        "Several weak signs of different kinds come from one long-term key.", ("", ""),
        "Reconnaissance and first steps raise low detections only; together they are worth about one of medium severity.";
    /// The events that weigh most were made with a long-term key and no MFA.
    LongTermKeyWithoutMfa = "long_term_key_without_mfa", Analysis, Facts, 0.50, Moderate,
        "The key does not expire and was used without MFA.", ("", ""),
        "Leaked long-lived keys are the most common cause of publicly documented cloud breaches (Datadog, State of Cloud Security), yet most of their use is honest.";
    /// Three or more different detections on three or more events of one session within two minutes.
    FastSequence = "fast_sequence", Analysis, Facts, 0.20, Weak,
        "The steps followed each other within two minutes.", ("", ""),
        "Scripted attacks hurry; so does infrastructure as code.";

    /// The principal never came from this network before.
    NewSourceNetwork = "new_source_network", Context, History, 0.90, Strong,
        "The caller never came from this network before.", ("", ""),
        "A stolen credential is used from the thief's network; travel and new offices explain it too.";
    /// The principal never called this API before.
    FirstUseOfApi = "first_use_of_api", Context, History, 0.50, Moderate,
        "The caller never used this API before.", ("", ""),
        "New duties and new services bring it about as well.";
    /// Nobody in the account worked in this region before.
    FirstRegion = "first_region", Context, History, 0.80, Strong,
        "Nobody in this account used the region before.", ("", ""),
        "ATT&CK Unused/Unsupported Cloud Regions.";
    /// The principal never used this kind of agent before.
    NewAgent = "new_agent", Context, History, 0.30, Weak,
        "The caller never used this kind of tool before.", ("", ""),
        "The caller writes it, so its absence says nothing and its presence little.";
    /// At most one in a hundred of the principal's past events fell within an hour of this hour.
    UnusualHour = "unusual_hour", Context, History, 0.30, Weak,
        "The caller is hardly ever active at this hour.", ("", ""),
        "On-call work is common.";
    /// The last hour held eight times or more of the principal's usual hourly events.
    RateSpike = "rate_spike", Context, History, 0.40, Moderate,
        "The caller was far busier than usual.", ("", ""),
        "Migrations and deploy days spike too.";
    /// All that weighs was routine for the principal: known network, an API it often calls.
    BaselineMatch = "baseline_match", Context, History, -0.90, Strong,
        "This is routine for the caller: known network, calls it often makes.", ("", ""),
        "A thief inside the victim's own network and habits exists, but is rare.";
    /// Principals of the same kind often make the calls that weigh.
    PeerMatch = "peer_match", Context, History, -0.50, Moderate,
        "Others like the caller make these calls often.", ("", ""),
        "What many do is seldom an attack, though many can be misled.";
    /// The principal has been active for 30 days or more.
    LongLivedPrincipal = "long_lived_principal", Context, History, -0.20, Weak,
        "The caller has been active for a week or more.", ("", ""),
        "Rules out a principal made for the attack, not a stolen one.";

    /// The operator's registry names the principal behind all that weighs as automation.
    KnownAutomation = "known_automation", Sceptic, Facts, -1.60, Strong,
        "The operator has named the caller as automation.", ("", ""),
        "Nearly one and a half steps of severity: such principals raise most false alarms, and their keys are worth stealing.";
    /// The operator's registry names the principal behind all that weighs as an administrator.
    KnownAdministrator = "known_administrator", Sceptic, Facts, -1.60, Strong,
        "The operator has named the caller as an administrator.", ("", ""),
        "As known_automation.";
    /// All that weighs was done in sessions opened with MFA.
    MfaSession = "mfa_session", Sceptic, Facts, -0.80, Strong,
        "The session was opened with MFA.", ("", ""),
        "A leaked key alone does not suffice; session theft and insiders remain.";
    /// All that weighs was done by an AWS service for itself.
    ServicePrincipal = "service_principal", Sceptic, Facts, -1.20, Strong,
        "An AWS service acted for itself.", ("", ""),
        "AWS writes the caller's kind. A service can be misused, but by an act that stands in the trail too.";
    /// All that weighs was refused or failed.
    NothingSucceeded = "nothing_succeeded", Sceptic, Facts, -0.30, Weak,
        "None of it succeeded.", ("", ""),
        "Less harm, hardly less intent: probing is refused more often than work is.";
    /// Credentials were made for a user whom the same session created within the hour before; MFA, workforce sign-in or registry stand behind it; no permissions were granted.
    TargetCreatedInCase = "target_created_in_case", Sceptic, Facts, -0.40, Moderate,
        "It looks like onboarding: the credential is for a user created minutes before.", ("", ""),
        "An intruder can do the same, so it counts only beside something that an intruder cannot set.";
    /// All that weighs was done by sessions of the organisation's workforce sign-in (Identity Center).
    FederatedWorkforceSession = "federated_workforce_session", Sceptic, Facts, -0.80, Strong,
        "The session came through the organisation's own sign-in.", ("", ""),
        "Short-lived and behind the organisation's sign-in rules; AWS reserves the path of such roles, so nobody can imitate one.";
}

impl Predicate {
    pub const COUNT: usize = Self::ALL.len();

    pub const fn definition(self) -> &'static Definition {
        &Self::DEFINITIONS[self as usize]
    }

    pub const fn name(self) -> &'static str {
        self.definition().name
    }

    pub const fn owner(self) -> Role {
        self.definition().owner
    }

    /// Whether it speaks for an innocent cause.
    pub const fn is_benign(self) -> bool {
        self.definition().weight < 0.0
    }
}

impl Serialize for Predicate {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Predicate {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let unknown = || serde::de::Error::custom(format_args!("the vocabulary has no claim `{name}`"));
        Self::named(&name).ok_or_else(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vocabulary_is_consistent() {
        for predicate in Predicate::ALL {
            let definition = predicate.definition();
            assert_eq!(Predicate::named(definition.name), Some(*predicate));
            assert_eq!(Predicate::ALL[*predicate as usize], *predicate);
            assert!(!definition.meaning.is_empty() && definition.meaning.ends_with('.'), "{}", definition.name);
            assert!(definition.reason.ends_with('.') && definition.sentence.ends_with('.'), "{}", definition.name);
            assert_eq!(definition.done.is_empty(), definition.tried.is_empty());
            // Only a role that argues for innocence, or knows the past, makes benign claims; only analysis names deeds.
            assert!(!(predicate.is_benign() && definition.owner == Role::Analysis), "{}", definition.name);
            assert!(definition.owner != Role::Sceptic || predicate.is_benign(), "{}", definition.name);
            assert_eq!(definition.ground == Ground::Detection, !definition.done.is_empty(), "{}", definition.name);
            // A claim that a detection grounds adds little to what the detection says.
            assert!(definition.ground != Ground::Detection || definition.weight <= 0.3, "{}", definition.name);
        }
        assert_eq!(Predicate::named("approved_by_the_team"), None);
    }
}
