//! English. A claim's sentences stand with the vocabulary itself ([`Predicate::definition`]).

use super::english_features;
use crate::feature::Feature;
use crate::level::{Severity, Verdict};
use crate::negotiation::group::Group;
use crate::negotiation::predicate::Predicate;
use crate::negotiation::said::{
    Change, Counterfactual, Deeds, Hold, Measured, Place, Rests, Said, Subject, Summary, Told,
};
use crate::negotiation::unusual::Way;
use crate::negotiation::{Role, Route, rebuttal};

pub(super) fn summary(summary: &Summary) -> String {
    let Told { subject: who, deeds: what, place: at, others } = match summary {
        Summary::Nothing => return "The case holds no event.".to_owned(),
        Summary::Written(text) => return text.clone(),
        Summary::Told(told) => told,
    };
    let others = match others {
        0 => String::new(),
        1 => "; one other principal took part".to_owned(),
        others => format!("; {others} other principals took part"),
    };
    format!("{} {}{}{others}.", subject(who), deeds(what), place(at))
}

fn subject(subject: &Subject) -> String {
    let mfa = |mfa: &bool| if *mfa { "with MFA" } else { "without MFA" };
    match subject {
        Subject::Root => "The root user".to_owned(),
        Subject::LongTermKey { user, mfa: has } => format!("A long-term key of IAM user {user}, {},", mfa(has)),
        Subject::TemporaryKey { user, mfa: has } => format!("A temporary key of IAM user {user}, {},", mfa(has)),
        Subject::Console { user, mfa: has } => format!("IAM user {user}, in the console {},", mfa(has)),
        Subject::User(user) => format!("IAM user {user}"),
        Subject::Instance(role) => format!("An instance's credentials of role {role}"),
        Subject::RoleSession(role) => format!("A session of role {role}"),
        Subject::AwsService(service) => format!("The AWS service {service}"),
        Subject::OtherAccount(principal) => format!("A caller of another account, {principal},"),
        Subject::Federated(user) => format!("The federated user {user}"),
        Subject::Unknown => "A caller that the records do not name".to_owned(),
    }
}

fn place(place: &Place) -> String {
    match place {
        Place::Unknown => String::new(),
        Place::Account(account) => format!(" in account {account}"),
        Place::Accounts(accounts) => format!(" in {accounts} accounts"),
    }
}

fn deeds(deeds: &Deeds) -> String {
    match deeds {
        Deeds::Done { succeeded, tried, further } => done(succeeded, tried, *further),
        Deeds::Raised { detections: 1, strongest } => format!("raised the detection “{strongest}”"),
        Deeds::Raised { detections, strongest } => {
            format!("raised {detections} detections, the strongest “{strongest}”,")
        }
        Deeds::StandsOut(ways) if ways.is_empty() => "made calls that stand out from the ordinary".to_owned(),
        Deeds::StandsOut(ways) => {
            let ways: Vec<&str> = ways.iter().map(|way| self::way(*way)).collect();
            format!("made calls that stand out: {},", listed(&ways))
        }
    }
}

fn done(succeeded: &[Predicate], tried: &[Predicate], further: u32) -> String {
    let mut parts: Vec<String> = succeeded.iter().map(|deed| deed.definition().done.to_owned()).collect();
    let tried: Vec<&str> = tried.iter().map(|deed| deed.definition().tried).collect();
    if !tried.is_empty() {
        let tail = if parts.is_empty() { " (all refused or failed)" } else { " (refused or failed)" };
        parts.push(format!("tried to {}{tail}", listed(&tried)));
    }
    match further {
        0 => {}
        1 => parts.push("took one further step".to_owned()),
        further => parts.push(format!("took {further} further steps")),
    }
    listed(&parts)
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Network => "from an unusual network",
        Way::Program => "with an unusual program",
        Way::Region => "in an unusual region",
        Way::Targets => "on things it rarely touches",
        Way::Calls => "on services or APIs it rarely uses",
        Way::Hour => "at an unusual hour",
        Way::Refusals => "with unusually many refusals",
        Way::Young => "soon after it first appeared",
        Way::Pace => "at an unusual pace",
    }
}

/// `a`, `a and b`, `a, b and c`.
fn listed<T: AsRef<str>>(parts: &[T]) -> String {
    let parts: Vec<&str> = parts.iter().map(AsRef::as_ref).collect();
    match parts.as_slice() {
        [] => String::new(),
        [only] => (*only).to_owned(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

pub(super) fn claim(predicate: Predicate) -> &'static str {
    predicate.definition().sentence
}

pub(super) fn reason(said: &Said) -> String {
    match said {
        Said::Claim { predicate, detections } if detections.is_empty() => claim(*predicate).to_owned(),
        Said::Claim { predicate, detections } => {
            let titles: Vec<String> = detections.iter().map(|title| format!("“{title}”")).collect();
            format!("{} (Detected by {}.)", claim(*predicate), listed(&titles))
        }
        Said::Detected { title } => format!("Detected: {title}."),
        Said::Learned { score_milli, moved_by } => {
            let score = f64::from(*score_milli) / 1000.0;
            let told: Vec<String> = moved_by.iter().map(measured).collect();
            match told.as_slice() {
                [] => format!("The event that stands out most scores {score:.2}."),
                told => format!("The event that stands out most scores {score:.2}, mostly for {}.", listed(told)),
            }
        }
        Said::SetAside { claim, by } => format!("Set aside: {}", undercut(*claim, *by)),
        Said::Leans { to_attack: true } => "The judge leans to an attack.".to_owned(),
        Said::Leans { to_attack: false } => "The judge leans to an innocent cause.".to_owned(),
    }
}

pub(super) fn undercut(fallen: Predicate, by: Predicate) -> String {
    format!("{} Yet {}.", claim(fallen), rebuttal::why(by, fallen))
}

pub(super) fn measured(measured: &Measured) -> String {
    let label = feature(measured.feature);
    let weight = f64::from(measured.weight_milli) / 1000.0;
    let Some(value) = measured.value_milli.map(|milli| f64::from(milli) / 1000.0) else {
        return format!("{label} (unknown, {weight:+.1})");
    };
    let digits = if value.fract() == 0.0 { 0 } else { 1 };
    match measured.feature.definition().unit {
        "code" => format!("{label} ({weight:+.1})"),
        "0 or 1" => format!("{label} ({}, {weight:+.1})", if value > 0.0 { "yes" } else { "no" }),
        "ratio" => format!("{label} ({value:.2}, {weight:+.1})"),
        "s" => format!("{label} ({}, {weight:+.1})", duration(value)),
        unit => format!("{label} ({value:.digits$} {unit}, {weight:+.1})"),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0} s"),
        s if s < 7_200.0 => format!("{:.0} min", s / 60.0),
        s if s < 172_800.0 => format!("{:.0} h", s / 3_600.0),
        s => format!("{:.0} days", s / 86_400.0),
    }
}

pub(super) fn feature(feature: Feature) -> &'static str {
    english_features::label(feature)
}

pub(super) fn counterfactual(found: &Counterfactual) -> String {
    let (change, verdict, severity) = match found {
        Counterfactual::NotWithThree => {
            return "No single detection, claim or circumstance decides this, and no three groups of features change it."
                .to_owned();
        }
        Counterfactual::NotEvenAll => {
            return "No single detection, claim or circumstance decides this, and it would stand if all that the model \
                looks at were as usual."
                .to_owned();
        }
        Counterfactual::Gives { change, verdict, severity } => (change, verdict, severity),
    };
    let change = match change {
        Change::WithoutDetection(title) => format!("Without the detection “{title}”"),
        Change::WithoutClaim(predicate) => {
            format!("Were it not so that “{}”,", claim(*predicate).trim_end_matches('.'))
        }
        Change::WithMfa => "Had the session been opened with MFA,".to_owned(),
        Change::AsAutomation(name) => format!("Had the operator named {name} as automation,"),
        Change::AsUsual(groups) => {
            let groups: Vec<&str> = groups.iter().map(|one| group(*one)).collect();
            format!("With {}", listed(&groups))
        }
    };
    format!("{change} this would be {verdict} ({severity}).")
}

pub(super) fn group(group: Group) -> &'static str {
    match group {
        Group::Source => "a usual source address",
        Group::Program => "a usual program",
        Group::Region => "a usual region",
        Group::Calls => "calls that are usual for the caller",
        Group::Targets => "targets that it usually touches",
        Group::Hour => "no known hour",
        Group::Rhythm => "no known rhythm",
        Group::Rate => "an ordinary rate",
        Group::Variety => "an ordinary variety of calls and targets",
        Group::Refusals => "no refused calls",
        Group::Session => "an ordinary session",
        Group::Age => "a caller known for a week",
    }
}

fn rests(rests: Rests, kind: &str) -> String {
    let labelled =
        |cases: u32| if cases == 1 { format!("one labelled {kind}") } else { format!("{cases} labelled {kind}s") };
    match rests {
        Rests::ByHand => "set by hand".to_owned(),
        Rests::OnLabelled { cases } => format!("from {}", labelled(cases)),
        Rests::Unlabelled => "no labelled cases, and no bound set by the operator".to_owned(),
        Rests::TooFew { cases, of } => {
            format!("{} of the {of} that it takes, and no bound set by the operator", labelled(cases))
        }
        Rests::Unkept { cases } => format!("{} allow none, and the operator set none", labelled(cases)),
    }
}

pub(super) fn hold(hold: &Hold) -> String {
    let bound = |percent: u8| f64::from(percent) / 100.0;
    let (attacks, benign) = (|on| rests(on, "attack"), |on| rests(on, "benign case"));
    match *hold {
        Hold::NothingCloses { rests } => format!("nothing is closed without a person ({})", attacks(rests)),
        Hold::NotClosed { bound_percent, rests } => {
            format!("not closed under the bound of {:.2}, {}", bound(bound_percent), attacks(rests))
        }
        Hold::NothingActs { rests } => format!("no step is taken without a person ({})", benign(rests)),
        Hold::NotAbove { bound_percent, rests } => {
            format!("not above the bound of {:.2} for automatic steps, {}", bound(bound_percent), benign(rests))
        }
        Hold::NoNarrowStep => "no narrow, reversible step fits".to_owned(),
        Hold::Verdict(verdict) => format!("the verdict is {verdict}"),
        Hold::Raised => "what was raised at first sight is closed by a person alone".to_owned(),
        Hold::Listed => "what the model itself lists is closed by a person alone".to_owned(),
        Hold::Floor(floor) => format!("policy sets severity to at least {floor}"),
        Hold::Instructions => "a text written by a caller has the form of instructions".to_owned(),
        Hold::FalseClaim => "a role claimed what the evidence does not show".to_owned(),
    }
}

pub(super) fn route(route: &Route) -> String {
    match route {
        Route::Closed => "Closed without a person.".to_owned(),
        Route::Automatic => "A narrow, reversible step may be taken without a person.".to_owned(),
        Route::Person { why } => {
            format!("To a person: {}.", why.iter().map(hold).collect::<Vec<_>>().join("; "))
        }
    }
}

pub(super) fn severity(severity: Severity) -> &'static str {
    severity.as_str()
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Insufficient => "undecided",
        verdict => verdict.as_str(),
    }
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Analysis => "analysis",
        Role::Context => "context",
        Role::Sceptic => "sceptic",
        Role::Judge => "judge",
        Role::Responder => "responder",
        Role::Reporter => "reporter",
    }
}

pub(super) fn finding(finding: &str) -> String {
    match finding {
        "ungrounded" => "the evidence does not show it".to_owned(),
        "contradicted" => "the evidence shows the opposite".to_owned(),
        "unknown" => "nothing tells whether it is so".to_owned(),
        "malformed" => "not in the form that was asked for".to_owned(),
        other => other.to_owned(),
    }
}
