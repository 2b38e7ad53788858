//! Korean.

use trailwarden_core::alert::{Alert, Kind, StepState};
use trailwarden_core::level::Severity;

use super::{Label, Tongue, has_response, inert, parts, percent, short, tally};

pub(super) struct Korean;

impl Tongue for Korean {
    fn severity(&self, severity: Severity) -> &'static str {
        match severity {
            Severity::Informational => "정보",
            Severity::Low => "낮음",
            Severity::Medium => "주의",
            Severity::High => "높음",
            Severity::Critical => "긴급",
        }
    }

    fn subject(&self, alert: &Alert) -> String {
        let who = short(&alert.principal);
        let place =
            if alert.account.is_empty() { String::new() } else { format!(" (계정 {})", inert(&alert.account)) };
        if alert.ended {
            return format!("해소됨: {} ({who})", condition(alert.kind));
        }
        match alert.kind {
            Kind::Case => format!("{} 활동: {who}{place}", verdict(&alert.verdict)),
            Kind::Anomaly => format!("이상 징후: {who}의 {}{place}", inert(&alert.what)),
            Kind::Block => format!("차단됨: {who}{place}"),
            Kind::CallAdministrator => format!("관리자 결정 필요: {who}{place}"),
            Kind::BackUpLogs => format!("로그 보존 완료: {who}{place}"),
            Kind::Respond => format!("대응 조치 완료: {who}{place}"),
            Kind::ChannelFailed => format!("알림 채널 장애: {who}"),
            Kind::Test => format!("시험 알림: {who} (실제 사건 아님)"),
            kind => format!("{}: {who}", condition(kind)),
        }
    }

    fn lead(&self, alert: &Alert) -> String {
        let (who, Alert { seen, limit, .. }) = (inert(&alert.principal), alert);
        if alert.ended {
            return format!("{who}: {} 상태가 해소되었습니다.", condition(alert.kind));
        }
        match alert.kind {
            Kind::Lag => format!("{who}: 메시지 {seen}건이 대기 중입니다(한도 {limit}건). 판정이 늦어집니다."),
            Kind::DeadLetters => format!(
                "처리할 수 없는 기록을 따로 보관했습니다(모두 {seen}건). `trailwarden doctor --dead-letters`로 확인하십시오."
            ),
            Kind::NotReady => format!("{who}: {} 동안 작동하지 못하고 있습니다.", self.duration(seconds(*seen))),
            Kind::EventDelay => format!("{who}: 이벤트가 발생 후 {} 만에 도착합니다.", self.duration(seconds(*seen))),
            Kind::Cpu => format!("{who}: 5분 동안 CPU를 {seen} % 사용했습니다(한도 {limit} %)."),
            Kind::Memory => format!("{who}: 메모리를 {seen} % 사용 중입니다(한도 {limit} %)."),
            Kind::Anomaly => format!("{who}: 평소와 다른 호출 {}", inert(&alert.what)),
            Kind::Case => match alert.score {
                Some(score) => format!("{who}: 공격일 확률 {}", percent(score)),
                None => format!("{who}: 사건이 판정되었습니다."),
            },
            Kind::Block => format!("{who}: 차단했습니다. {}", inert(&alert.what)),
            Kind::CallAdministrator => format!("{who}: 대응 조치가 관리자의 결정을 기다립니다. {}", inert(&alert.what)),
            Kind::BackUpLogs => format!("{who}: 관련 기록을 증거 저장소에 복사했습니다."),
            Kind::Respond => format!("{who}: 대응 조치를 실행했습니다. {}", inert(&alert.what)),
            Kind::ChannelFailed => format!("알림 채널 {who}: 전달되지 않습니다. {}", inert(&alert.what)),
            Kind::Test => "시험 알림입니다. 이 글이 보이면 채널이 정상입니다.".to_owned(),
        }
    }

    fn done(&self, alert: &Alert) -> String {
        if !has_response(alert.kind) {
            return String::new();
        }
        let ([proposed, waiting, done, failed, undone], approvers) = tally(alert);
        let mut parts = Vec::new();
        let mut part = |count: usize, what: &str| {
            if count > 0 {
                parts.push(format!("{what} {count}건"));
            }
        };
        part(done, "완료");
        part(failed, "실패");
        part(undone, "되돌림");
        part(proposed, "변경 없이 제안만 됨");
        part(waiting, &format!("승인 대기({approvers}명 필요)"));
        match parts.is_empty() {
            true => "조치하지 않았으며 제안된 조치도 없습니다.".to_owned(),
            false => format!("대응: {}.", parts.join(", ")),
        }
    }

    fn state(&self, state: StepState) -> String {
        match state {
            StepState::Proposed => "제안됨".to_owned(),
            StepState::Waits { approvers } => format!("승인 대기({approvers}명 필요)"),
            StepState::Done => "완료".to_owned(),
            StepState::Failed => "실패".to_owned(),
            StepState::Undone => "되돌림".to_owned(),
        }
    }

    fn steps_more(&self, more: u32) -> String {
        format!("그 밖에 {more}건")
    }

    fn held(&self, others: u64, since: &str) -> String {
        format!("{since} 이후 같은 종류의 알림 {others}건을 묶었습니다.")
    }

    fn label(&self, label: Label) -> &'static str {
        match label {
            Label::Severity => "심각도",
            Label::Who => "주체",
            Label::Account => "계정",
            Label::Case => "사건",
            Label::Score => "확률",
            Label::When => "발생 시각",
            Label::Delivery => "AWS 전달까지",
            Label::Ours => "알림까지",
            Label::Look => "사건 보기",
        }
    }

    fn duration(&self, ms: i64) -> String {
        match parts(ms) {
            (0, 0, 0, 0) if ms > 0 => format!("{ms} ms"),
            (0, 0, 0, seconds) => format!("{seconds}초"),
            (0, 0, minutes, seconds) => format!("{minutes}분 {seconds}초"),
            (0, hours, minutes, _) => format!("{hours}시간 {minutes}분"),
            (days, hours, ..) => format!("{days}일 {hours}시간"),
        }
    }
}

fn seconds(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX).saturating_mul(1_000)
}

fn verdict(verdict: &str) -> String {
    match verdict {
        "malicious" => "악성".to_owned(),
        "suspicious" | "" => "의심".to_owned(),
        "benign" => "정상".to_owned(),
        "insufficient" => "판단 불가".to_owned(),
        other => inert(other),
    }
}

const fn condition(kind: Kind) -> &'static str {
    match kind {
        Kind::Lag => "메시지 적체",
        Kind::DeadLetters => "처리 불가 기록 발생",
        Kind::NotReady => "작동 불가",
        Kind::EventDelay => "이벤트 지연",
        Kind::Cpu => "CPU 과부하",
        Kind::Memory => "메모리 부족",
        Kind::Anomaly => "이상 징후",
        Kind::Case => "사건",
        Kind::Block => "차단",
        Kind::CallAdministrator => "결정 필요",
        Kind::BackUpLogs => "로그 보존",
        Kind::Respond => "대응 조치",
        Kind::ChannelFailed => "알림 채널 장애",
        Kind::Test => "시험",
    }
}
