use std::fmt::Write;

use proptest::prelude::*;
use trailwarden_core::activity::{Activity, Credential, Details, Observation, PrincipalKind};
use trailwarden_core::detection::{CountedValue, Match, RuleIndex, RuleSet};
use trailwarden_core::feature::{Feature, FeatureVector, SCHEMA_VERSION};
use trailwarden_core::level::Level;
use trailwarden_core::link::{Link, Node};
use trailwarden_core::resource::Resource;
use trailwarden_core::sequence::{LENGTH, Sequence, Token};
use trailwarden_core::time::Timestamp;

use super::observation::KINDS;
use super::*;
use crate::{Invalid, v1, wire};

const PRINCIPALS: [PrincipalKind; 7] = [
    PrincipalKind::IamUser,
    PrincipalKind::Role,
    PrincipalKind::Root,
    PrincipalKind::AwsService,
    PrincipalKind::CrossAccount,
    PrincipalKind::Federated,
    PrincipalKind::Unknown,
];
const CREDENTIALS: [Credential; 7] = [
    Credential::LongTermKey,
    Credential::TemporaryKey,
    Credential::Console,
    Credential::InstanceRole,
    Credential::Service,
    Credential::Root,
    Credential::Unknown,
];
const RULES: u16 = 6;

/// Rules `r0` to `r5`, in the given order.
fn rules(order: impl IntoIterator<Item = u16>) -> RuleSet {
    let mut yaml = String::new();
    for number in order {
        writeln!(
            yaml,
            "---\ntitle: Rule {number}\nid: r{number}\nlogsource: {{product: aws, service: cloudtrail}}\n\
             detection: {{call: {{eventName: Call{number}}}, condition: call}}\nlevel: low"
        )
        .unwrap();
    }
    RuleSet::load(&[("rules.yml", &yaml)]).unwrap()
}

/// Owned text of an observation.
#[derive(Clone, Debug)]
struct Owned {
    texts: Vec<String>,
    optional: (Option<String>, Option<String>),
    plain: (i64, Option<bool>, Option<bool>, Option<u64>),
    kinds: (PrincipalKind, Credential),
    links: Vec<Link>,
    matches: Vec<Match>,
    details: Option<Details>,
}

impl Owned {
    fn observation(&self) -> Observation<'_> {
        let text = |at: usize| self.texts[at].as_str();
        let (event_time, mfa, read_only, target) = self.plain;
        let activity = Activity {
            event_id: text(0),
            shared_event_id: self.optional.0.as_deref(),
            event_time: Timestamp::from_millis(event_time),
            account: text(1),
            region: text(2),
            service: text(3),
            call: text(4),
            principal: text(5),
            principal_kind: self.kinds.0,
            session: text(6),
            session_name: text(7),
            credential: self.kinds.1,
            mfa,
            source: text(8),
            user_agent: text(9),
            error_code: self.optional.1.as_deref(),
            read_only,
            target,
        };
        let Self { links, matches, details, .. } = self.clone();
        Observation { activity, links, matches, details }
    }
}

fn node() -> impl Strategy<Value = Node> {
    (0..3, ".{0,12}").prop_map(|(kind, text)| match kind {
        0 => Node::Session(text),
        1 => Node::Principal(text),
        _ => Node::Instance(text),
    })
}

fn matches() -> impl Strategy<Value = Vec<Match>> {
    let value = (0..RULES, any::<u64>(), any::<u64>()).prop_map(|(correlation, group_hash, value_hash)| CountedValue {
        correlation: RuleIndex(correlation),
        group_hash,
        value_hash,
    });
    let counted = prop::collection::vec(value, 0..4);
    prop::collection::btree_map(0..RULES, counted, 0..5)
        .prop_map(|map| map.into_iter().map(|(rule, counted)| Match { rule: RuleIndex(rule), counted }).collect())
}

fn details() -> impl Strategy<Value = Details> {
    let resource = (prop::sample::select(KINDS), prop::array::uniform3(".{0,12}"), any::<bool>());
    let resource =
        resource.prop_map(|(kind, [account, region, id], created)| Resource { kind, account, region, id, created });
    (prop::collection::vec(resource, 0..4), ".{0,40}", ".{0,40}")
        .prop_map(|(resources, parameters, error_message)| Details { resources, parameters, error_message })
}

prop_compose! {
    fn owned()(
        id in ".{1,20}",
        mut texts in prop::collection::vec(".{0,20}", 9),
        optional in any::<(Option<String>, Option<String>)>(),
        plain in any::<(i64, Option<bool>, Option<bool>, Option<u64>)>(),
        kinds in (prop::sample::select(&PRINCIPALS), prop::sample::select(&CREDENTIALS)),
        links in prop::collection::vec((node(), node()).prop_map(|(parent, child)| Link { parent, child }), 0..4),
        matches in matches(),
        details in prop::option::of(details()),
    ) -> Owned {
        texts.insert(0, id);
        Owned { texts, optional, plain, kinds, links, matches, details }
    }
}

fn vector() -> impl Strategy<Value = FeatureVector> {
    // All bits but those of NaN, infinities and both zeros among them.
    let value = prop::option::of(any::<u32>().prop_map(f32::from_bits).prop_filter("NaN is unknown", |v| !v.is_nan()));
    prop::collection::vec(value, Feature::COUNT).prop_map(|values| {
        let mut vector = FeatureVector::default();
        for (column, value) in vector.columns_mut().iter_mut().zip(values) {
            *column = value.unwrap_or(f32::NAN);
        }
        vector
    })
}

fn token() -> impl Strategy<Value = Token> {
    (0..1024_u16, 0..=17_u8, 0..=5_u8, 0..=12_u8, 0..=7_u8, 0..=2_u8, 0..64_u8).prop_map(
        |(api, gap, access, agent, source, outcome, novelty)| Token {
            api,
            gap,
            access,
            agent,
            source,
            outcome,
            novelty,
        },
    )
}

proptest! {
    #[test]
    fn an_observation_comes_back(all in prop::collection::vec(owned(), 1..4)) {
        let rules = rules(0..RULES);
        let mut table = Table::default();
        let observations = all.iter().map(|owned| table.observation(&rules, &owned.observation())).collect();
        let batch = v1::ActivityBatch { observations, rules: table.into_ids(), ..v1::ActivityBatch::default() };
        let batch: v1::ActivityBatch = wire::unpack(&wire::pack(&batch)).unwrap();
        let here = Rules::new(&rules);
        for (owned, told) in all.iter().zip(&batch.observations) {
            prop_assert_eq!(here.observation(told, &batch.rules), Ok(owned.observation()));
            let told = told.activity.as_ref().unwrap();
            prop_assert_eq!(&activity_to_wire(&activity(told).unwrap()), told);
        }
        prop_assert_eq!(here.unknown(), 0);
    }

    #[test]
    fn rules_are_told_by_id(owned in owned(), order in Just((0..RULES).collect::<Vec<_>>()).prop_shuffle(), known in 0..RULES) {
        let mut first = Table::default();
        let mut told = first.observation(&rules(0..RULES), &owned.observation());
        // By way of another batch's table, whose first places are taken.
        let mut table = Table::default();
        table.observation(&rules(0..RULES), &Observation {
            matches: vec![Match { rule: RuleIndex(5), counted: Vec::new() }, Match { rule: RuleIndex(2), counted: Vec::new() }],
            ..owned.observation()
        });
        table.adopt(&mut told, &first.into_ids()).unwrap();
        let table = table.into_ids();
        // To a process that holds fewer rules, in another order.
        let order = &order[..usize::from(known)];
        let here = Rules::new(&rules(order.iter().copied()));
        let found = here.observation(&told, &table).unwrap();
        let index = |rule: RuleIndex| order.iter().position(|known| *known == rule.0).map(|place| RuleIndex(place as u16));
        let mut unknown = 0;
        let mut expected = Vec::new();
        for hit in &owned.matches {
            let mut counted = hit.counted.clone();
            counted.retain_mut(|value| index(value.correlation).map(|here| value.correlation = here).is_some());
            unknown += hit.counted.len() - counted.len();
            match index(hit.rule) {
                Some(rule) => expected.push(Match { rule, counted }),
                None => unknown += 1,
            }
        }
        expected.sort_by_key(|hit| hit.rule);
        prop_assert_eq!(found, Observation { matches: expected, ..owned.observation() });
        prop_assert_eq!(here.unknown(), unknown as u64);
    }

    #[test]
    fn features_come_back_to_the_bit(vector in vector()) {
        let told: v1::FeatureVector = wire::unpack(&wire::pack(&features_to_wire(&vector))).unwrap();
        let found = features(&told).unwrap();
        for (found, expected) in found.columns().iter().zip(vector.columns()) {
            prop_assert!(found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan());
        }
    }

    #[test]
    fn hostile_features_are_refused_or_stable(known in prop::collection::vec(any::<u8>(), 0..16), values in prop::collection::vec(any::<f32>(), 0..90)) {
        if let Ok(vector) = features(&v1::FeatureVector { known, values: values.clone() }) {
            prop_assert_eq!(features_to_wire(&vector).values, values);
        }
    }

    #[test]
    fn a_sequence_comes_back(tokens in prop::collection::vec(token(), 0..2 * LENGTH)) {
        let mut kept = Sequence::default();
        tokens.into_iter().for_each(|token| kept.push(token));
        let found = sequence(&sequence_to_wire(&kept)).unwrap();
        prop_assert!(found.iter().eq(kept.iter()));
    }

    #[test]
    fn hostile_bytes_panic_nowhere(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        use prost::Message;
        let here = Rules::new(&rules(0..2));
        if let Ok(told) = v1::Observation::decode(bytes.as_slice()) {
            let _ = here.observation(&told, &["r0".to_owned()]);
        }
        if let Ok(kept) = sequence(&bytes) {
            prop_assert_eq!(sequence_to_wire(&kept), bytes);
        }
    }
}

#[test]
fn what_is_wrong_is_named() {
    let node = |text: &str| Some(v1::Node { kind: Some(v1::node::Kind::Session(text.to_owned())) });
    let good = || v1::Observation {
        activity: Some(v1::Activity {
            event_id: "e".to_owned(),
            principal_kind: v1::PrincipalKind::Role.into(),
            credential: v1::Credential::Root.into(),
            ..v1::Activity::default()
        }),
        links: vec![v1::Link { parent: node("a"), child: node("b") }],
        matches: vec![v1::RuleMatch { rule: 0, counted: vec![v1::CountedValue::default()] }],
        details: Some(v1::Details {
            resources: vec![v1::Resource { kind: "bucket".to_owned(), ..v1::Resource::default() }],
            ..v1::Details::default()
        }),
    };
    let here = Rules::new(&rules(0..1));
    let table = ["r0".to_owned()];
    assert!(here.observation(&good(), &table).is_ok());
    type Change = fn(&mut v1::Observation);
    let cases: [(&str, Change); 12] = [
        ("activity", |o| o.activity = None),
        ("activity.event_id", |o| o.activity.as_mut().unwrap().event_id.clear()),
        ("activity.principal_kind", |o| o.activity.as_mut().unwrap().principal_kind = 0),
        ("activity.principal_kind", |o| o.activity.as_mut().unwrap().principal_kind = 99),
        ("activity.credential", |o| o.activity.as_mut().unwrap().credential = 0),
        ("links.parent", |o| o.links[0].parent = None),
        ("links.child", |o| o.links[0].child = Some(v1::Node::default())),
        ("matches.rule", |o| o.matches[0].rule = 1),
        ("matches.counted.correlation", |o| o.matches[0].counted[0].correlation = u32::MAX),
        ("matches", |o| o.matches.push(o.matches[0].clone())),
        ("details.resources.kind", |o| o.details.as_mut().unwrap().resources[0].kind.clear()),
        ("details.resources.kind", |o| o.details.as_mut().unwrap().resources[0].kind = "Bucket".to_owned()),
    ];
    for (field, change) in cases {
        let mut told = good();
        change(&mut told);
        let found = here.observation(&told, &table);
        assert!(matches!(&found, Err(Invalid::Field { field: named, .. }) if *named == field), "{field}: {found:?}");
    }
}

#[test]
fn columns_and_levels_are_checked() {
    let vector =
        |known: &[u8], values: &[f32]| features(&v1::FeatureVector { known: known.to_vec(), values: values.to_vec() });
    assert!(vector(&[1], &[2.0]).is_ok());
    for (known, values) in [
        (&[1_u8][..], &[][..]),
        (&[0], &[2.0]),
        (&[1], &[f32::NAN]),
        (&[0; 40], &[]),
        (&[0xff; Feature::COUNT.div_ceil(8)], &[0.0; Feature::COUNT.div_ceil(8) * 8]),
    ] {
        assert!(vector(known, values).is_err() || Feature::COUNT.is_multiple_of(8) && known[0] == 0xff, "{known:?}");
    }
    for known in Level::ALL {
        assert_eq!(level(level_to_wire(*known).into()), Ok(*known));
    }
    assert!(level(0).is_err() && level(5).is_err() && level(-1).is_err());
    assert_eq!(agrees(SCHEMA_VERSION), Ok(()));
    let disagrees = agrees(SCHEMA_VERSION + 1).unwrap_err();
    assert_eq!(tonic::Status::from(disagrees).code(), tonic::Code::FailedPrecondition);
    assert_eq!(tonic::Status::from(Invalid::Compression).code(), tonic::Code::InvalidArgument);
}

#[test]
fn a_token_that_no_activity_gives_is_refused() {
    assert!(sequence(&[0xff, 3, 17, 5, 12, 7, 2, 63]).is_ok());
    for at in 0..8 {
        let mut token = [0xff, 3, 17, 5, 12, 7, 2, 63];
        token[at.max(1)] += 1;
        assert!(sequence(&token).is_err(), "{token:?}");
    }
    assert!(sequence(&[0; 7]).is_err() && sequence(&[0; 8 * 33]).is_err());
}
