//! The vocabulary of claims in Korean, and why one undercuts another.

use crate::negotiation::predicate::Predicate::{self, self as P};

/// A claim as a sentence.
pub(super) fn sentence(predicate: Predicate) -> &'static str {
    match predicate {
        P::LoggingTamper => "감사 추적이 중지되거나 약화되었습니다.",
        P::DetectorTamper => "위협 탐지기가 비활성화되거나 무력화되었습니다.",
        P::OrganisationLeave => "계정이 조직을 탈퇴하여 조직의 가드레일을 벗어났습니다.",
        P::PrivilegeGrant => "광범위한 권한이 부여되었습니다.",
        P::PrincipalCreation => "새 주체가 생성되었습니다.",
        P::CredentialCreationForOther => "다른 주체의 자격 증명이 생성되었습니다.",
        P::CredentialCreationForSelf => "호출자가 자신의 자격 증명을 추가로 생성했습니다.",
        P::PasswordResetForOther => "다른 사용자의 콘솔 비밀번호가 설정되었습니다.",
        P::TrustWidened => "역할을 맡을 수 있는 호출자의 범위가 넓어졌습니다.",
        P::PublicExposure => "리소스가 모든 사람에게 공개되었습니다.",
        P::ExternalSharing => "외부 계정과 데이터가 공유되었습니다.",
        P::NetworkOpening => "네트워크가 전체 인터넷에 개방되었습니다.",
        P::SecretSweep => "짧은 시간에 많은 보안 암호(시크릿)가 조회되었습니다.",
        P::EnumerationBurst => "짧은 시간에 여러 종류의 목록이 조회되었습니다.",
        P::CredentialProbe => "호출자가 자격 증명으로 무엇을 할 수 있는지 시험했습니다.",
        P::InstanceCredentialUse => "인스턴스의 자격 증명이 인스턴스 밖에서 사용되었습니다.",
        P::LoginWithoutMfa => "MFA 없이 콘솔에 로그인했습니다.",
        P::RootUse => "루트 사용자가 활동했습니다.",
        P::RemoteCommand => "인스턴스에 명령이 전송되었습니다.",
        P::SshKeyPush => "인스턴스에 SSH 키가 전송되었습니다.",
        P::StartupScriptChange => "인스턴스의 시작 스크립트가 변경되었습니다.",
        P::CodeChange => "함수의 코드가 변경되었습니다.",
        P::PersistenceResource => "나중에 다시 접근할 수 있는 수단이 남겨졌습니다.",
        P::FederationGrant => "페더레이션을 통해 접근 권한이 부여되었습니다.",
        P::ComputeAbuse => "대규모 컴퓨팅 자원이 시작되었습니다.",
        P::ModelAbuse => "호스팅 모델이 활성화되거나 호출되었습니다.",
        P::DataDestruction => "데이터나 백업이 삭제되거나 만료되도록 설정되었습니다.",
        P::KeyDestruction => "암호화 키가 비활성화되거나 삭제가 예약되었습니다.",
        P::EmailAbuse => "메일 서비스가 발송용으로 준비되었습니다.",
        P::UnusualRegion => "평소와 다른 리전에서 작업이 이루어졌습니다.",
        P::DefenceDiscovery => "보안 체계를 살펴보았습니다.",
        P::DeniedBurst => "다섯 건 이상의 호출이 거부되었습니다. 호출자가 자신의 권한을 모르고 있습니다.",
        P::SeveralTactics => "침해의 한 단계가 아니라 여러 단계가 관찰되었습니다.",
        P::SeveralWeakSigns => "하나의 장기 접근 키에서 서로 다른 종류의 약한 징후가 여럿 나왔습니다.",
        P::LongTermKeyWithoutMfa => "만료되지 않는 키가 MFA 없이 사용되었습니다.",
        P::FastSequence => "각 단계가 2분 이내에 잇따라 실행되었습니다.",
        P::NewSourceNetwork => "호출자가 이 네트워크에서 접속한 적이 없습니다.",
        P::FirstUseOfApi => "호출자가 이 API를 사용한 적이 없습니다.",
        P::FirstRegion => "이 계정에서 해당 리전을 사용한 주체가 없었습니다.",
        P::NewAgent => "호출자가 이런 종류의 도구를 사용한 적이 없습니다.",
        P::UnusualHour => "호출자가 이 시간대에 활동하는 일은 거의 없습니다.",
        P::RateSpike => "호출자가 평소보다 훨씬 많이 활동했습니다.",
        P::BaselineMatch => "호출자에게 일상적인 활동입니다. 알려진 네트워크에서 자주 하던 호출입니다.",
        P::PeerMatch => "같은 종류의 다른 호출자들도 자주 하는 호출입니다.",
        P::LongLivedPrincipal => "호출자는 일주일 이상 활동해 왔습니다.",
        P::KnownAutomation => "운영자가 호출자를 자동화로 등록했습니다.",
        P::KnownAdministrator => "운영자가 호출자를 관리자로 등록했습니다.",
        P::MfaSession => "세션이 MFA를 거쳐 시작되었습니다.",
        P::ServicePrincipal => "AWS 서비스가 스스로 수행한 작업입니다.",
        P::NothingSucceeded => "성공한 호출이 없습니다.",
        P::TargetCreatedInCase => "신규 사용자 등록으로 보입니다. 몇 분 전에 생성된 사용자의 자격 증명입니다.",
        P::FederatedWorkforceSession => "조직의 자체 로그인을 거친 세션입니다.",
    }
}

/// A deed as the stem of a verb in 하다; empty where the claim names none.
pub(super) fn deed(predicate: Predicate) -> &'static str {
    match predicate {
        P::LoggingTamper => "감사 추적을 중지하거나 약화",
        P::DetectorTamper => "위협 탐지기를 비활성화하거나 무력화",
        P::OrganisationLeave => "계정을 조직에서 탈퇴 처리",
        P::PrivilegeGrant => "광범위한 권한을 부여",
        P::PrincipalCreation => "새 주체를 생성",
        P::CredentialCreationForOther => "다른 주체의 자격 증명을 생성",
        P::CredentialCreationForSelf => "자신의 키를 추가로 생성",
        P::PasswordResetForOther => "다른 주체의 비밀번호를 설정",
        P::TrustWidened => "역할의 신뢰 범위를 확대",
        P::PublicExposure => "리소스를 모든 사람에게 공개",
        P::ExternalSharing => "외부 계정과 데이터를 공유",
        P::NetworkOpening => "네트워크를 전체 인터넷에 개방",
        P::SecretSweep => "짧은 시간에 많은 시크릿을 조회",
        P::EnumerationBurst => "환경에 무엇이 있는지 목록을 조회",
        P::CredentialProbe => "자격 증명의 효력을 시험",
        P::InstanceCredentialUse => "인스턴스의 자격 증명을 그 밖에서 사용",
        P::LoginWithoutMfa => "MFA 없이 콘솔에 로그인",
        P::RootUse => "루트 사용자로 활동",
        P::RemoteCommand => "인스턴스에 명령을 전송",
        P::SshKeyPush => "인스턴스에 SSH 키를 전송",
        P::StartupScriptChange => "인스턴스의 시작 스크립트를 변경",
        P::CodeChange => "함수의 코드를 변경",
        P::PersistenceResource => "다시 들어올 수 있는 수단을 설치",
        P::FederationGrant => "페더레이션으로 접근 권한을 부여",
        P::ComputeAbuse => "대규모 컴퓨팅 자원을 가동",
        P::ModelAbuse => "호스팅 모델을 이용",
        P::DataDestruction => "데이터를 삭제하거나 만료되도록 설정",
        P::KeyDestruction => "암호화 키를 비활성화하거나 삭제를 예약",
        P::EmailAbuse => "메일 서비스를 발송용으로 준비",
        P::UnusualRegion => "평소와 다른 리전에서 작업",
        P::DefenceDiscovery => "보안 체계를 정찰",
        P::DeniedBurst
        | P::SeveralTactics
        | P::SeveralWeakSigns
        | P::LongTermKeyWithoutMfa
        | P::FastSequence
        | P::NewSourceNetwork
        | P::FirstUseOfApi
        | P::FirstRegion
        | P::NewAgent
        | P::UnusualHour
        | P::RateSpike
        | P::BaselineMatch
        | P::PeerMatch
        | P::LongLivedPrincipal
        | P::KnownAutomation
        | P::KnownAdministrator
        | P::MfaSession
        | P::ServicePrincipal
        | P::NothingSucceeded
        | P::TargetCreatedInCase
        | P::FederatedWorkforceSession => "",
    }
}

/// Why the first claim undercuts the second, as the end of a sentence; empty for an attack that the table does not have.
pub(super) fn why(by: Predicate, on: Predicate) -> &'static str {
    match (by, on) {
        (P::KnownAutomation, P::UnusualHour) => "자동화는 정해진 시간대를 따로 두고 동작합니다",
        (P::KnownAutomation, P::RateSpike) => "자동화는 작업이 몰리는 것이 보통입니다",
        (P::KnownAutomation, P::FastSequence) => "자동화는 언제나 빠르게 진행됩니다",
        (P::ServicePrincipal, P::UnusualHour) => "AWS는 자체 일정에 따라 동작합니다",
        (P::ServicePrincipal, P::RateSpike) => "AWS의 작업은 한꺼번에 몰리는 것이 보통입니다",
        (P::ServicePrincipal, P::NewSourceNetwork) => "AWS는 자체 네트워크에서 호출합니다",
        (P::ServicePrincipal, P::NewAgent) => "AWS는 자체 도구로 호출합니다",
        (P::KnownAdministrator, P::FirstUseOfApi) => "관리자의 업무에는 새로운 호출도 포함됩니다",
        (P::PeerMatch, P::FirstUseOfApi) => "같은 종류의 호출자에게는 일상적인 호출입니다",
        (P::InstanceCredentialUse, P::ServicePrincipal | P::KnownAutomation | P::LongLivedPrincipal) => {
            "자격 증명이 발급받은 인스턴스를 벗어났습니다"
        }
        (P::NewSourceNetwork, P::KnownAutomation) => "자동화는 알려진 곳에서 실행됩니다",
        (P::NewSourceNetwork, P::LongLivedPrincipal) => {
            "활동 기간은 누구의 자격 증명인지를 말할 뿐, 누가 쥐고 있는지는 말하지 않습니다"
        }
        (P::FirstRegion, P::PeerMatch) => "같은 종류의 호출자도 그 리전에서는 작업하지 않습니다",
        (P::LoggingTamper, P::BaselineMatch) => "어떤 관행도 기록을 끄는 행위를 정당화하지 않습니다",
        (P::SeveralTactics, P::BaselineMatch) => "하나씩은 일상적인 단계라도 함께 나타나면 일상적이지 않습니다",
        (P::SeveralTactics, P::PeerMatch) => "다른 호출자는 이런 단계를 따로따로 밟을 뿐, 함께 밟지 않습니다",
        (P::DeniedBurst, P::NothingSucceeded) => "거듭 거부되는 것은 탐색의 징후입니다",
        _ => "",
    }
}
