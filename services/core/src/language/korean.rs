//! Korean, in the polite style of reports. A claim's sentences stand in [`korean_claims`](super::korean_claims).

use super::korean_claims::{deed, sentence, why};
use super::korean_features;
use super::particle::{Particle, with};
use crate::feature::Feature;
use crate::level::{Severity, Verdict};
use crate::negotiation::group::Group;
use crate::negotiation::predicate::Predicate;
use crate::negotiation::said::{
    Change, Counterfactual, Deeds, Hold, Measured, Place, Rests, Said, Subject, Summary, Told,
};
use crate::negotiation::unusual::Way;
use crate::negotiation::{Role, Route};

pub(super) fn summary(summary: &Summary) -> String {
    let Told { subject: who, deeds: what, place: at, others } = match summary {
        Summary::Nothing => return "이 케이스에는 이벤트가 없습니다.".to_owned(),
        Summary::Written(text) => return text.clone(),
        Summary::Told(told) => told,
    };
    let others = match others {
        0 => String::new(),
        others => format!(" 다른 주체 {others}개도 관여했습니다."),
    };
    format!("{} {}{}{others}", subject(who), place(at), deeds(what))
}

fn subject(subject: &Subject) -> String {
    let mfa = |mfa: &bool| if *mfa { "MFA를 거쳐" } else { "MFA 없이" };
    match subject {
        Subject::Root => "루트 사용자가".to_owned(),
        Subject::LongTermKey { user, mfa: has } => format!("IAM 사용자 {user}의 장기 접근 키가 {}", mfa(has)),
        Subject::TemporaryKey { user, mfa: has } => format!("IAM 사용자 {user}의 임시 접근 키가 {}", mfa(has)),
        Subject::Console { user, mfa: has } => {
            format!("콘솔에 {} 로그인한 IAM 사용자 {}", mfa(has), with(user, Particle::Subject))
        }
        Subject::User(user) => format!("IAM 사용자 {}", with(user, Particle::Subject)),
        Subject::Instance(role) => format!("역할 {role}의 인스턴스 자격 증명이"),
        Subject::RoleSession(role) => format!("역할 {role}의 세션이"),
        Subject::AwsService(service) => format!("AWS 서비스 {}", with(service, Particle::Subject)),
        Subject::OtherAccount(principal) => format!("다른 계정의 호출자 {}", with(principal, Particle::Subject)),
        Subject::Federated(user) => format!("페더레이션 사용자 {}", with(user, Particle::Subject)),
        Subject::Unknown => "기록에 이름이 없는 호출자가".to_owned(),
    }
}

fn place(place: &Place) -> String {
    match place {
        Place::Unknown => String::new(),
        Place::Account(account) => format!("계정 {account}에서 "),
        Place::Accounts(accounts) => format!("계정 {accounts}개에서 "),
    }
}

fn deeds(deeds: &Deeds) -> String {
    match deeds {
        Deeds::Done { succeeded, tried, further } => done(succeeded, tried, *further),
        Deeds::Raised { detections: 1, strongest } => format!("“{strongest}” 탐지를 발생시켰습니다."),
        Deeds::Raised { detections, strongest } => {
            format!("탐지 {detections}건을 발생시켰으며, 가장 심각한 것은 “{strongest}”입니다.")
        }
        Deeds::StandsOut(ways) if ways.is_empty() => "평소와 다른 호출을 했습니다.".to_owned(),
        Deeds::StandsOut(ways) => {
            let ways: Vec<&str> = ways.iter().map(|way| self::way(*way)).collect();
            format!("평소와 다른 호출을 했습니다({}).", ways.join(", "))
        }
    }
}

fn done(succeeded: &[Predicate], tried: &[Predicate], further: u32) -> String {
    // `…하고, …하고, …했습니다.`
    let chained = |deeds: &[Predicate], end: &str| {
        let stems: Vec<&str> = deeds.iter().map(|one| deed(*one)).collect();
        format!("{}{end}", stems.join("하고, "))
    };
    let mut told = match (succeeded, tried) {
        ([], []) => "확인이 필요한 행위를 했습니다.".to_owned(),
        (done, []) => chained(done, "했습니다."),
        ([], tried) => chained(tried, "하려고 시도했으나 모두 거부되거나 실패했습니다."),
        (done, tried) => {
            format!("{} {}", chained(done, "했습니다."), chained(tried, "하려고도 시도했으나 거부되거나 실패했습니다."))
        }
    };
    if further > 0 {
        told.push_str(&format!(" 그 밖의 행위도 {further}건 있었습니다."));
    }
    told
}

fn way(way: Way) -> &'static str {
    match way {
        Way::Network => "낯선 네트워크",
        Way::Program => "낯선 프로그램",
        Way::Region => "낯선 리전",
        Way::Targets => "거의 다루지 않던 대상",
        Way::Calls => "거의 쓰지 않던 서비스나 API",
        Way::Hour => "평소와 다른 시간대",
        Way::Refusals => "유난히 많은 거부",
        Way::Young => "처음 나타난 직후",
        Way::Pace => "평소와 다른 속도",
    }
}

pub(super) fn claim(predicate: Predicate) -> &'static str {
    sentence(predicate)
}

pub(super) fn reason(said: &Said) -> String {
    match said {
        Said::Claim { predicate, detections } if detections.is_empty() => claim(*predicate).to_owned(),
        Said::Claim { predicate, detections } => {
            let titles: Vec<String> = detections.iter().map(|title| format!("“{title}”")).collect();
            format!("{} (탐지: {})", claim(*predicate), titles.join(", "))
        }
        Said::Detected { title } => format!("탐지: {title}"),
        Said::Learned { score_milli, moved_by } => {
            let score = f64::from(*score_milli) / 1000.0;
            let told: Vec<String> = moved_by.iter().map(measured).collect();
            match told.as_slice() {
                [] => format!("가장 두드러진 이벤트의 점수는 {score:.2}입니다."),
                told => format!(
                    "가장 두드러진 이벤트의 점수는 {score:.2}이며, 주된 근거는 다음과 같습니다: {}.",
                    told.join(", ")
                ),
            }
        }
        Said::SetAside { claim, by } => format!("제외됨: {}", undercut(*claim, *by)),
        Said::Leans { to_attack: true } => "판정자는 공격 쪽으로 기울었습니다.".to_owned(),
        Said::Leans { to_attack: false } => "판정자는 무해한 원인 쪽으로 기울었습니다.".to_owned(),
    }
}

pub(super) fn undercut(fallen: Predicate, by: Predicate) -> String {
    format!("{} 그러나 {}.", claim(fallen), why(by, fallen))
}

pub(super) fn measured(measured: &Measured) -> String {
    let label = feature(measured.feature);
    let weight = f64::from(measured.weight_milli) / 1000.0;
    let Some(value) = measured.value_milli.map(|milli| f64::from(milli) / 1000.0) else {
        return format!("{label}(알 수 없음, {weight:+.1})");
    };
    let digits = if value.fract() == 0.0 { 0 } else { 1 };
    let told = match measured.feature.definition().unit {
        "code" => return format!("{label}({weight:+.1})"),
        "0 or 1" => if value > 0.0 { "예" } else { "아니요" }.to_owned(),
        "ratio" => format!("{value:.2}"),
        "s" => duration(value),
        "hours" => format!("{value:.0}시"),
        "bits" => format!("{value:.digits$}비트"),
        "events" => format!("{value:.digits$}건"),
        _ => format!("{value:.digits$}개"),
    };
    format!("{label}({told}, {weight:+.1})")
}

fn duration(seconds: f64) -> String {
    match seconds {
        s if s < 120.0 => format!("{s:.0}초"),
        s if s < 7_200.0 => format!("{:.0}분", s / 60.0),
        s if s < 172_800.0 => format!("{:.0}시간", s / 3_600.0),
        s => format!("{:.0}일", s / 86_400.0),
    }
}

pub(super) fn feature(feature: Feature) -> &'static str {
    korean_features::label(feature)
}

pub(super) fn counterfactual(found: &Counterfactual) -> String {
    let (change, verdict, severity) = match found {
        Counterfactual::NotWithThree => {
            return "어느 한 가지 탐지·주장·정황이 판정을 좌우하지 않으며, 특성 그룹을 세 개까지 평소 값으로 바꾸어 다시 채점해도 판정이 같습니다."
                .to_owned();
        }
        Counterfactual::NotEvenAll => {
            return "어느 한 가지 탐지·주장·정황이 판정을 좌우하지 않으며, 모델이 보는 모든 특성이 평소와 같았더라도 판정은 같습니다."
                .to_owned();
        }
        Counterfactual::Gives { change, verdict, severity } => (change, verdict, severity),
    };
    let change = match change {
        Change::WithoutDetection(title) => format!("“{title}” 탐지가 없었다면"),
        Change::WithoutClaim(predicate) => {
            format!("“{}”라는 주장이 성립하지 않았다면", claim(*predicate).trim_end_matches('.'))
        }
        Change::WithMfa => "세션이 MFA를 거쳐 시작되었다면".to_owned(),
        Change::AsAutomation(name) => format!("운영자가 {} 자동화로 등록했다면", with(name, Particle::Object)),
        Change::AsUsual(groups) => {
            let groups: Vec<&str> = groups.iter().map(|one| group(*one)).collect();
            format!("{} 조건에서라면", groups.join(", "))
        }
    };
    let severity = with(self::severity(*severity), Particle::Subject);
    format!("{change} 판정은 ‘{}’, 심각도는 {severity} 되었을 것입니다.", self::verdict(*verdict))
}

pub(super) fn group(group: Group) -> &'static str {
    match group {
        Group::Source => "평소의 소스 주소",
        Group::Program => "평소의 프로그램",
        Group::Region => "평소의 리전",
        Group::Calls => "평소에 하던 호출",
        Group::Targets => "평소에 다루던 대상",
        Group::Hour => "시간대 정보 없음",
        Group::Rhythm => "호출 간격 정보 없음",
        Group::Rate => "평소의 호출 속도",
        Group::Variety => "평소 수준의 호출·대상 다양성",
        Group::Refusals => "거부된 호출 없음",
        Group::Session => "평범한 세션",
        Group::Age => "일주일 이상 활동한 호출자",
    }
}

fn rests(rests: Rests, kind: &str) -> String {
    let labelled = |cases: u32| format!("{kind} 레이블 {cases}건");
    match rests {
        Rests::ByHand => "운영자가 정함".to_owned(),
        Rests::OnLabelled { cases } => format!("{} 기반", labelled(cases)),
        Rests::Unlabelled => "레이블이 붙은 케이스도, 운영자가 정한 기준도 없음".to_owned(),
        Rests::TooFew { cases, of } => format!("{}(필요 {of}건), 운영자가 정한 기준 없음", labelled(cases)),
        Rests::Unkept { cases } => format!("{}으로는 허용되는 기준이 없고, 운영자가 정한 기준도 없음", labelled(cases)),
    }
}

pub(super) fn hold(hold: &Hold) -> String {
    let bound = |percent: u8| f64::from(percent) / 100.0;
    let (attacks, benign) = (|on| rests(on, "공격"), |on| rests(on, "정상"));
    match *hold {
        Hold::NothingCloses { rests } => format!("사람의 확인 없이는 종결하지 않습니다({})", attacks(rests)),
        Hold::NotClosed { bound_percent, rests } => {
            format!("종결 기준 {:.2}({})를 충족하지 못했습니다", bound(bound_percent), attacks(rests))
        }
        Hold::NothingActs { rests } => format!("사람의 확인 없이는 조치하지 않습니다({})", benign(rests)),
        Hold::NotAbove { bound_percent, rests } => {
            format!("자동 조치 기준 {:.2}({})에 미치지 못했습니다", bound(bound_percent), benign(rests))
        }
        Hold::NoNarrowStep => "범위가 좁고 되돌릴 수 있는 조치가 없습니다".to_owned(),
        Hold::Verdict(verdict) => format!("판정이 ‘{}’입니다", self::verdict(verdict)),
        Hold::Raised => "처음부터 중간 이상으로 올라온 사건은 사람만 종결합니다".to_owned(),
        Hold::Listed => "모델이 스스로 올린 사건은 사람만 종결합니다".to_owned(),
        Hold::Floor(floor) => format!("정책상 심각도는 최소 ‘{}’입니다", severity(floor)),
        Hold::Instructions => "호출자가 작성한 텍스트가 지시문의 형태를 띱니다".to_owned(),
        Hold::FalseClaim => "증거에 없는 사실을 주장한 담당 역할이 있습니다".to_owned(),
    }
}

pub(super) fn route(route: &Route) -> String {
    match route {
        Route::Closed => "사람의 확인 없이 종결했습니다.".to_owned(),
        Route::Automatic => "범위가 좁고 되돌릴 수 있는 조치를 사람의 확인 없이 실행할 수 있습니다.".to_owned(),
        Route::Person { why } => {
            format!("담당자 확인 필요: {}.", why.iter().map(hold).collect::<Vec<_>>().join("; "))
        }
    }
}

pub(super) fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Informational => "정보",
        Severity::Low => "낮음",
        Severity::Medium => "중간",
        Severity::High => "높음",
        Severity::Critical => "심각",
    }
}

pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Benign => "정상",
        Verdict::Insufficient => "판단 보류",
        Verdict::Suspicious => "의심",
        Verdict::Malicious => "악성",
    }
}

pub(super) fn role(role: Role) -> &'static str {
    match role {
        Role::Analysis => "분석",
        Role::Context => "맥락",
        Role::Sceptic => "반론",
        Role::Judge => "판정",
        Role::Responder => "대응",
        Role::Reporter => "보고",
    }
}

pub(super) fn finding(finding: &str) -> String {
    match finding {
        "ungrounded" => "증거에서 확인되지 않음".to_owned(),
        "contradicted" => "증거와 모순됨".to_owned(),
        "unknown" => "확인할 근거가 없음".to_owned(),
        "malformed" => "요청한 형식이 아님".to_owned(),
        other => other.to_owned(),
    }
}
