//! The negotiation itself: a state machine that is fed answers and says what to ask next, until it concludes.
//!
//! It contains no model, no clock and no I/O: the same messages give the same judgement, in whatever order sealed
//! opinions arrive. A role that does not answer, or not in form, is stood in for by its deterministic brain.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::brain::{self, Lean, PICKS_MAX, Standing};
use super::check::{Finding, Findings};
use super::counterfactual::{self, Concluded, Rescorer};
use super::evidence::{Evidence, EvidencePack, sha256_hex};
use super::exchange::{Ask, Message, Question, Reply, Step};
use super::freeze::Handles;
use super::handle::Handle;
use super::opinion::{grounded, rejection};
use super::pool::{self, Prior};
use super::predicate::Predicate;
use super::rebuttal::{self, ATTACKS_PER_REBUTTAL_MAX, Attack};
use super::report;
use super::response::{self, ACTIONS_MAX, PlanOption};
use super::route::{Outcome, route};
use super::said::{Counterfactual, Said, Summary};
use super::terms::Pooled;
use super::{Basis, Brain, Judgement, Reason, RejectedClaim, Role, Terms};
use crate::level::{Severity, Verdict};
use crate::plan::{Action, Plan};

/// Roles that give a sealed opinion, in the order in which they are read.
const SEALED: [Role; 3] = [Role::Analysis, Role::Context, Role::Sceptic];
/// Who may choose among its attacks. Analysis's are always played: a model that kept one back would let an innocent claim of
/// another role stand, and lower a case by more than its own cap.
const CHOOSING: Role = Role::Sceptic;

/// A sealed opinion after the check.
#[derive(Clone, Debug)]
struct Checked {
    brain: Brain,
    standing: Vec<Standing>,
    rejected: Vec<RejectedClaim>,
}

/// What a role played in the rebuttal.
#[derive(Clone, Debug)]
struct Rebutted {
    brain: Brain,
    played: Vec<Attack>,
    rejected: Vec<RejectedClaim>,
}

/// What the claims and the lean amount to.
#[derive(Clone, Debug)]
struct Decision {
    standing: Vec<Standing>,
    /// By roles, in log-odds.
    added: f64,
    probability: f64,
    severity: Severity,
    verdict: Verdict,
    options: Vec<PlanOption>,
}

/// A negotiation about one case.
#[derive(Debug)]
pub struct Negotiation {
    pack: EvidencePack,
    handles: Handles,
    terms: Terms,
    rescorer: Option<Arc<dyn Rescorer>>,
    findings: Findings,
    prior: Prior,
    probability_deterministic: f64,
    /// What roles add to that, in log-odds.
    added_deterministic: f64,
    /// Open questions, by role, with the digest that the answer must carry.
    open: BTreeMap<Role, String>,
    opinions: BTreeMap<Role, Checked>,
    /// `None` until the sealed opinions are in.
    rebuttals: Option<BTreeMap<Role, Rebutted>>,
    lean: Option<(Brain, Lean)>,
    decision: Option<Decision>,
    plan: Option<(Option<Brain>, Vec<Action>, Vec<RejectedClaim>)>,
    ignored: u32,
}

impl Negotiation {
    /// Opens a negotiation: the sealed opinions are asked for first.
    pub fn open(pack: EvidencePack, handles: Handles, terms: impl Into<Terms>) -> (Self, Vec<Ask>) {
        let terms = terms.into();
        let findings = Findings::of(pack.evidence());
        let prior = Prior::under(pack.evidence(), &terms);
        let standing = brain::all_claims(pack.evidence(), &findings);
        let mut negotiation = Self {
            probability_deterministic: pool::probability(&prior, &standing, 0.0),
            added_deterministic: pool::added(&prior, &standing, 0.0),
            pack,
            handles,
            terms,
            rescorer: None,
            findings,
            prior,
            open: BTreeMap::new(),
            opinions: BTreeMap::new(),
            rebuttals: None,
            lean: None,
            decision: None,
            plan: None,
            ignored: 0,
        };
        let asks = SEALED.into_iter().map(|role| negotiation.ask(role, Question::Opinion)).collect();
        (negotiation, asks)
    }

    /// The same, with somebody who scores the case again where the counterfactual asks.
    #[must_use]
    pub fn with_rescorer(self, rescorer: Arc<dyn Rescorer>) -> Self {
        Self { rescorer: Some(rescorer), ..self }
    }

    pub fn pack(&self) -> &EvidencePack {
        &self.pack
    }

    /// What stage one alone makes of the case, before any role speaks: its probability, and the severity that this and the
    /// case's detections give.
    pub fn stage_one(&self) -> (f64, Severity) {
        pool::stage_one(self.pack.evidence())
    }

    /// Messages that answered no open question: second answers, wrong digests, answers after the end.
    pub fn ignored(&self) -> u32 {
        self.ignored
    }

    /// Takes an answer; returns what to do next (nothing while other sealed opinions are awaited).
    pub fn apply(&mut self, message: Message) -> Vec<Step> {
        if self.open.get(&message.role) != Some(&message.input_digest) {
            self.ignored = self.ignored.saturating_add(1);
            return Vec::new();
        }
        self.open.remove(&message.role);
        match message.role {
            Role::Analysis | Role::Context | Role::Sceptic if self.rebuttals.is_none() => self.take_opinion(message),
            Role::Analysis | Role::Context | Role::Sceptic => self.take_rebuttal(message),
            Role::Judge => self.take_lean(message),
            Role::Responder => self.take_choice(message),
            Role::Reporter => return vec![Step::Concluded(Box::new(self.judgement(message)))],
        }
        self.advance()
    }

    /// What the deterministic brain answers to a question of this negotiation.
    pub fn deterministic_answer(&self, ask: &Ask) -> Message {
        let reply = match &ask.question {
            Question::Opinion => Reply::Opinion(brain::opinion(ask.role, &self.pack, &self.findings)),
            Question::Rebut(open) => Reply::Rebuttal(brain::rebuttal(open)),
            Question::Lean(standing) => Reply::Lean(brain::lean(standing)),
            Question::Choose(options) => Reply::Choice(response::picks(options)),
            Question::Report(_) => Reply::Missing,
        };
        Message { role: ask.role, brain: Brain::Deterministic, input_digest: ask.input_digest.clone(), reply }
    }

    fn ask(&mut self, role: Role, question: Question) -> Ask {
        let shown: String = match &question {
            Question::Opinion => String::new(),
            Question::Rebut(open) => {
                open.iter().map(|attack| format!("{} on {};", attack.by.name(), attack.on.name())).collect()
            }
            Question::Lean(standing) | Question::Report(standing) => standing.iter().map(cited).collect(),
            Question::Choose(options) => {
                options.iter().map(|option| format!("{} {};", option.playbook.as_str(), option.target)).collect()
            }
        };
        let role_name = format!("{role:?}");
        let input_digest = sha256_hex(&[self.pack.digest().as_bytes(), role_name.as_bytes(), shown.as_bytes()]);
        self.open.insert(role, input_digest.clone());
        Ask { role, input_digest, question }
    }

    fn advance(&mut self) -> Vec<Step> {
        if self.opinions.len() < SEALED.len() {
            return Vec::new();
        }
        if self.rebuttals.is_none() {
            let asks = self.ask_for_rebuttals();
            if !asks.is_empty() {
                return asks;
            }
        }
        let Some((judge, lean)) = &self.lean else {
            let standing = self.surviving();
            return vec![Step::Ask(self.ask(Role::Judge, Question::Lean(standing)))];
        };
        if self.decision.is_none() {
            let decision = self.decide(lean_weight(judge, *lean));
            let options = decision.options.clone();
            self.decision = Some(decision);
            if !options.is_empty() {
                return vec![Step::Ask(self.ask(Role::Responder, Question::Choose(options)))];
            }
            self.plan = Some((None, Vec::new(), Vec::new()));
        }
        let standing = self.surviving();
        vec![Step::Ask(self.ask(Role::Reporter, Question::Report(standing)))]
    }

    /// Asks who may choose, where there is something to choose from.
    fn ask_for_rebuttals(&mut self) -> Vec<Step> {
        self.rebuttals = Some(BTreeMap::new());
        let own = self.open_to(CHOOSING);
        match own.is_empty() {
            true => Vec::new(),
            false => vec![Step::Ask(self.ask(CHOOSING, Question::Rebut(own)))],
        }
    }

    /// The attacks that a role may play.
    fn open_to(&self, role: Role) -> Vec<Attack> {
        let open = rebuttal::open(&self.standing(), self.pack.evidence());
        open.into_iter().filter(|attack| attack.side() == role).collect()
    }

    /// Grounded claims.
    fn standing(&self) -> Vec<Standing> {
        self.opinions.values().flat_map(|checked| checked.standing.iter().cloned()).collect()
    }

    fn played(&self) -> Vec<Attack> {
        let chosen = self.rebuttals.iter().flat_map(BTreeMap::values);
        let mut played: Vec<Attack> = chosen.flat_map(|rebutted| rebutted.played.iter().copied()).collect();
        played.extend(self.open_to(Role::Analysis));
        played
    }

    /// Grounded claims that stand after the rebuttal.
    fn surviving(&self) -> Vec<Standing> {
        rebuttal::surviving(&self.standing(), &self.played())
    }

    fn take_opinion(&mut self, message: Message) {
        let role = message.role;
        let (brain, opinion, mut rejected) = match message.reply {
            Reply::Opinion(opinion) if opinion.evidence_digest == self.pack.digest() => {
                (message.brain, opinion, Vec::new())
            }
            Reply::Missing => (Brain::Deterministic, brain::opinion(role, &self.pack, &self.findings), Vec::new()),
            _ => {
                let rejected = rejection(role, "the whole opinion", Finding::Malformed);
                (Brain::Deterministic, brain::opinion(role, &self.pack, &self.findings), vec![rejected])
            }
        };
        let standing = if opinion.abstain {
            Vec::new()
        } else {
            grounded(role, &opinion, self.pack.evidence(), &self.findings, &mut rejected)
        };
        self.opinions.insert(role, Checked { brain, standing, rejected });
    }

    fn take_rebuttal(&mut self, message: Message) {
        let role = message.role;
        let own = self.open_to(role);
        let (brain, plays) = match message.reply {
            Reply::Rebuttal(plays) => (message.brain, plays),
            _ => (Brain::Deterministic, brain::rebuttal(&own)),
        };
        let (mut played, mut rejected) = (Vec::new(), Vec::new());
        for play in plays.iter().take(ATTACKS_PER_REBUTTAL_MAX) {
            match own.iter().find(|attack| attack.by.name() == play.by && attack.on.name() == play.on) {
                Some(attack) if played.contains(attack) => {}
                Some(attack) => played.push(*attack),
                None => {
                    rejected.push(rejection(role, &format!("{} on {}", play.by, play.on), Finding::Ungrounded));
                }
            }
        }
        if let further @ 1.. = plays.len().saturating_sub(ATTACKS_PER_REBUTTAL_MAX) {
            rejected.push(rejection(role, &format!("{further} attacks over the limit"), Finding::Malformed));
        }
        self.rebuttals.get_or_insert_default().insert(role, Rebutted { brain, played, rejected });
    }

    fn take_lean(&mut self, message: Message) {
        self.lean = Some(match message.reply {
            Reply::Lean(lean) => (message.brain, lean),
            _ => (Brain::Deterministic, brain::lean(&self.surviving())),
        });
    }

    fn take_choice(&mut self, message: Message) {
        let options = self.decision.as_ref().map_or(&[][..], |decision| &decision.options);
        let (brain, picks) = match message.reply {
            Reply::Choice(picks) if !picks.is_empty() => (message.brain, picks),
            _ => (Brain::Deterministic, response::picks(options)),
        };
        let mut actions: Vec<Action> = Vec::new();
        let mut rejected = Vec::new();
        for pick in picks.iter().take(PICKS_MAX) {
            match response::action(pick, options, self.pack.evidence(), &self.handles) {
                Some(action) if actions.len() < ACTIONS_MAX && !actions.contains(&action) => actions.push(action),
                Some(_) => {}
                None => rejected.push(rejection(Role::Responder, &pick.playbook, Finding::Ungrounded)),
            }
        }
        if let further @ 1.. = picks.len().saturating_sub(PICKS_MAX) {
            rejected.push(rejection(Role::Responder, &format!("{further} steps over the limit"), Finding::Malformed));
        }
        self.plan = Some((Some(brain), actions, rejected));
    }

    fn decide(&self, judge: f64) -> Decision {
        let standing = self.surviving();
        let evidence = self.pack.evidence();
        let added = pool::added(&self.prior, &standing, judge);
        let probability = pool::probability(&self.prior, &standing, judge);
        let corroborated = pool::is_corroborated(&self.findings);
        let severity = pool::severity_under(&self.prior, evidence, corroborated, probability);
        let verdict =
            pool::verdict(evidence, severity, probability, self.probability_deterministic, &self.terms.bounds);
        let options = match verdict {
            Verdict::Malicious | Verdict::Suspicious => response::options(evidence, &self.handles),
            Verdict::Benign | Verdict::Insufficient => Vec::new(),
        };
        Decision { standing, added, probability, severity, verdict, options }
    }

    /// What would be concluded on other evidence, `without` one claim: deterministic roles look again, a model's claims stand
    /// where the predicate still does.
    fn conclude_on(&self, evidence: &Evidence, without: Option<Predicate>) -> (Verdict, Severity) {
        let findings = Findings::of(evidence);
        let prior = Prior::under(evidence, &self.terms);
        let all: Vec<Standing> = brain::grounded_claims(&findings);
        let stands = |claim: &Standing| Some(claim.predicate) != without;
        let mut deterministic = brain::all_claims(evidence, &findings);
        deterministic.retain(stands);
        let p_det = pool::probability(&prior, &deterministic, 0.0);
        let mut standing = Vec::with_capacity(all.len());
        for (role, checked) in &self.opinions {
            if checked.brain == Brain::Deterministic {
                standing.extend(all.iter().filter(|claim| claim.role == *role).cloned());
            } else {
                standing.extend(checked.standing.iter().filter(|claim| findings.holds(claim.predicate)).cloned());
            }
        }
        standing.retain(stands);
        let played = self.played_on(&standing, evidence);
        let standing = rebuttal::surviving(&standing, &played);
        let judge = self.lean.as_ref().map_or(0.0, |(brain, lean)| lean_weight(brain, *lean));
        let p = pool::probability(&prior, &standing, judge);
        let severity = pool::severity_under(&prior, evidence, pool::is_corroborated(&findings), p);
        (pool::verdict(evidence, severity, p, p_det, &self.terms.bounds), severity)
    }

    /// What would be played on other evidence: all that may be, by a side for which code answered; of what a model played,
    /// what still may be.
    fn played_on(&self, standing: &[Standing], evidence: &Evidence) -> Vec<Attack> {
        let by_model = |role: Role| {
            let rebutted = self.rebuttals.as_ref()?.get(&role)?;
            (rebutted.brain != Brain::Deterministic).then_some(&rebutted.played)
        };
        let is_played = |attack: &Attack| by_model(attack.side()).is_none_or(|played| played.contains(attack));
        rebuttal::open(standing, evidence).into_iter().filter(is_played).collect()
    }

    fn judgement(&mut self, message: Message) -> Judgement {
        let evidence = self.pack.evidence();
        let decision = match self.decision.take() {
            Some(decision) => decision,
            None => self.decide(0.0),
        };
        let (responder, actions, unplanned) = self.plan.take().unwrap_or_default();
        let told = match &message.reply {
            Reply::Sentence(text) => {
                report::sentence(text, &self.handles).map(|text| (message.brain, Summary::Written(text)))
            }
            _ => None,
        };
        let (reporter, summary) = told
            .unwrap_or_else(|| (Brain::Deterministic, report::summary(evidence, &self.handles, &decision.standing)));
        let mut rejected: Vec<RejectedClaim> =
            self.opinions.values().flat_map(|checked| checked.rejected.iter().cloned()).collect();
        let rebuttals = self.rebuttals.iter().flat_map(BTreeMap::values);
        rejected.extend(rebuttals.flat_map(|rebutted| rebutted.rejected.iter().cloned()));
        rejected.extend(unplanned);
        let mut reasons = report::reasons(evidence, &self.handles, &self.prior, &decision.standing);
        reasons.extend(report::set_aside(evidence, &self.handles, &self.standing(), &self.played()));
        reasons.extend(self.judges_reason());
        report::sort(&mut reasons);
        let mut brains: Vec<(Role, Brain)> =
            self.opinions.iter().map(|(role, checked)| (*role, checked.brain.clone())).collect();
        brains.extend(self.lean.iter().map(|(brain, _)| (Role::Judge, brain.clone())));
        brains.extend(responder.map(|brain| (Role::Responder, brain)));
        brains.push((Role::Reporter, reporter));
        let route = route(
            evidence,
            &self.terms.bounds,
            &Outcome {
                verdict: decision.verdict,
                probability: decision.probability,
                probability_deterministic: self.probability_deterministic,
                has_sceptic_model: brains
                    .iter()
                    .any(|(role, brain)| *role == Role::Sceptic && *brain != Brain::Deterministic),
                actions: &actions,
                rejected: &rejected,
            },
        );
        Judgement {
            case_id: self.handles.case_id.clone(),
            verdict: decision.verdict,
            severity: decision.severity,
            probability: decision.probability,
            probability_deterministic: self.probability_deterministic,
            summary,
            reasons,
            techniques: self.handles.techniques.clone(),
            route,
            counterfactual: self.counterfactual(&decision),
            rejected,
            plan: Plan { actions },
            brains,
            evidence_digest: self.pack.digest().to_owned(),
            basis: self.basis(decision.added),
        }
    }

    fn basis(&self, added: f64) -> Basis {
        let Terms { bounds, model, calibration, .. } = &self.terms;
        let evidence = self.pack.evidence();
        Basis {
            terms: self.terms.name(),
            model: model.as_deref().map(str::to_owned),
            calibration: calibration.as_deref().map(str::to_owned),
            bounds: *bounds,
            pooled: Pooled {
                prior: self.prior.log_odds_unrefitted(),
                roles: added,
                roles_deterministic: self.added_deterministic,
                is_fitted: self.prior.is_fitted(),
                may_close: pool::may_close(evidence),
                may_act: pool::may_act(evidence, pool::is_corroborated(&self.findings)),
            },
        }
    }

    fn counterfactual(&self, decision: &Decision) -> Option<Counterfactual> {
        let case = Concluded {
            evidence: self.pack.evidence(),
            handles: &self.handles,
            standing: &decision.standing,
            verdict: decision.verdict,
        };
        let conclude = |changed: &Evidence, without| self.conclude_on(changed, without);
        counterfactual::find(&case, self.rescorer.as_deref(), &conclude)
    }

    fn judges_reason(&self) -> Option<Reason> {
        let (brain, lean) = self.lean.as_ref()?;
        let weight = lean_weight(brain, *lean);
        let to_attack = match lean {
            Lean::Benign => false,
            Lean::Malicious => true,
            Lean::Suspicious | Lean::Abstain => return None,
        };
        (weight != 0.0).then(|| Reason {
            said: Said::Leans { to_attack },
            weight,
            event_ids: Vec::new(),
            role: Some(Role::Judge),
        })
    }
}

/// A deterministic lean weighs nothing: see [`brain::lean`].
fn lean_weight(brain: &Brain, lean: Lean) -> f64 {
    if *brain == Brain::Deterministic { 0.0 } else { pool::lean_weight(lean) }
}

fn cited(claim: &Standing) -> String {
    let handles: Vec<String> = claim.evidence.iter().map(Handle::to_string).collect();
    format!("{} {:?} {};", claim.predicate.name(), claim.strength, handles.join(","))
}
