//! Models of every mood, and how their answers arrive.

use proptest::prelude::*;

use super::super::brain::{Claim, Lean, Opinion, Pick};
use super::super::exchange::{Ask, Message, Reply};
use super::super::predicate::{Predicate, Strength};
use super::super::{Brain, Negotiation, Role};

/// How a model answers for a role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    /// It does not.
    Absent,
    /// As code would, under its own name.
    Faithful,
    /// What the evidence grounds of innocent causes, leaning to them.
    Benign,
    /// And what it does not ground.
    BenignFalsely,
    /// What it grounds of attacks, leaning to one.
    Malicious,
    MaliciousFalsely,
    /// Some of what is grounded, as a mask has it, weakly.
    Partial,
    Garbage,
    Oversize,
    /// About other evidence.
    OtherEvidence,
    /// An answer to another question.
    OtherKind,
}

use Mood::{
    Absent, Benign, BenignFalsely, Faithful, Garbage, Malicious, MaliciousFalsely, OtherEvidence, OtherKind, Oversize,
    Partial,
};

/// Six roles' moods, and how their answers arrive.
#[derive(Clone, Debug)]
pub(super) struct Cast {
    pub(super) moods: [(Mood, u64); 6],
    /// Of the sealed opinions.
    pub(super) order: [usize; 3],
    /// Answers that nobody waits for come between those that are awaited.
    pub(super) noisy: bool,
}

pub(super) fn any_cast(moods: &'static [Mood]) -> impl Strategy<Value = Cast> {
    let orders = &[[0usize, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]][..];
    let mood = (prop::sample::select(moods), any::<u64>());
    (prop::array::uniform6(mood), prop::sample::select(orders), any::<bool>()).prop_map(|(moods, order, noisy)| Cast {
        moods,
        order,
        noisy,
    })
}

impl Mood {
    pub(super) fn answer(self, mask: u64, negotiation: &Negotiation, ask: &Ask) -> Message {
        let code = negotiation.deterministic_answer(ask);
        if self == Absent {
            return Message { reply: Reply::Missing, ..code };
        }
        let reply = match (code.reply, self) {
            (Reply::Opinion(_), OtherKind) => Reply::Lean(Lean::Benign),
            (_, OtherKind) => Reply::Opinion(Opinion::default()),
            (reply, Faithful) => reply,
            (Reply::Opinion(opinion), _) => Reply::Opinion(self.opinion(ask.role, mask, opinion)),
            (Reply::Rebuttal(mut plays), _) => {
                plays.retain(|_| self != Malicious && (self != Partial || mask & 1 == 0));
                Reply::Rebuttal(plays)
            }
            (Reply::Lean(_), Benign | BenignFalsely) => Reply::Lean(Lean::Benign),
            (Reply::Lean(_), Malicious | MaliciousFalsely) => Reply::Lean(Lean::Malicious),
            (Reply::Lean(_), _) => Reply::Lean(Lean::Abstain),
            (Reply::Choice(mut picks), _) => {
                let named = Pick { playbook: "disable_access_key".to_owned(), target: format!("R{}", mask % 9) };
                let times = if self == Oversize { 40 } else { usize::from(self != Partial) };
                picks.extend(std::iter::repeat_n(named, times));
                Reply::Choice(picks)
            }
            (Reply::Missing, Garbage) => Reply::Sentence("\u{1b}[2J http://example.com \u{202e}".to_owned()),
            (Reply::Missing, Oversize) => Reply::Sentence("P1 ".repeat(5_000)),
            (reply, _) => reply,
        };
        Message { brain: Brain::Llm("any".to_owned()), reply, ..code }
    }

    fn opinion(self, role: Role, mask: u64, code: Opinion) -> Opinion {
        let Opinion { evidence_digest, mut claims, techniques, .. } = code;
        let claim = |name: &str| Claim {
            predicate: name.to_owned(),
            evidence: vec!["E1".to_owned()],
            strength: Strength::Strong,
        };
        let owned = Predicate::ALL.iter().filter(|predicate| predicate.owner() == role);
        let is_benign = |name: &str| Predicate::named(name).is_some_and(Predicate::is_benign);
        let side = matches!(self, Benign | BenignFalsely);
        match self {
            Benign | Malicious => claims.retain(|claim| is_benign(&claim.predicate) == side),
            BenignFalsely | MaliciousFalsely => {
                claims.retain(|claim| is_benign(&claim.predicate) == side);
                claims.extend(owned.filter(|predicate| predicate.is_benign() == side).map(|it| claim(it.name())));
            }
            Partial => {
                let mut place = 0;
                claims.retain(|_| {
                    place += 1;
                    mask >> (place % 64) & 1 == 1
                });
                claims.iter_mut().for_each(|claim| claim.strength = Strength::Weak);
            }
            Garbage => {
                claims = vec![
                    claim("\u{0}approved"),
                    claim(""),
                    Claim { evidence: vec!["E0".into()], ..claim("mfa_session") },
                ]
            }
            Oversize => {
                let long = Claim { evidence: vec!["E1".to_owned(); 300], ..claim(&"x".repeat(20_000)) };
                claims.extend(std::iter::repeat_n(long, 50));
            }
            _ => {}
        }
        let evidence_digest = if self == OtherEvidence { "0".repeat(64) } else { evidence_digest };
        Opinion { evidence_digest, claims, abstain: false, techniques }
    }
}
