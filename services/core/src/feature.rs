//! The feature schema: what is measured about every event, by name, with formula, window and unit.
//! Features are computed from the past only; what needs history and has none is unknown, not zero.

/// Version of the schema; a model bundle names the version it was trained on.
pub const SCHEMA_VERSION: u32 = 2;

/// What a feature describes about an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Temporal,
    Frequency,
    Scarcity,
    Categorical,
}

/// A feature's entry in the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Definition {
    pub name: &'static str,
    pub family: Family,
    pub formula: &'static str,
    pub window: &'static str,
    pub unit: &'static str,
}

macro_rules! schema {
    ($($variant:ident: $family:ident, $name:literal, $window:literal, $unit:literal, $formula:literal;)+) => {
        /// One measured quantity; its discriminant is its column.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(usize)]
        pub enum Feature { $($variant),+ }

        impl Feature {
            pub const ALL: &'static [Feature] = &[$(Feature::$variant),+];
            pub const COUNT: usize = Self::ALL.len();

            pub const fn definition(self) -> Definition {
                match self {
                    $(Feature::$variant => Definition {
                        name: $name, family: Family::$family, formula: $formula, window: $window, unit: $unit,
                    }),+
                }
            }
        }
    };
}

schema! {
    HourOfDay: Temporal, "hour_of_day", "none", "hours", "hour of the event time, UTC";
    Weekday: Temporal, "weekday", "none", "days", "day of the week of the event time, UTC, Monday 0";
    SinceLast: Temporal, "since_last", "24 h", "s", "event time minus the principal's latest event time";
    IntervalMean: Temporal, "interval_mean", "last 16 events", "s", "mean interval between the principal's latest events";
    IntervalVariation: Temporal, "interval_variation", "last 16 events", "ratio", "standard deviation over mean of those intervals; near 0 is clockwork";
    HourShare: Temporal, "hour_share", "epochs", "ratio", "share of the principal's past events within one hour of this hour of the day";

    Principal10s: Frequency, "principal_10s", "10 s", "events", "events of the principal in the window, this one included";
    Principal1m: Frequency, "principal_1m", "1 min", "events", "as principal_10s";
    Principal10m: Frequency, "principal_10m", "10 min", "events", "as principal_10s";
    Principal1h: Frequency, "principal_1h", "1 h", "events", "as principal_10s";
    Principal24h: Frequency, "principal_24h", "24 h", "events", "as principal_10s";
    Session10s: Frequency, "session_10s", "10 s", "events", "events of the session in the window, this one included";
    Session1m: Frequency, "session_1m", "1 min", "events", "as session_10s";
    Session10m: Frequency, "session_10m", "10 min", "events", "as session_10s";
    Session1h: Frequency, "session_1h", "1 h", "events", "as session_10s";
    Session24h: Frequency, "session_24h", "24 h", "events", "as session_10s";
    Source10s: Frequency, "source_10s", "10 s", "events", "events of the principal from this source in the window, this one included";
    Source1m: Frequency, "source_1m", "1 min", "events", "as source_10s";
    Source10m: Frequency, "source_10m", "10 min", "events", "as source_10s";
    Source1h: Frequency, "source_1h", "1 h", "events", "as source_10s";
    Source24h: Frequency, "source_24h", "24 h", "events", "as source_10s";
    Api10s: Frequency, "api_10s", "10 s", "events", "events of the principal on this API in the window, this one included";
    Api1m: Frequency, "api_1m", "1 min", "events", "as api_10s";
    Api10m: Frequency, "api_10m", "10 min", "events", "as api_10s";
    Api1h: Frequency, "api_1h", "1 h", "events", "as api_10s";
    Api24h: Frequency, "api_24h", "24 h", "events", "as api_10s";
    Denied10m: Frequency, "denied_10m", "10 min", "events", "refused calls of the principal in the window";
    Denied1h: Frequency, "denied_1h", "1 h", "events", "as denied_10m";
    Listing10m: Frequency, "listing_10m", "10 min", "events", "calls of access level List by the principal in the window";
    Writing10m: Frequency, "writing_10m", "10 min", "events", "calls that change something by the principal in the window";
    DistinctApis10m: Frequency, "distinct_apis_10m", "10 min", "APIs", "distinct APIs the principal called in the window, of the 16 tracked";
    DistinctTargets10m: Frequency, "distinct_targets_10m", "10 min", "things", "distinct things that the principal's requests named in the window, of the 24 tracked";
    DistinctTargets1h: Frequency, "distinct_targets_1h", "1 h", "things", "as distinct_targets_10m";
    DistinctSources1h: Frequency, "distinct_sources_1h", "1 h", "sources", "distinct sources of the principal in the window, of the 6 tracked";
    DistinctSessions1h: Frequency, "distinct_sessions_1h", "1 h", "sessions", "distinct sessions of the principal in the window, of the 6 tracked";
    Novel1h: Frequency, "novel_1h", "1 h", "events", "events of the principal in the window that were the first of their API, network, program or target, this one included";
    SessionAge: Frequency, "session_age", "24 h", "s", "event time minus the session's first event, at most 24 h; a session idle for 24 h begins anew";
    SessionMoved: Frequency, "session_moved", "24 h", "0 or 1", "1 when the session's first event came from another network";
    SessionNovel: Frequency, "session_novel", "24 h", "events", "as novel_1h, of the session since it began, each further event counting down the sum by 1/64";
    SessionSurprise: Frequency, "session_surprise", "session", "bits", "mean surprise of the session's events, the latest weighing 1/16; surprise is the mean of what is known of the principal's rarity of API, source, program and target, else of the account's";
    SessionSurpriseMax: Frequency, "session_surprise_max", "session", "bits", "largest such surprise of the session, each further event taking 1/64 off";
    HourRateRatio: Frequency, "hour_rate_ratio", "1 h over epochs", "ratio", "events in the last hour over the principal's mean in its active hours";

    ApiRarityPrincipal: Scarcity, "api_rarity_principal", "epochs", "bits", "-log2((n(principal, api) + 1/2) / (n(principal) + 1))";
    ApiRarityAccount: Scarcity, "api_rarity_account", "epochs", "bits", "-log2((n(account, api) + 1/2) / (n(account) + 1))";
    ApiRarityPeers: Scarcity, "api_rarity_peers", "epochs", "bits", "-log2((n(kind, api) + 1/2) / (n(kind) + 1)) over principals of the same kind";
    SourceRarityPrincipal: Scarcity, "source_rarity_principal", "epochs", "bits", "as api_rarity_principal, for the source network";
    SourceRarityAccount: Scarcity, "source_rarity_account", "epochs", "bits", "as api_rarity_account, for the source network";
    RegionRarityPrincipal: Scarcity, "region_rarity_principal", "epochs", "bits", "as api_rarity_principal, for the region";
    RegionRarityAccount: Scarcity, "region_rarity_account", "epochs", "bits", "as api_rarity_account, for the region";
    AgentRarityPrincipal: Scarcity, "agent_rarity_principal", "epochs", "bits", "as api_rarity_principal, for the user agent's family";
    AgentRarityAccount: Scarcity, "agent_rarity_account", "epochs", "bits", "as api_rarity_account, for the user agent's family";
    ServiceRarityPrincipal: Scarcity, "service_rarity_principal", "epochs", "bits", "as api_rarity_principal, for the service";
    ServiceRarityAccount: Scarcity, "service_rarity_account", "epochs", "bits", "as api_rarity_account, for the service";
    ProgramRarityPrincipal: Scarcity, "program_rarity_principal", "epochs", "bits", "as api_rarity_principal, for the user agent without its digits";
    ProgramRarityAccount: Scarcity, "program_rarity_account", "epochs", "bits", "as api_rarity_account, for the user agent without its digits";
    TargetRarityPrincipal: Scarcity, "target_rarity_principal", "epochs", "bits", "as api_rarity_principal, for the thing that the request names";
    TargetRarityAccount: Scarcity, "target_rarity_account", "epochs", "bits", "as api_rarity_account, for the thing that the request names";
    FirstServicePrincipal: Scarcity, "first_service_principal", "epochs", "0 or 1", "1 when the principal has history and never called this service";
    FirstProgramPrincipal: Scarcity, "first_program_principal", "epochs", "0 or 1", "1 when the principal has history and never used this program";
    FirstTargetPrincipal: Scarcity, "first_target_principal", "epochs", "0 or 1", "1 when the principal has history and never named this thing";
    FirstTargetAccount: Scarcity, "first_target_account", "epochs", "0 or 1", "1 when the account has history and nobody named this thing";
    FirstSourceAccount: Scarcity, "first_source_account", "epochs", "0 or 1", "1 when the account has history and nobody came from this network";
    FirstApiPrincipal: Scarcity, "first_api_principal", "epochs", "0 or 1", "1 when the principal has history and never called this API";
    FirstApiAccount: Scarcity, "first_api_account", "epochs", "0 or 1", "1 when the account has history and nobody called this API";
    FirstSourcePrincipal: Scarcity, "first_source_principal", "epochs", "0 or 1", "1 when the principal has history and never came from this network";
    FirstRegionAccount: Scarcity, "first_region_account", "epochs", "0 or 1", "1 when the account has history and never used this region";
    FirstAgentPrincipal: Scarcity, "first_agent_principal", "epochs", "0 or 1", "1 when the principal has history and never used this agent family";
    PrincipalAge: Scarcity, "principal_age", "epochs", "s", "event time minus the principal's first event, at most 7 days, once the account has history; 0 for one never seen";

    CredentialKind: Categorical, "credential_kind", "none", "code", "ordinal of the credential";
    CallerKind: Categorical, "caller_kind", "none", "code", "ordinal of the principal's kind";
    AccessLevel: Categorical, "access_level", "none", "code", "ordinal of the API's access level; unknown for an API outside the vocabulary";
    AgentFamily: Categorical, "agent_family", "none", "code", "ordinal of the user agent's family";
    SourceClass: Categorical, "source_class", "none", "code", "ordinal of the source's class";
    Mfa: Categorical, "mfa", "none", "0 or 1", "1 when the credential was obtained with MFA; unknown when not recorded";
    Denied: Categorical, "denied", "none", "0 or 1", "1 when the call was refused for lack of permission";
    Failed: Categorical, "failed", "none", "0 or 1", "1 when the call ended in any error";
}

/// The features of one event, by column. Unknown is NaN inside and `None` outside.
#[derive(Clone, Debug)]
pub struct FeatureVector([f32; Feature::COUNT]);

/// Bitwise, so that two runs can be compared where values are unknown.
impl PartialEq for FeatureVector {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(&other.0).all(|(a, b)| a.to_bits() == b.to_bits())
    }
}

impl Default for FeatureVector {
    fn default() -> Self {
        Self([f32::NAN; Feature::COUNT])
    }
}

impl FeatureVector {
    /// All columns in the schema's order; NaN is unknown.
    pub fn columns(&self) -> &[f32; Feature::COUNT] {
        &self.0
    }

    /// As [`Self::columns`], to fill.
    pub fn columns_mut(&mut self) -> &mut [f32; Feature::COUNT] {
        &mut self.0
    }

    pub fn set(&mut self, feature: Feature, value: f32) {
        self.0[feature as usize] = value;
    }

    /// The feature's value; `None` when unknown.
    pub fn get(&self, feature: Feature) -> Option<f32> {
        let value = self.0[feature as usize];
        (!value.is_nan()).then_some(value)
    }

    pub fn is_set(&self, feature: Feature) -> bool {
        self.get(feature).is_some_and(|value| value > 0.0)
    }
}
