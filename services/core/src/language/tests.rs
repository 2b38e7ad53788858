use std::collections::BTreeSet;

use super::*;
use crate::negotiation::predicate::Ground;
use crate::negotiation::rebuttal;
use crate::negotiation::said::{Change, Deeds, Place, Subject, Told};

fn is_korean(text: &str) -> bool {
    text.chars().any(|c| ('가'..='힣').contains(&c))
}

#[test]
fn every_claim_has_a_sentence_of_its_own_in_every_language() {
    for language in Language::ALL {
        let mut known = BTreeSet::new();
        for predicate in Predicate::ALL {
            let sentence = language.claim(*predicate);
            assert!(sentence.ends_with('.') && known.insert(sentence), "{language}: {}", predicate.name());
            assert_eq!(is_korean(sentence), *language == Language::Korean, "{language}: {}", predicate.name());
        }
    }
    for predicate in Predicate::ALL {
        let deed = korean_claims::deed(*predicate);
        assert_eq!(deed.is_empty(), predicate.definition().ground != Ground::Detection, "{}", predicate.name());
        assert!(deed.is_empty() || is_korean(deed));
    }
}

#[test]
fn every_attack_says_why_in_every_language() {
    for (by, on) in rebuttal::table() {
        let why = korean_claims::why(by, on);
        assert!(is_korean(why) && !why.ends_with('.'), "{} on {}: {why}", by.name(), on.name());
    }
}

#[test]
fn every_feature_and_group_has_a_name_of_its_own_in_every_language() {
    for language in Language::ALL {
        let features: BTreeSet<_> = Feature::ALL.iter().map(|feature| language.feature(*feature)).collect();
        assert_eq!(features.len(), Feature::COUNT);
        let groups: BTreeSet<_> = Group::ALL.iter().map(|group| language.group(*group)).collect();
        assert_eq!(groups.len(), Group::ALL.len());
        assert!(features.iter().chain(&groups).all(|name| is_korean(name) == (*language == Language::Korean)));
    }
    let units: BTreeSet<_> = Feature::ALL.iter().map(|feature| feature.definition().unit).collect();
    let told =
        ["0 or 1", "APIs", "bits", "code", "days", "events", "hours", "ratio", "s", "sessions", "sources", "things"];
    assert_eq!(units.into_iter().collect::<Vec<_>>(), told, "a new unit wants its word in both languages");
}

fn told(subject: Subject, deeds: Deeds, others: u32) -> Summary {
    Summary::Told(Told { subject, deeds, place: Place::Account("111122223333".into()), others })
}

#[test]
fn sentences_read_like_this() {
    use Predicate as P;
    let key = || Subject::LongTermKey { user: "farid.olsen".into(), mfa: false };
    let done = |succeeded: &[P], tried: &[P], further| Deeds::Done {
        succeeded: succeeded.to_vec(),
        tried: tried.to_vec(),
        further,
    };
    for (summary, english, korean) in [
        (
            told(key(), done(&[P::PrivilegeGrant, P::PrincipalCreation], &[], 2), 1),
            "A long-term key of IAM user farid.olsen, without MFA, granted far-reaching permissions, created a principal and \
             took 2 further steps in account 111122223333; one other principal took part.",
            "IAM 사용자 farid.olsen의 장기 접근 키가 MFA 없이 계정 111122223333에서 광범위한 권한을 부여하고, 새 주체를 생성했습니다. \
             그 밖의 행위도 2건 있었습니다. 다른 주체 1개도 관여했습니다.",
        ),
        (
            told(Subject::RoleSession("deploy".into()), done(&[P::CodeChange], &[P::LoggingTamper], 0), 0),
            "A session of role deploy changed a function's code and tried to stop or weaken the audit trail (refused or failed) \
             in account 111122223333.",
            "역할 deploy의 세션이 계정 111122223333에서 함수의 코드를 변경했습니다. 감사 추적을 중지하거나 약화하려고도 시도했으나 \
             거부되거나 실패했습니다.",
        ),
        (
            told(Subject::User("admin".into()), Deeds::StandsOut(vec![]), 0),
            "IAM user admin made calls that stand out from the ordinary in account 111122223333.",
            "IAM 사용자 admin이 계정 111122223333에서 평소와 다른 호출을 했습니다.",
        ),
    ] {
        assert_eq!(Language::English.summary(&summary), english);
        assert_eq!(Language::Korean.summary(&summary), korean);
    }
    let found = Counterfactual::Gives {
        change: Change::AsUsual(vec![Group::Rate, Group::Source]),
        verdict: Verdict::Insufficient,
        severity: Severity::Low,
    };
    assert_eq!(
        Language::English.counterfactual(&found),
        "With an ordinary rate and a usual source address this would be insufficient (low)."
    );
    assert_eq!(
        Language::Korean.counterfactual(&found),
        "평소의 호출 속도, 평소의 소스 주소 조건에서라면 판정은 ‘판단 보류’, 심각도는 낮음이 되었을 것입니다."
    );
}
