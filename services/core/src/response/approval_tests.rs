use serde_json::json;

use super::*;
use crate::plan::Playbook;
use crate::resource::Resource;

const NOW: Timestamp = Timestamp::from_millis(1_700_000_000_000);

/// Signs by repeating the key and the message: enough to tell whose it is and over what.
struct Toy;

fn toy_signature(key: &[u8], message: &[u8]) -> Vec<u8> {
    [key, message].concat()
}

impl Verify for Toy {
    fn verify(&self, public_key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        signature == toy_signature(public_key, message)
    }
}

fn key(name: &str) -> [u8; 32] {
    let mut key = [0; 32];
    key[..name.len()].copy_from_slice(name.as_bytes());
    key
}

fn registry() -> Registry {
    let approver = |name: &str, tiers: &[Tier]| Approver {
        name: name.to_owned(),
        public_key: super::super::hex(&key(name)),
        tiers: tiers.iter().copied().collect(),
    };
    let all = [Tier::T1, Tier::T2, Tier::T3];
    Registry::new(vec![approver("ann", &all), approver("bob", &all), approver("cyd", &[Tier::T1])]).expect("a registry")
}

fn proposal(playbook: Playbook) -> String {
    let target = Resource {
        kind: playbook.target_kind(),
        account: "111122223333".to_owned(),
        region: String::new(),
        id: "alice".to_owned(),
        created: false,
    };
    let step = ProposedStep {
        action: Action::proposed(playbook, target),
        spelled: json!({}),
        supplied: BTreeMap::new(),
        rehearsed: None,
    };
    let proposal = Proposal {
        tenant: "default".to_owned(),
        case: "c1".to_owned(),
        requester: "council".to_owned(),
        reference_time: NOW,
        lease_ms: MINUTE_MS,
        steps: vec![step],
    };
    serde_json::to_string(&proposal).expect("writes")
}

fn order(text: &str, approver: &str) -> Order {
    Order {
        intent: Intent::Approve,
        tenant: "default".to_owned(),
        case: "c1".to_owned(),
        proposal: digest(text.as_bytes()),
        approver: approver.to_owned(),
        reason: "seen".to_owned(),
        signed_at: NOW,
        expires_at: NOW.plus_ms(APPROVAL_MS),
        nonce: format!("{approver}0123456789abcdef"),
    }
}

fn signed(order: &Order) -> SignedOrder {
    let (text, bytes) = order.to_sign();
    SignedOrder { order: text, signature: super::super::hex(&toy_signature(&key(&order.approver), &bytes)) }
}

fn admit(text: &str, orders: &[SignedOrder]) -> Result<Vec<String>, Refusal> {
    admit_with(text, orders, &BTreeSet::new(), false)
}

fn admit_with(
    text: &str,
    orders: &[SignedOrder],
    used: &BTreeSet<String>,
    two_key: bool,
) -> Result<Vec<String>, Refusal> {
    let registry = registry();
    gate(&registry, used, NOW).admit(text, orders, &planned(), two_key).map(|approved| approved.approvers().to_vec())
}

fn gate<'a>(registry: &'a Registry, used: &'a BTreeSet<String>, at: Timestamp) -> Gate<'a> {
    Gate { tenant: "default", registry, verify: &Toy, used, at }
}

/// The council planned each step of these tests.
fn planned() -> Origin {
    let of = |text: &str| serde_json::from_str::<Proposal>(text).expect("a proposal").steps.remove(0).action;
    let all = [Playbook::TagUser, Playbook::QuarantineUserSoft, Playbook::QuarantineUserHard, Playbook::ScpQuarantine];
    Origin { planned: all.iter().map(|playbook| of(&proposal(*playbook))).collect(), askers: BTreeSet::new() }
}

#[test]
fn tiers_ask_for_as_many_as_they_say() {
    let (t0, t1) = (proposal(Playbook::TagUser), proposal(Playbook::QuarantineUserSoft));
    let (t2, t3) = (proposal(Playbook::QuarantineUserHard), proposal(Playbook::ScpQuarantine));
    let by = |text: &str, who: &str| signed(&order(text, who));
    assert_eq!(admit(&t0, &[]), Ok(vec![]));
    assert_eq!(admit(&t0, &[by(&t0, "cyd")]), Ok(vec!["cyd".to_owned()]));
    assert_eq!(admit(&t1, &[]), Err(Refusal::Missing { have: 0, need: 1 }));
    assert_eq!(admit_with(&t1, &[], &BTreeSet::new(), true), Ok(vec![]));
    assert_eq!(admit(&t1, &[by(&t1, "cyd")]), Ok(vec!["cyd".to_owned()]));
    assert_eq!(admit_with(&t2, &[], &BTreeSet::new(), true), Err(Refusal::Missing { have: 0, need: 1 }));
    assert_eq!(admit(&t2, &[by(&t2, "ann")]), Ok(vec!["ann".to_owned()]));
    assert_eq!(admit(&t3, &[by(&t3, "ann")]), Err(Refusal::Missing { have: 1, need: 2 }));
    assert_eq!(admit(&t3, &[by(&t3, "ann"), by(&t3, "bob")]), Ok(vec!["ann".to_owned(), "bob".to_owned()]));
    let twice = Order { nonce: "another0123456789".to_owned(), ..order(&t3, "ann") };
    assert_eq!(admit(&t3, &[by(&t3, "ann"), signed(&twice)]), Err(Refusal::Missing { have: 1, need: 2 }));
    assert!(matches!(admit(&t2, &[by(&t2, "cyd")]), Err(Refusal::Beyond { .. })));
}

#[test]
fn a_tier_that_a_plan_claims_too_low_is_its_playbooks() {
    let text = proposal(Playbook::ScpQuarantine).replace("\"tier\":\"T3\"", "\"tier\":\"T0\"");
    assert!(text.contains("\"T0\""));
    assert_eq!(admit(&text, &[]), Err(Refusal::Missing { have: 0, need: 2 }));
}

#[test]
fn forged_stale_replayed_changed_and_self_approved_orders_fail() {
    let text = proposal(Playbook::QuarantineUserHard);
    let good = order(&text, "ann");
    let who = || "ann".to_owned();
    let check = |order: &Order, expect: Refusal| assert_eq!(admit(&text, &[signed(order)]), Err(expect));

    let mut forged = signed(&good);
    forged.order = forged.order.replace("\"seen\"", "\"sees\"");
    assert_eq!(admit(&text, &[forged]), Err(Refusal::Forged(who())));
    let by_another = SignedOrder { signature: signed(&order(&text, "bob")).signature, ..signed(&good) };
    assert_eq!(admit(&text, &[by_another]), Err(Refusal::Forged(who())));
    let no_signature = SignedOrder { signature: String::new(), ..signed(&good) };
    assert_eq!(admit(&text, &[no_signature]), Err(Refusal::Forged(who())));

    let past = Order { signed_at: NOW.plus_ms(-APPROVAL_MS), expires_at: NOW, ..good.clone() };
    check(&past, Refusal::Stale(who()));
    check(&Order { expires_at: NOW.plus_ms(APPROVAL_MS + 1), ..good.clone() }, Refusal::Stale(who()));
    let future = NOW.plus_ms(2 * MINUTE_MS);
    check(&Order { signed_at: future, expires_at: future.plus_ms(1), ..good.clone() }, Refusal::Early(who()));

    let used = BTreeSet::from([good.nonce.clone()]);
    assert_eq!(admit_with(&text, &[signed(&good)], &used, false), Err(Refusal::Replayed(who())));

    let changed = text.replace("alice", "alicf");
    assert_eq!(admit(&changed, &[signed(&good)]), Err(Refusal::Changed(who())));
    let own = text.replace("\"council\"", "\"ann\"");
    assert_eq!(admit(&own, &[signed(&order(&own, "ann"))]), Err(Refusal::SelfApproved(who())));

    check(&Order { case: "c2".to_owned(), ..good.clone() }, Refusal::Elsewhere(who()));
    check(&Order { tenant: "other".to_owned(), ..good.clone() }, Refusal::Elsewhere(who()));
    check(&Order { intent: Intent::Deny, ..good.clone() }, Refusal::Denied(who()));
    assert!(matches!(
        admit(&text, &[signed(&Order { nonce: "short".to_owned(), ..good })]),
        Err(Refusal::Malformed(_))
    ));
    let stranger = signed(&order(&text, "eve"));
    assert_eq!(admit(&text, &[stranger]), Err(Refusal::Unknown("eve".to_owned())));
}

#[test]
fn an_order_to_undo_stands_by_itself() {
    let text = proposal(Playbook::QuarantineUserHard);
    let undo = Order { intent: Intent::Undo, ..order(&text, "cyd") };
    let (registry, used) = (registry(), BTreeSet::new());
    let gate = gate(&registry, &used, NOW);
    let taken = gate.command(&signed(&undo), "c1", Intent::Undo).expect("an order");
    assert_eq!(taken.approvers(), ["cyd".to_owned()]);
    assert!(gate.command(&signed(&undo), "c1", Intent::Deny).is_err());
    assert!(gate.command(&signed(&undo), "c2", Intent::Undo).is_err());
}

#[test]
fn hostile_texts_are_refused() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    for text in ["", "{}", "null", deep.as_str()] {
        assert!(matches!(admit(text, &[]), Err(Refusal::Malformed(_))), "{text:.20}");
        let order = SignedOrder { order: text.to_owned(), signature: String::new() };
        let proposal = proposal(Playbook::TagUser);
        assert!(matches!(admit(&proposal, &[order]), Err(Refusal::Malformed(_))), "{text:.20}");
    }
}

#[test]
fn a_registry_has_each_key_and_name_once() {
    let approver = |name: &str, key: &str| Approver {
        name: name.to_owned(),
        public_key: key.to_owned(),
        tiers: BTreeSet::from([Tier::T1]),
    };
    let (one, two) = ("11".repeat(32), "22".repeat(32));
    assert!(Registry::new(vec![approver("a", &one), approver("b", &two)]).is_ok());
    assert!(Registry::new(vec![approver("a", &one), approver("b", &one)]).is_err());
    assert!(Registry::new(vec![approver("a", &one), approver("b", &one.replace('1', "A").replace('A', "1"))]).is_err());
    assert!(Registry::new(vec![approver("a", &one), approver("a", &two)]).is_err());
    assert!(Registry::new(vec![approver("a", "11")]).is_err());
    assert!(Registry::new(vec![approver(AUTOMATIC, &one)]).is_err());
    assert!(Registry::new(vec![approver(COUNCIL, &one)]).is_err());
}

#[test]
fn who_asks_is_proven_and_cannot_approve() {
    let text = proposal(Playbook::QuarantineUserHard);
    let (registry, used) = (registry(), BTreeSet::new());
    let gate = gate(&registry, &used, NOW);
    let admit = |text: &str, who: &str, origin: &Origin| {
        gate.admit(text, &[signed(&order(text, who))], origin, false).map(|approved| approved.approvers().to_vec())
    };
    // Nobody planned it: whoever says that the council asks for it made it up.
    let nothing = Origin::default();
    assert_eq!(admit(&text, "ann", &nothing), Err(Refusal::Unplanned("quarantine_user_hard".to_owned())));
    let other = text.replace("alice", "alicf");
    assert_eq!(admit(&other, "ann", &planned()), Err(Refusal::Unplanned("quarantine_user_hard".to_owned())));
    // A person asks for it, and has not said so.
    let own = other.replace("\"council\"", "\"ann\"");
    assert_eq!(admit(&own, "bob", &nothing), Err(Refusal::Unasked("ann".to_owned())));
    let asks = |text: &str, who: &str| {
        let asked = signed(&Order { intent: Intent::Propose, ..order(text, who) });
        gate.ask(&Submitted { proposal: text.to_owned(), signed: asked }, "c1")
    };
    assert_eq!(asks(&own, "ann"), Ok("ann".to_owned()));
    assert_eq!(asks(&own, "bob"), Err(Refusal::Unasked("ann".to_owned())));
    let asked = Origin { askers: BTreeSet::from(["ann".to_owned()]), ..Origin::default() };
    assert_eq!(admit(&own, "bob", &asked), Ok(vec!["bob".to_owned()]));
    assert_eq!(admit(&own, "ann", &asked), Err(Refusal::SelfApproved("ann".to_owned())));
    // Nor what she asked for under the council's name.
    let under_another = Origin { askers: asked.askers, ..planned() };
    assert_eq!(admit(&text, "ann", &under_another), Err(Refusal::SelfApproved("ann".to_owned())));
    assert_eq!(admit(&text, "bob", &under_another), Ok(vec!["bob".to_owned()]));
}

#[test]
fn an_order_is_judged_at_the_time_it_was_stored_and_a_proposal_grows_too_old() {
    let text = proposal(Playbook::QuarantineUserHard);
    let (registry, used) = (registry(), BTreeSet::new());
    let admit = |order: &Order, at| {
        gate(&registry, &used, at)
            .admit(&text, &[signed(order)], &planned(), false)
            .map(|approved| approved.nonces().len())
    };
    let at = NOW.plus_ms(PROPOSAL_MS);
    let late = Order { signed_at: at, expires_at: at.plus_ms(APPROVAL_MS), ..order(&text, "ann") };
    assert_eq!(admit(&order(&text, "ann"), NOW.plus_ms(APPROVAL_MS - 1)), Ok(1));
    assert_eq!(admit(&order(&text, "ann"), NOW.plus_ms(APPROVAL_MS)), Err(Refusal::Stale("ann".to_owned())));
    assert_eq!(admit(&late, at), Ok(1));
    assert_eq!(admit(&late, at.plus_ms(1)), Err(Refusal::Ancient));
}

#[test]
fn an_order_is_received_with_the_proposal_that_it_is_about_and_no_other() {
    let text = proposal(Playbook::QuarantineUserHard);
    let (registry, used) = (registry(), BTreeSet::new());
    let gate = gate(&registry, &used, NOW);
    let of = |intent, proposal: &str| {
        let signed = signed(&Order { intent, ..order(&text, "ann") });
        gate.receive(&Submitted { proposal: proposal.to_owned(), signed }, "c1").map(|order| order.intent)
    };
    for intent in [Intent::Propose, Intent::Approve] {
        assert_eq!(of(intent, &text), Ok(intent));
        assert_eq!(of(intent, "{}"), Err(Refusal::Changed("ann".to_owned())));
    }
    for intent in [Intent::Deny, Intent::Undo, Intent::Renew] {
        assert_eq!(of(intent, ""), Ok(intent));
    }
    assert_eq!(Registry::new(vec![]).map(|none| none.approving(Tier::T1)), Ok(0));
}
