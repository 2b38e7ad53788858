//! The words of everything that a person reads about cases, apart from what core says of them
//! ([`Language`](trailwarden_core::language::Language)): headings, labels, closed lists. One file a language; a word that a
//! language lacks does not compile. Pairs stand before and after what is put between them.

mod english;
mod korean;

use trailwarden_core::activity::{Credential, PrincipalKind};
use trailwarden_core::language::Language;
use trailwarden_core::level::Level;
use trailwarden_core::plan::{Mode, Playbook, Tier};
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::response::life::{State, Work};
use trailwarden_core::time::Timestamp;

/// Words of a step's life.
#[derive(Debug)]
pub struct LifeWords {
    pub dry_head: &'static str,
    pub live_head: fn(&str) -> String,
    pub plan: &'static str,
    pub rehearse: &'static str,
    pub approve: &'static str,
    pub approvers: fn(Tier) -> &'static str,
    pub work: fn(Work) -> &'static str,
    /// Where the action stands after it.
    pub state: fn(State) -> &'static str,
}

/// All words of one language.
#[derive(Debug)]
pub struct Words {
    pub language: Language,
    pub life: LifeWords,

    // Numbers and times.
    pub events: fn(u64) -> String,
    pub cases: fn(u64) -> String,
    pub signals: fn(u64) -> String,
    pub rules: fn(u64) -> String,
    pub records: fn(u64) -> String,
    pub accounts: fn(u64) -> String,
    pub principals: fn(u64) -> String,
    pub and_more: fn(u64) -> String,
    pub more: fn(u64) -> String,
    pub duration: fn(i64) -> String,
    pub period: fn(Timestamp, Timestamp) -> String,
    pub weight: fn(f64) -> String,
    pub until: &'static str,

    // Words of closed lists.
    pub level: fn(Level) -> &'static str,
    pub principal_kind: fn(PrincipalKind) -> &'static str,
    pub credential: fn(Credential) -> &'static str,
    pub mfa: fn(Option<bool>) -> &'static str,
    pub resource_kind: fn(ResourceKind) -> &'static str,
    pub playbook: fn(Playbook) -> String,
    pub tier: fn(Tier) -> &'static str,
    pub mode: fn(Mode) -> &'static str,

    // The page around it.
    pub report_title: &'static str,
    pub skip: &'static str,
    pub brand: &'static str,
    pub footer: fn(&str, u32, Option<&str>) -> String,

    // The bottom line.
    pub nothing_to_judge: &'static str,
    pub no_cause: fn(u64) -> String,
    pub attacks: fn(u64) -> String,
    pub need_a_look: fn(u64) -> String,
    pub begin_with: (&'static str, &'static str),
    pub undecided: fn(u64) -> String,
    pub benign_alone: fn(u64) -> String,
    pub why_and_what_to_do: &'static str,
    pub says_nothing: &'static str,
    pub no_proof: &'static str,

    // What was read.
    pub what_was_read: &'static str,
    pub events_judged: &'static str,
    pub files: &'static str,
    pub accounts_head: &'static str,
    pub principals_head: &'static str,
    pub duplicates: &'static str,
    pub rejected_head: &'static str,
    pub events_by_level: &'static str,
    pub not_judged: &'static str,
    pub events_span: (&'static str, &'static str),
    pub gap: fn(&str, &str) -> String,
    pub accounts_named: fn(u64) -> String,
    pub not_named: &'static str,
    pub nothing_given: &'static str,
    pub all_read: &'static str,
    pub duplicate_rows: &'static str,
    pub set_aside_rows: &'static str,
    pub rejected_rows: &'static str,
    pub where_they_stand: &'static str,

    // A demo's planted attacks.
    pub planted_head: &'static str,
    pub planted_note: &'static str,
    pub attack: &'static str,
    pub events_planted: &'static str,
    pub in_a_case: &'static str,
    pub found_as: &'static str,
    pub missed: &'static str,
    pub found_as_case: fn(&str) -> String,
    pub planted_share: fn(u64, u64) -> String,

    // The picture over time.
    pub when_head: &'static str,
    pub mark_legend: &'static str,
    pub all_events: &'static str,
    pub bar_legend: fn(&str, u64, u64) -> String,
    pub unmarked: fn(u64) -> String,
    pub outside: fn(u64) -> String,
    pub spoken: fn(&str, u64) -> String,

    // The table of cases.
    pub cases_head: &'static str,
    pub most_urgent: fn(u64, u64, u64) -> String,
    pub severity: &'static str,
    pub verdict: &'static str,
    pub is_attack: &'static str,
    pub who: &'static str,
    pub when: &'static str,
    pub what_happened: &'static str,
    pub techniques: &'static str,
    pub case: &'static str,
    pub what: &'static str,
    pub no_cases: &'static str,
    pub no_cases_head: &'static str,
    pub when_a_case_opens: &'static str,
    pub looked_for: fn(u64, u64) -> String,
    pub none_raised: &'static str,
    pub raised_alone: fn(u64) -> String,
    pub not_looked_for: &'static str,
    pub unread: fn(u64) -> String,

    // One case.
    pub case_number: fn(&str) -> String,
    pub in_account: (&'static str, &'static str),
    pub decision: &'static str,
    pub principal: &'static str,
    pub kind: &'static str,
    pub credential_head: &'static str,
    pub obtained_as: &'static str,
    pub session_name: &'static str,
    pub source: &'static str,
    pub user_agent: &'static str,
    pub region: &'static str,
    pub verdict_told: fn(&str, &str) -> String,
    pub probability: &'static str,
    pub attack_probability: fn(&str) -> String,
    pub without_models: fn(&str) -> String,
    pub route: &'static str,
    pub would_change_it: &'static str,
    pub no_change: &'static str,
    pub for_an_attack: &'static str,
    pub against: &'static str,
    pub nothing_for: &'static str,
    pub nothing_against: &'static str,
    pub weaker: fn(u64) -> String,
    pub set_aside: &'static str,
    pub rejected: &'static str,
    pub rejected_label: &'static str,
    pub claimed: (&'static str, &'static str),
    pub by_code: &'static str,
    pub attack_techniques: &'static str,
    pub what_fired: fn(u64) -> String,
    pub innocent_causes: &'static str,
    pub answered_by: &'static str,
    pub digest: &'static str,
    pub code_alone: &'static str,
    pub all_roles: (&'static str, &'static str),

    // The plan.
    pub response: &'static str,
    pub no_step: &'static str,
    pub prepared: &'static str,
    pub kept_first: &'static str,
    pub affects: &'static str,
    pub undo: &'static str,
    pub undo_calls: &'static str,
    pub note: &'static str,
    pub as_json: &'static str,
    pub calls: &'static str,
    pub more_steps: fn(u64) -> String,
    pub exact_call_elsewhere: &'static str,

    // The evidence.
    pub evidence: &'static str,
    pub strongest_signals: fn(u64, u64, u64) -> String,
    pub number: &'static str,
    pub time: &'static str,
    pub call: &'static str,
    pub outcome: &'static str,
    pub touched: &'static str,
    pub detections: &'static str,
    pub succeeded: &'static str,
    pub denied: &'static str,
    pub failed: &'static str,
    pub created: &'static str,
    pub one_record: &'static str,
    pub records_shown: fn(u64) -> String,
    pub event_id: &'static str,
    pub score: &'static str,
    pub account: &'static str,
    pub credential_label: &'static str,
    pub agent: &'static str,
    pub aws_answered: &'static str,
    pub left_out: &'static str,

    // How to read it: heading, terms and their meaning.
    pub how_to_read: &'static str,
    pub glossary: &'static [(&'static str, &'static str)],
    pub limits: &'static str,
    pub limits_told: fn(u64, u32, bool) -> String,

    // The terminal.
    pub head_severity: &'static str,
    pub head_verdict: &'static str,
    pub head_attack: &'static str,
    pub head_when: &'static str,
    pub head_who: &'static str,
    pub head_account: &'static str,
    pub head_what: &'static str,
    pub label_who: &'static str,
    pub label_for: &'static str,
    pub label_against: &'static str,
    pub label_set_aside: &'static str,
    pub label_changes: &'static str,
    pub label_propose: &'static str,
    pub label_route: &'static str,
    pub none_read: &'static str,
    pub none_notable: &'static str,
    pub looked_at: fn(u64, u64) -> String,
    pub unlisted: fn(u64) -> String,
    pub below_medium: fn(u64) -> String,
    pub routine: fn(u64) -> String,

    // A ticket in Markdown.
    pub reason: &'static str,
    pub weight_head: &'static str,
    pub events_head: &'static str,
    pub claimed_by: &'static str,
    pub further_events: fn(u64) -> String,
    pub nothing: &'static str,
}

impl Words {
    pub fn of(language: Language) -> &'static Self {
        match language {
            Language::English => &english::WORDS,
            Language::Korean => &korean::WORDS,
        }
    }
}
