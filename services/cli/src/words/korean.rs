//! Korean, in the polite style of reports.

use trailwarden_core::activity::{Credential, PrincipalKind};
use trailwarden_core::language::Language;
use trailwarden_core::level::Level;
use trailwarden_core::plan::{Mode, Playbook, Tier};
use trailwarden_core::resource::ResourceKind;
use trailwarden_core::response::life::{State, Work};
use trailwarden_core::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

use super::{LifeWords, Words};
use crate::figures::{self, count};

pub(super) const WORDS: Words = Words {
    language: Language::Korean,
    life: LifeWords {
        dry_head: "조치 한 단계의 전 과정(모의 실행, 호출 없음)",
        live_head: |endpoint| format!("조치 한 단계의 전 과정({endpoint}, 일회용 키로 승인)"),
        plan: "계획",
        rehearse: "사전 검증",
        approve: "승인",
        approvers,
        work,
        state,
    },

    events: |number| format!("이벤트 {}건", count(number)),
    cases: |number| format!("케이스 {}건", count(number)),
    signals: |number| format!("신호 {}건", count(number)),
    rules: |number| format!("규칙 {}개", count(number)),
    records: |number| format!("레코드 {}건", count(number)),
    accounts: |number| format!("계정 {}개", count(number)),
    principals: |number| format!("주체 {}개", count(number)),
    and_more: |number| format!("외 {}개", count(number)),
    more: |number| format!("외 {}개", count(number)),
    duration,
    period: |from, to| figures::period(from, to).replace(" to ", " ~ "),
    weight: |weight| figures::weight(weight).replace("also", "참고"),
    until: " ~ ",

    level,
    principal_kind,
    credential,
    mfa,
    resource_kind,
    playbook,
    tier,
    mode,

    report_title: "Trailwarden 보고서",
    skip: "케이스로 건너뛰기",
    brand: "CloudTrail 분석 보고서",
    footer,

    nothing_to_judge: "판단할 대상이 없습니다. 읽을 수 있는 이벤트가 없었습니다.",
    no_cause: |events| format!("이벤트 {}건에서 케이스로 볼 만한 것이 없었습니다.", count(events)),
    attacks: |cases| format!("증거에 따르면 케이스 {}건이 공격입니다.", count(cases)),
    need_a_look: |cases| format!("케이스 {}건은 담당자의 확인이 필요합니다.", count(cases)),
    begin_with: (" 먼저 확인할 주체: ", ""),
    undecided: |cases| format!("케이스 {}건은 판정을 보류했으며, 공격으로 보이는 것은 없습니다.", count(cases)),
    benign_alone: |cases| format!("공격으로 보이는 케이스는 없으며, {}건은 정상으로 판정했습니다.", count(cases)),
    why_and_what_to_do: "판단 근거와 대응 방안",
    says_nothing: "이 결과는 어떤 계정에 대해서도 말해 주지 않습니다. 제외되거나 거부된 항목과 그 이유는 아래에 있습니다.",
    no_proof: "규칙, 상관 분석, 최초 관측 검사가 이 이벤트에서 찾은 결과입니다. 아무 일도 없었다는 증명은 아닙니다. 기록되지 않은 호출이나 제공되지 않은 로그는 볼 수 없습니다.",

    what_was_read: "읽은 내용",
    events_judged: "판단한 이벤트",
    files: "파일",
    accounts_head: "계정",
    principals_head: "주체",
    duplicates: "중복",
    rejected_head: "거부",
    events_by_level: "등급별 이벤트",
    not_judged: "판단하지 않은 항목과 이유",
    events_span: ("이벤트 기간: ", ""),
    gap: |length, period| {
        format!(
            "이벤트가 없던 가장 긴 구간은 {length}({period})입니다. 조용했던 것인지 기록되지 않은 것인지는 구분되지 않습니다."
        )
    },
    accounts_named: |_| "계정: ".to_owned(),
    not_named: "(이름 없음)",
    nothing_given: "이벤트가 담긴 입력이 없었습니다.",
    all_read: "입력을 모두 읽고 판단했습니다.",
    duplicate_rows: "같은 이벤트 ID로 중복된 레코드",
    set_aside_rows: "제외: ",
    rejected_rows: "거부: ",
    where_they_stand: "위치 보기",

    planted_head: "심어 둔 공격과 탐지 결과",
    planted_note: "생성된 로그이므로 정답을 알고 있습니다.",
    attack: "공격",
    events_planted: "심은 이벤트",
    in_a_case: "케이스에 포함",
    found_as: "탐지 결과",
    missed: "놓침",
    found_as_case: |id| format!("탐지됨(케이스 {id})"),
    planted_share: |found, of| format!("이벤트 {}건 중 {}건이 케이스에 포함", count(of), count(found)),

    when_head: "시간 흐름",
    mark_legend: " 케이스(번호)",
    all_events: " 전체 이벤트",
    bar_legend: |width, raised, highest| {
        format!("막대 하나는 {width}, 최댓값: 탐지 {}건(제곱근 눈금), 전체 {}건", count(raised), count(highest))
    },
    unmarked: |cases| format!("공간이 부족하여 케이스 {}건은 표시하지 않았습니다(표에는 있습니다). ", count(cases)),
    outside: |events| format!("이 기간에서 크게 벗어난 이벤트 {}건은 그리지 않았습니다.", count(events)),
    spoken: |period, cases| format!("{period}의 이벤트와 케이스 {}건", count(cases)),

    cases_head: "케이스",
    most_urgent: |shown, total, rest| {
        format!(
            "전체 {}건 중 가장 시급한 {}건을 실었습니다. 나머지 {}건은 --cases FILE로 저장한 파일에 있습니다.",
            count(total),
            count(shown),
            count(rest)
        )
    },
    severity: "심각도",
    verdict: "판정",
    is_attack: "공격 확률",
    who: "주체",
    when: "시각",
    what_happened: "요약",
    techniques: "기법",
    case: "케이스",
    what: "내용",
    no_cases: "판단할 대상이 없어 케이스도 없습니다.",
    no_cases_head: "케이스 없음.",
    when_a_case_opens: " 케이스는 규칙, 상관 분석, 최초 관측 사실이 활동을 표시할 때 만들어집니다.",
    looked_for: |rules, events| {
        format!(
            "확인한 것: 이벤트 {}건에 대한 규칙 {}개, 그리고 각 주체와 계정이 처음 한 행동.",
            count(events),
            count(rules)
        )
    },
    none_raised: "‘주의’ 등급에 이른 이벤트가 없습니다.",
    raised_alone: |events| format!("이벤트 {}건이 ‘주의’ 이상이었으나 케이스가 되지는 않았습니다.", count(events)),
    not_looked_for: "확인하지 못한 것: CloudTrail이 기록하지 않은 것(데이터 이벤트는 기본적으로 꺼져 있음), 제공되지 않은 추적과 리전, 그리고 처음 보는 로그라서 알 수 없는 주체의 평소 습관.",
    unread: |records| format!("레코드 {}건은 읽을 수 없어 판단하지 못했습니다. 위를 참고하십시오.", count(records)),

    case_number: |number| format!("케이스 {number}"),
    in_account: (" · 계정 ", ""),
    decision: "판단",
    principal: "주체",
    kind: "유형",
    credential_head: "자격 증명",
    obtained_as: "발급 방식",
    session_name: "세션 이름",
    source: "소스",
    user_agent: "사용자 에이전트",
    region: "리전",
    verdict_told: |verdict, severity| format!("{verdict}(사실일 경우 심각도: {severity})"),
    probability: "확률",
    attack_probability: |probability| format!("공격일 확률 {probability}"),
    without_models: |probability| format!("언어 모델의 의견을 빼면 {probability}"),
    route: "처리",
    would_change_it: "판정이 바뀌는 조건",
    no_change: "증거를 한 가지씩 바꾸어 보았으나 판정이 달라지지 않았습니다.",
    for_an_attack: "공격으로 보는 근거",
    against: "반대 근거",
    nothing_for: "공격으로 볼 근거가 없습니다.",
    nothing_against: "무해하다고 볼 근거가 없습니다.",
    weaker: |reasons| format!("그보다 약한 근거 {}개 더 있음", count(reasons)),
    set_aside: "제외된 주장",
    rejected: "검증을 통과하지 못한 주장",
    rejected_label: "거부",
    claimed: (" 역할의 주장 ", ": "),
    by_code: "코드로 확인",
    attack_techniques: "ATT&CK 기법",
    what_fired: |rules| format!("일치한 규칙 {}개: 중요한 이유와 알려진 오탐 원인", count(rules)),
    innocent_causes: "오탐 원인: ",
    answered_by: "답변:",
    digest: "동결된 증거의 SHA-256",
    code_alone: "코드만",
    all_roles: ("모든 역할을 ", " 방식으로"),

    response: "대응 제안",
    no_step: "증거에 맞는 조치가 메뉴에 없습니다.",
    prepared: "준비만 했으며 실행하지 않았습니다. 가장 효과적인 조치부터 나열합니다.",
    kept_first: "되돌리기 위해 먼저 보관하는 정보",
    affects: "영향 범위",
    undo: "되돌리기",
    undo_calls: "되돌리는 호출",
    note: "참고",
    as_json: "같은 호출(JSON)",
    calls: "호출",
    more_steps: |steps| format!("나머지 조치 {}개는 보고서에 있습니다", count(steps)),
    exact_call_elsewhere: "정확한 호출은 --report와 --cases에 있습니다",

    evidence: "증거",
    strongest_signals: |shown, total, rest| {
        format!(
            "신호 {}건 중 가장 강한 {}건을 시간순으로 실었습니다. 나머지 {}건의 이벤트 ID는 --cases FILE로 저장한 파일에 있습니다.",
            count(total),
            count(shown),
            count(rest)
        )
    },
    number: "번호",
    time: "시각",
    call: "호출",
    outcome: "결과",
    touched: "대상",
    detections: "탐지",
    succeeded: "성공",
    denied: "거부됨",
    failed: "실패",
    created: "신규 ",
    one_record: "레코드와 매개변수",
    records_shown: |records| format!("레코드 {}건과 매개변수", count(records)),
    event_id: "이벤트",
    score: "점수",
    account: "계정",
    credential_label: "자격 증명",
    agent: "에이전트",
    aws_answered: "AWS 응답: ",
    left_out: "파일 크기를 줄이기 위해 매개변수를 생략했습니다. 이벤트 ID로 로그에서 찾을 수 있습니다.",

    how_to_read: "읽는 방법",
    glossary: GLOSSARY,
    limits: "한계",
    limits_told: limits,

    head_severity: "심각도",
    head_verdict: "판정",
    head_attack: "공격",
    head_when: "시각(UTC)",
    head_who: "주체",
    head_account: "계정",
    head_what: "내용, 기법",
    label_who: "주체",
    label_for: "근거",
    label_against: "반대",
    label_set_aside: "제외",
    label_changes: "변화",
    label_propose: "제안",
    label_route: "처리",
    none_read: "읽을 수 있는 이벤트가 없어 판단하지 못했습니다.",
    none_notable: "심각도 ‘중간’ 이상인 케이스가 없습니다.",
    looked_at: |events, rules| {
        format!(
            "이벤트 {}건을 규칙 {}개와 최초 관측 검사로 확인했습니다. CloudTrail이 기록하지 않았거나 제공되지 않은 것은 볼 수 없습니다.",
            count(events),
            count(rules)
        )
    },
    unlisted: |cases| {
        format!(
            "심각도 ‘중간’ 이상인 케이스 {}건은 여기에 싣지 않았습니다. --cases FILE은 전부 기록합니다.",
            count(cases)
        )
    },
    below_medium: |cases| {
        format!("심각도 ‘중간’ 미만인 케이스 {}건은 --cases FILE과 --report FILE.html에 있습니다.", count(cases))
    },
    routine: |periods| format!("일상적인 변경만 있던 구간 {}개는 케이스로 만들지 않았습니다.", count(periods)),

    reason: "근거",
    weight_head: "가중치",
    events_head: "이벤트",
    claimed_by: "주장한 역할",
    further_events: |events| format!("이 밖에 이벤트 {}건이 케이스에 속합니다.", count(events)),
    nothing: "없음.",
};

const GLOSSARY: &[(&str, &str)] = &[
    (
        "판정",
        "악성: 증거가 공격을 가리킵니다. 의심: 담당자가 살펴볼 가치가 있습니다. 판단 보류: 증거만으로는 결정할 수 없습니다. 정상: 무해한 \
         원인으로 설명됩니다.",
    ),
    (
        "심각도",
        "보이는 그대로일 경우 얼마나 나쁜지를 ‘정보’부터 ‘심각’까지 나타냅니다. 감사 추적 중지와 같은 일부 행위에는 낮출 수 없는 하한이 있습니다.",
    ),
    ("가중치", "로그 오즈입니다. +0.7은 공격일 가능성을 두 배로, +2.3은 열 배로 높이며, 음수는 같은 비율로 낮춥니다."),
    (
        "판정이 바뀌는 조건",
        "다시 판정하여 확인한 결과입니다. 탐지·주장·정황을 하나 빼거나, 모델이 보는 특성 그룹을 호출자의 평소 값(또는 알 수 없음)으로 두고 같은 \
         모델로 모든 이벤트를 다시 채점했습니다.",
    ),
    (
        "증거 번호",
        "E1, E2 …는 한 케이스의 신호를 시간순으로 센 번호입니다. 이벤트 ID는 레코드에 있는 CloudTrail의 ID이므로 그대로 조회할 수 있습니다.",
    ),
    (
        "풀어 쓴 문자",
        "로그의 이름은 공격자가 지었을 수 있습니다. 텍스트를 숨기거나 순서를 바꾸거나 제어하는 문자는 적용하지 않고 \\u{202e}처럼 표시합니다.",
    ),
    ("대응 제안", "제안일 뿐, 어떤 계정도 변경하지 않았습니다. ‘모의 실행’은 호출을 적어 두기만 했다는 뜻입니다."),
];

fn limits(rules: u64, schema: u32, has_model: bool) -> String {
    let model = if has_model { ", 생성된 로그로 학습한 모델" } else { "" };
    format!(
        "제공된 로그만을 규칙 {}개와 스키마 {schema}의 특성{model}로 판단했습니다. 모델은 기록이 일주일 이상 쌓이기 전의 계정에 대해서는 판단하지 \
         않습니다.",
        count(rules)
    )
}

fn footer(version: &str, schema: u32, model: Option<&str>) -> String {
    let model = model.map(|model| format!(" · 모델 {model}")).unwrap_or_default();
    format!(
        "Trailwarden {version} · 특성 스키마 {schema}{model} · 시각은 UTC 기준 · 네트워크 없이 작성되었으며, 이 파일은 아무것도 불러오거나 \
         실행하지 않습니다"
    )
}

/// `14분`, `2시간 5분`, `3일 4시간`.
fn duration(millis: i64) -> String {
    let two = |large: i64, unit: &str, small: i64, small_unit: &str| {
        if small == 0 { format!("{large}{unit}") } else { format!("{large}{unit} {small}{small_unit}") }
    };
    match millis.max(0) {
        ms if ms < SECOND_MS => "1초 미만".to_owned(),
        ms if ms < MINUTE_MS => format!("{}초", ms / SECOND_MS),
        ms if ms < HOUR_MS => format!("{}분", ms / MINUTE_MS),
        ms if ms < DAY_MS => two(ms / HOUR_MS, "시간", ms % HOUR_MS / MINUTE_MS, "분"),
        ms => two(ms / DAY_MS, "일", ms % DAY_MS / HOUR_MS, "시간"),
    }
}

fn level(level: Level) -> &'static str {
    match level {
        Level::None => "해당 없음",
        Level::Caution => "주의",
        Level::Warning => "경고",
        Level::Critical => "심각",
    }
}

fn principal_kind(kind: PrincipalKind) -> &'static str {
    match kind {
        PrincipalKind::IamUser => "IAM 사용자",
        PrincipalKind::Role => "역할",
        PrincipalKind::Root => "루트 사용자",
        PrincipalKind::AwsService => "AWS 서비스",
        PrincipalKind::CrossAccount => "다른 계정의 호출자",
        PrincipalKind::Federated => "페더레이션 사용자",
        PrincipalKind::Unknown => "알 수 없는 호출자",
    }
}

fn credential(credential: Credential) -> &'static str {
    match credential {
        Credential::LongTermKey => "장기 접근 키",
        Credential::TemporaryKey => "임시 접근 키",
        Credential::Console => "콘솔 로그인",
        Credential::InstanceRole => "인스턴스 역할",
        Credential::Service => "AWS 서비스",
        Credential::Root => "루트 자격 증명",
        Credential::Unknown => "기록되지 않음",
    }
}

fn mfa(mfa: Option<bool>) -> &'static str {
    match mfa {
        Some(true) => "MFA 사용",
        Some(false) => "MFA 미사용",
        None => "기록되지 않음",
    }
}

fn resource_kind(kind: ResourceKind) -> &'static str {
    match kind {
        ResourceKind::User => "사용자",
        ResourceKind::Role => "역할",
        ResourceKind::AccessKey => "접근 키",
        ResourceKind::LoginProfile => "콘솔 비밀번호",
        ResourceKind::Instance => "인스턴스",
        ResourceKind::Bucket => "버킷",
        ResourceKind::Function => "함수",
        ResourceKind::Trail => "추적",
        ResourceKind::Detector => "탐지기",
        ResourceKind::ConfigRecorder => "구성 레코더",
        ResourceKind::Image => "이미지",
        ResourceKind::Snapshot => "스냅샷",
        ResourceKind::DbSnapshot => "데이터베이스 스냅샷",
        ResourceKind::KmsKey => "KMS 키",
        ResourceKind::Secret => "시크릿",
        ResourceKind::Parameter => "파라미터",
        ResourceKind::SecurityGroup => "보안 그룹",
        ResourceKind::TrustAnchor => "트러스트 앵커",
        ResourceKind::Policy => "정책",
        ResourceKind::Model => "모델",
        ResourceKind::Account => "계정",
        ResourceKind::Other => "리소스",
    }
}

fn playbook(playbook: Playbook) -> String {
    match playbook {
        Playbook::TagUser | Playbook::TagRole | Playbook::TagInstance => "태그 지정 및 알림",
        Playbook::DisableAccessKey => "접근 키 비활성화",
        Playbook::QuarantineUserSoft => "사용자 부분 격리",
        Playbook::QuarantineUserHard => "사용자 전면 격리",
        Playbook::RevokeRoleSessions => "역할 세션 해지",
        Playbook::LockRoleTrust => "역할 신뢰 정책 잠금",
        Playbook::RemoveConsoleLogin => "콘솔 로그인 제거",
        Playbook::DisableCreatedCredentials | Playbook::DisableCreatedUser | Playbook::DisableCreatedRole => {
            "침해 중 생성된 자격 증명 비활성화"
        }
        Playbook::RestoreTrail => "추적 복구",
        Playbook::RestoreDetector | Playbook::RestoreConfigRecorder => "탐지 기능 복구",
        Playbook::BlockPublicS3 => "S3 퍼블릭 액세스 차단",
        Playbook::ProtectS3Data => "S3 데이터 보호",
        Playbook::IsolateEc2 => "EC2 인스턴스 격리",
        Playbook::ForensicSnapshot => "포렌식 스냅샷 생성",
        Playbook::UnshareSnapshot | Playbook::UnshareDbSnapshot | Playbook::UnshareImage => "외부 공유 해제",
        Playbook::FreezeLambda => "Lambda 함수 동결",
        Playbook::RescueKms => "KMS 키 복구",
        Playbook::ScpQuarantine => "SCP로 계정 격리",
        Playbook::PreserveLogs => "로그 보존",
        Playbook::Own => "자체 플레이북",
    }
    .to_owned()
}

fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::T0 => "T0, 승인 불필요",
        Tier::T1 => "T1, 범위가 좁고 되돌릴 수 있음",
        Tier::T2 => "T2, 승인자 1명",
        Tier::T3 => "T3, 승인자 2명",
    }
}

fn approvers(tier: Tier) -> &'static str {
    match tier {
        Tier::T0 => "승인자 누구나 지시할 수 있으며, 계획이 바뀌면 무효입니다",
        Tier::T1 | Tier::T2 => "승인자 한 명이 바로 이 호출에 30분간 유효한 서명을 하며, 계획이 바뀌면 무효입니다",
        Tier::T3 => "승인자 두 명이 바로 이 호출에 30분간 유효한 서명을 하며, 계획이 바뀌면 무효입니다",
    }
}

fn work(work: Work) -> &'static str {
    match work {
        Work::Capture => "이전 상태 보관",
        Work::Join => "효과 요청",
        Work::Inspect => "상태 확인",
        Work::Apply => "적용",
        Work::ReadBack => "다시 읽기",
        Work::Undo => "되돌리기",
        Work::CheckUndone => "복구 확인",
    }
}

fn state(state: State) -> &'static str {
    match state {
        State::Intent => "의도: 이전 상태를 보관했고 되돌릴 수 있음",
        State::Applied => "적용됨",
        State::Verified => "검증됨: 적용 상태 유지",
        State::Undone => "되돌림: 이전 상태로 복구",
        State::Failed => "실패",
    }
}

fn mode(mode: Mode) -> &'static str {
    match mode {
        Mode::DryRun => "모의 실행",
        Mode::Approval => "승인 대기",
        Mode::Auto => "자동",
    }
}
