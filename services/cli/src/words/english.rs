//! English.

use trailwarden_core::language::Language;
use trailwarden_core::level::Level;
use trailwarden_core::plan::{Mode, Playbook, Tier};
use trailwarden_core::response::life::{State, Work};

use super::{LifeWords, Words};
use crate::figures::{self, count, counted};

pub(super) const WORDS: Words = Words {
    language: Language::English,
    life: LifeWords {
        dry_head: "The life of a step, in dry run: nothing is called",
        live_head: |endpoint| format!("The life of a step, at {endpoint}, approved by keys that are thrown away"),
        plan: "plan",
        rehearse: "rehearse",
        approve: "approve",
        approvers,
        work,
        state,
    },

    events: |number| counted(number, "event"),
    cases: |number| counted(number, "case"),
    signals: |number| counted(number, "signal"),
    rules: |number| counted(number, "rule"),
    records: |number| counted(number, "record"),
    accounts: |number| counted(number, "account"),
    principals: |number| counted(number, "principal"),
    and_more: |number| format!("and {} more", count(number)),
    more: |number| format!("+{} more", count(number)),
    duration: figures::duration,
    period: figures::period,
    weight: figures::weight,
    until: " to ",

    level: |level| if level == Level::None { "not raised" } else { level.as_str() },
    principal_kind: figures::principal_kind,
    credential: figures::credential,
    mfa: figures::mfa,
    resource_kind: figures::resource_kind,
    playbook,
    tier,
    mode,

    report_title: "Trailwarden report",
    skip: "Skip to the cases",
    brand: "CloudTrail report",
    footer,

    nothing_to_judge: "There was nothing to judge: no event could be read.",
    no_cause: |events| format!("None of the {} gave cause for a case.", counted(events, "event")),
    attacks,
    need_a_look,
    begin_with: (" Begin with ", "."),
    undecided: |cases| format!("{} could not be decided; none looks like an attack.", counted(cases, "case")),
    benign_alone: |cases| format!("No case looks like an attack; {} proved benign.", counted(cases, "case")),
    why_and_what_to_do: "Why, and what to do",
    says_nothing: "This says nothing about any account. Below stands what was set aside or rejected, and why.",
    no_proof: "This is what the rules, correlations and first-seen checks found in these events. It is not proof that nothing happened: calls that were not logged, or logs that were not given, cannot be seen here.",

    what_was_read: "What was read",
    events_judged: "Events judged",
    files: "Files",
    accounts_head: "Accounts",
    principals_head: "Principals",
    duplicates: "Duplicates",
    rejected_head: "Rejected",
    events_by_level: "Events by level",
    not_judged: "Not judged, and why",
    events_span: ("The events span ", ""),
    gap: |length, period| {
        format!("The longest stretch without any event is {length}, {period}; quiet and unlogged look the same here.")
    },
    accounts_named: |accounts| if accounts == 1 { "Account " } else { "Accounts " }.to_owned(),
    not_named: "(not named)",
    nothing_given: "Nothing was given that holds events.",
    all_read: "Everything that was given was read and judged.",
    duplicate_rows: "Duplicate, seen under the same event id",
    set_aside_rows: "Set aside: ",
    rejected_rows: "Rejected: ",
    where_they_stand: "Where they stand",

    planted_head: "Planted against found",
    planted_note: "These logs were generated, so the truth is known.",
    attack: "Attack",
    events_planted: "Events planted",
    in_a_case: "In a case",
    found_as: "Found as",
    missed: "missed",
    found_as_case: |id| format!("found as case {id}"),
    planted_share: |found, of| format!("{} of its {} in cases", count(found), counted(of, "event")),

    when_head: "When",
    mark_legend: " case, by its number",
    all_events: " all events",
    bar_legend: |width, raised, highest| {
        format!(
            "one bar is {width}; highest: {} raised (drawn by square root), {} in all",
            count(raised),
            count(highest)
        )
    },
    unmarked: |cases| format!("{} not marked here for want of room; the table names them. ", counted(cases, "case")),
    outside: |events| format!("{} far outside this time are not drawn.", counted(events, "event")),
    spoken: |period, cases| format!("Events from {period} with {} marked", counted(cases, "case")),

    cases_head: "Cases",
    most_urgent: |shown, total, rest| {
        format!(
            "The {} most urgent of {} cases stand here; the other {} are in the file that --cases FILE writes.",
            count(shown),
            count(total),
            count(rest)
        )
    },
    severity: "Severity",
    verdict: "Verdict",
    is_attack: "Attack?",
    who: "Who",
    when: "When",
    what_happened: "What happened",
    techniques: "Techniques",
    case: "Case",
    what: "What",
    no_cases: "No cases because there was nothing to judge.",
    no_cases_head: "No cases.",
    when_a_case_opens: " A case opens where a rule, a correlation or a first-seen fact marks an activity.",
    looked_for: |rules, events| {
        format!(
            "Looked for: {} over {}, and what each principal and account did for the first time.",
            counted(rules, "rule"),
            counted(events, "event")
        )
    },
    none_raised: "No event reached the level caution.",
    raised_alone: |events| {
        format!("{} reached caution or above without adding up to a case.", counted(events, "event"))
    },
    not_looked_for: "Not looked for: anything CloudTrail was not told to record (data events are off by default), trails and regions that were not given, and what a principal’s habit hides when these logs are the first that Trailwarden sees of it.",
    unread: |records| format!("{} could not be read and were not judged: see above.", counted(records, "record")),

    case_number: |number| format!("Case {number}"),
    in_account: (" in ", ""),
    decision: "Decision",
    principal: "Principal",
    kind: "Kind",
    credential_head: "Credential",
    obtained_as: "Obtained as",
    session_name: "Session name",
    source: "Source",
    user_agent: "User agent",
    region: "Region",
    verdict_told: |verdict, severity| format!("{verdict}, {severity} if true"),
    probability: "Probability",
    attack_probability: |probability| format!("{probability} an attack"),
    without_models: |probability| format!("{probability} without any model’s part"),
    route: "Route",
    would_change_it: "Would change it",
    no_change: "No single change of the evidence that was tried gives another verdict.",
    for_an_attack: "For an attack",
    against: "Against",
    nothing_for: "Nothing speaks for an attack.",
    nothing_against: "Nothing speaks for an innocent cause.",
    weaker: |reasons| format!("and {} weaker", count(reasons)),
    set_aside: "Set aside",
    rejected: "Claims that did not survive the check",
    rejected_label: "rejected",
    claimed: (" claimed ", ": "),
    by_code: "established by code",
    attack_techniques: "ATT&CK techniques",
    what_fired: |rules| format!("What fired: {}, why each matters, known innocent causes", counted(rules, "rule")),
    innocent_causes: "Innocent causes: ",
    answered_by: "answered by",
    digest: "SHA-256 of the frozen evidence",
    code_alone: "code alone",
    all_roles: ("", " brains in all roles"),

    response: "Proposed response",
    no_step: "No step of the menu fits what the evidence names.",
    prepared: "Prepared, not carried out. Best step first.",
    kept_first: "First kept, so that the step can be taken back",
    affects: "Affects",
    undo: "Undo",
    undo_calls: "The calls that take it back",
    note: "Note",
    as_json: "The same call as JSON",
    calls: "Calls",
    more_steps: |steps| format!("and {} in the report", counted(steps, "more step")),
    exact_call_elsewhere: "exact call in --report and --cases",

    evidence: "Evidence",
    strongest_signals: |shown, total, rest| {
        format!(
            "The {} strongest of {}, in time; the other {} are named by event id in the file that --cases FILE writes.",
            count(shown),
            counted(total, "signal"),
            count(rest)
        )
    },
    number: "No.",
    time: "Time",
    call: "Call",
    outcome: "Outcome",
    touched: "Touched",
    detections: "Detections",
    succeeded: "succeeded",
    denied: "denied",
    failed: "failed",
    created: "new ",
    one_record: "Record, parameters",
    records_shown: |records| format!("The {} records, parameters", count(records)),
    event_id: "event",
    score: "score",
    account: "account",
    credential_label: "credential",
    agent: "agent",
    aws_answered: "AWS answered: ",
    left_out: "Parameters left out to keep this file small; the event id finds them in the log.",

    how_to_read: "How to read this",
    glossary: GLOSSARY,
    limits: "Limits",
    limits_told: limits,

    head_severity: "SEVERITY",
    head_verdict: "VERDICT",
    head_attack: "ATTACK",
    head_when: "WHEN (UTC)",
    head_who: "WHO",
    head_account: "ACCOUNT",
    head_what: "WHAT, TECHNIQUES",
    label_who: "who",
    label_for: "for",
    label_against: "against",
    label_set_aside: "aside",
    label_changes: "changes",
    label_propose: "propose",
    label_route: "route",
    none_read: "No event could be read, so nothing was judged.",
    none_notable: "No case at medium severity or above.",
    looked_at: |events, rules| {
        format!(
            "Looked at {} with {} and first-seen checks. What CloudTrail did not record, or was not given, cannot be seen.",
            counted(events, "event"),
            counted(rules, "rule")
        )
    },
    unlisted: |cases| {
        format!("{} at medium or above not listed here; --cases FILE writes all.", counted(cases, "further case"))
    },
    below_medium: |cases| {
        format!("{} below medium; --cases FILE and --report FILE.html have them.", counted(cases, "case"))
    },
    routine: |periods| format!("{} of routine changes alone made no case.", counted(periods, "period")),

    reason: "Reason",
    weight_head: "Weight",
    events_head: "Events",
    claimed_by: "Claimed by",
    further_events: |events| format!("{} further events belong to the case.", count(events)),
    nothing: "None.",
};

const GLOSSARY: &[(&str, &str)] = &[
    (
        "Verdict",
        "malicious: the evidence says attack. suspicious: worth a look by a person. undecided: the evidence does not carry a \
         decision. benign: an innocent cause explains it.",
    ),
    (
        "Severity",
        "How bad it is if it is what it looks like, from informational to critical. Some acts, such as stopping a trail, have \
         a floor that nothing lowers.",
    ),
    (
        "Weight",
        "Log-odds: +0.7 doubles the odds that it is an attack, +2.3 makes them ten times, a minus sign divides alike.",
    ),
    (
        "What would change it",
        "Found by judging again: a detection, claim or circumstance was taken away, or groups of what the model looks at were \
         set to what is usual for the caller (or to unknown) and every event was scored again by the same model.",
    ),
    (
        "Evidence numbers",
        "E1, E2 … count the signals of one case in time. Event ids are CloudTrail’s own where a record has one, so they can be \
         looked up.",
    ),
    (
        "Spelled-out characters",
        "Names in a log may be written by an attacker. Characters that hide, reorder or control text are shown as \\u{202e} \
         instead of taking effect.",
    ),
    (
        "Plan",
        "A proposal. Nothing was changed in any account: the mode “dry run” means that the calls were only written down.",
    ),
];

fn limits(rules: u64, schema: u32, has_model: bool) -> String {
    let model = if has_model { ", by a model trained on generated logs," } else { "" };
    format!(
        "Judged by {} and the features of schema {schema}{model} on the logs given, and on nothing else. The model says \
         nothing of an account before it has a week of history.",
        counted(rules, "rule")
    )
}

fn footer(version: &str, schema: u32, model: Option<&str>) -> String {
    let model = model.map(|model| format!(" · model {model}")).unwrap_or_default();
    format!(
        "Trailwarden {version} · feature schema {schema}{model} · times are UTC · made without network; nothing in this file \
         loads or runs anything"
    )
}

fn attacks(cases: u64) -> String {
    let are = if cases == 1 { "is an attack" } else { "are attacks" };
    format!("{} {are}, as far as the evidence goes.", counted(cases, "case"))
}

fn need_a_look(cases: u64) -> String {
    let need = if cases == 1 { "needs" } else { "need" };
    format!("{} {need} a person’s look.", counted(cases, "case"))
}

/// `Disable access key`.
fn playbook(playbook: Playbook) -> String {
    let words = playbook.as_str().replace('_', " ");
    let (first, rest) = words.split_at(1);
    format!("{}{rest}", first.to_uppercase())
}

fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::T0 => "T0, needs nobody",
        Tier::T1 => "T1, narrow and reversible",
        Tier::T2 => "T2, one approver",
        Tier::T3 => "T3, two approvers",
    }
}

fn approvers(tier: Tier) -> &'static str {
    match tier {
        Tier::T0 => "any approver may order it; a change of the plan voids it",
        Tier::T1 | Tier::T2 => "one approver signs exactly these calls, for 30 minutes; a change of the plan voids it",
        Tier::T3 => "two approvers sign exactly these calls, for 30 minutes; a change of the plan voids it",
    }
}

fn work(work: Work) -> &'static str {
    match work {
        Work::Capture => "capture",
        Work::Join => "hold",
        Work::Inspect => "inspect",
        Work::Apply => "apply",
        Work::ReadBack => "read back",
        Work::Undo => "undo",
        Work::CheckUndone => "check",
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Intent => "intent: what was is kept, and it can be brought back",
        State::Applied => "applied",
        State::Verified => "verified: it stands",
        State::Undone => "undone: what was is back",
        State::Failed => "failed",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::DryRun => "dry run",
        Mode::Approval => "waits for approval",
        Mode::Auto => "automatic",
    }
}
