//! What steps say of themselves, in Korean, by the English sentence. A test walks every step and names a missing one.

pub(crate) fn korean(english: &str) -> Option<&'static str> {
    Some(match english {
        "none: one tag on one user" => "없음: 사용자 한 명에 태그 하나를 답니다",
        "none: one tag on one role" => "없음: 역할 하나에 태그 하나를 답니다",
        "none: one tag on one instance" => "없음: 인스턴스 하나에 태그 하나를 답니다",
        "whatever uses this one access key" => "이 접근 키를 사용하는 모든 작업",
        "one user: the calls most often abused" => "사용자 한 명: 가장 자주 악용되는 호출",
        "one user: everything it does, with every key and in the console" => {
            "사용자 한 명: 모든 키와 콘솔에서 하는 모든 작업"
        }
        "every session of one role issued before the named time; workloads sign in anew" => {
            "명시된 시각 이전에 발급된 역할 하나의 모든 세션. 워크로드는 자격 증명을 다시 발급받습니다"
        }
        "one role that the incident created: all its sessions" => "침해 중에 생성된 역할 하나와 그 모든 세션",
        "one role: nobody and nothing can assume it" => "역할 하나: 누구도, 어떤 서비스도 이 역할을 맡을 수 없습니다",
        "one user: signing in to the console" => "사용자 한 명: 콘솔 로그인",
        "one instance: everything that talks to it" => "인스턴스 하나: 이 인스턴스와 통신하는 모든 것",
        "cost: one snapshot for each of the instance's volumes, taken at one moment" => {
            "비용: 같은 시점에 인스턴스의 볼륨마다 스냅샷을 하나씩 만듭니다"
        }
        "one function: nothing can run it" => "함수 하나: 실행할 수 없게 됩니다",
        "one bucket: whoever reads or writes it without signing in, or by a public policy" => {
            "버킷 하나: 로그인 없이, 또는 퍼블릭 정책으로 읽거나 쓰는 모든 호출자"
        }
        "one bucket: whoever deletes or expires objects in it" => "버킷 하나: 객체를 삭제하거나 만료시키는 모든 호출자",
        "every other account that may use this snapshot" => "이 스냅샷을 사용할 수 있는 다른 모든 계정",
        "every other account that may launch this image" => "이 이미지를 시작할 수 있는 다른 모든 계정",
        "every other account that may restore this snapshot" => "이 스냅샷을 복원할 수 있는 다른 모든 계정",
        "none: the key works again" => "없음: 키를 다시 사용할 수 있게 됩니다",
        "an account: every user, role and root in it" => "계정 하나: 그 안의 모든 사용자, 역할, 루트",
        "none: the trail records again" => "없음: 추적이 다시 기록됩니다",
        "none: the detector detects again" => "없음: 탐지기가 다시 작동합니다",
        "none: the recorder records again" => "없음: 레코더가 다시 기록합니다",
        "none: a copy of the case's raw records" => "없음: 케이스의 원본 레코드를 복사합니다",
        other => return noted(other),
    })
}

fn noted(english: &str) -> Option<&'static str> {
    Some(match english {
        "a person deletes the snapshots when the case is closed (ec2 DeleteSnapshot)" => {
            "케이스가 종결되면 담당자가 스냅샷을 삭제합니다(ec2 DeleteSnapshot)"
        }
        "nothing: scheduling the deletion again (kms ScheduleKeyDeletion) is for the key's owner" => {
            "없음: 삭제를 다시 예약하는 일(kms ScheduleKeyDeletion)은 키 소유자의 몫입니다"
        }
        "nothing: it restores what was; stopping it again is for its owner" => {
            "없음: 원래 상태로 되돌리는 조치이며, 다시 중지하는 일은 소유자의 몫입니다"
        }
        "nothing: the copy stays until a person lifts its legal hold (s3 PutObjectLegalHold)" => {
            "없음: 담당자가 법적 보존을 해제할 때까지(s3 PutObjectLegalHold) 사본이 유지됩니다"
        }
        "The alert channels are told as well." => "알림 채널에도 통지합니다.",
        "The key is never deleted. Temporary credentials made with it live on until they expire." => {
            "키는 삭제하지 않습니다. 이 키로 발급한 임시 자격 증명은 만료될 때까지 유효합니다."
        }
        "This is a temporary key, which has no status: revoke the role's sessions instead." => {
            "임시 키에는 상태가 없으므로 대신 역할의 세션을 해지하십시오."
        }
        "A tourniquet: among others sts:AssumeRole, cloudtrail:StopLogging, secretsmanager:GetSecretValue and \
             s3:PutObject stay allowed." => {
            "응급 조치입니다. sts:AssumeRole, cloudtrail:StopLogging, secretsmanager:GetSecretValue, s3:PutObject 등은 여전히 허용됩니다."
        }
        "Where the quota for inline policies is full, AWSDenyAll is attached instead (AttachUserPolicy)." => {
            "인라인 정책 한도가 찼다면 대신 AWSDenyAll을 연결합니다(AttachUserPolicy)."
        }
        "Sessions of roles that the user has assumed live on." => "사용자가 이미 맡은 역할의 세션은 계속 유효합니다.",
        "Who may assume the role can do so again at once: lock its trust too if that is the attacker." => {
            "역할을 맡을 수 있는 호출자는 곧바로 다시 맡을 수 있습니다. 그 호출자가 공격자라면 신뢰 정책도 잠그십시오."
        }
        "Sessions that exist live on: revoke them too." => "기존 세션은 계속 유효하므로 함께 해지하십시오.",
        "Console sessions that exist live on until they expire." => "기존 콘솔 세션은 만료될 때까지 유효합니다.",
        "MFA devices enrolled during the incident stay: a person deactivates them (iam DeactivateMFADevice)." => {
            "침해 중에 등록된 MFA 장치는 그대로 남으므로 담당자가 비활성화합니다(iam DeactivateMFADevice)."
        }
        "The target's name is empty or holds characters that AWS names do not: \
             the record may be forged, a person checks it first." => {
            "대상의 이름이 비어 있거나 AWS 이름에 쓸 수 없는 문자를 포함합니다. 위조된 레코드일 수 있으므로 담당자가 먼저 확인합니다."
        }
        other => return noted_of_data(other),
    })
}

fn noted_of_data(english: &str) -> Option<&'static str> {
    Some(match english {
        "A bucket that had no public access block gets it removed on undo." => {
            "퍼블릭 액세스 차단이 없던 버킷은 되돌릴 때 차단 설정을 제거합니다."
        }
        "Where object ownership disables access lists, S3 refuses the second call, and it is not needed." => {
            "객체 소유권 설정으로 ACL이 비활성화된 경우 S3가 두 번째 호출을 거부하며, 이 호출은 필요하지 않습니다."
        }
        "The statement is added to those that the bucket's policy has." => "버킷 정책의 기존 문에 이 문을 추가합니다.",
        "A bucket without a policy loses this one on undo; versioning that was never on can only be suspended." => {
            "정책이 없던 버킷은 되돌릴 때 이 정책을 제거합니다. 켜진 적 없는 버전 관리는 일시 중지만 할 수 있습니다."
        }
        "Undoing shares it with the same accounts again; making it public again is for a person." => {
            "되돌리면 같은 계정들과 다시 공유합니다. 다시 공개하는 일은 담당자가 합니다."
        }
        "Copies that were already taken stay with whoever took them." => "이미 복사해 간 사본은 그대로 남습니다.",
        "A cluster's snapshot has calls of its own (ModifyDBClusterSnapshotAttribute)." => {
            "클러스터 스냅샷에는 별도의 호출이 있습니다(ModifyDBClusterSnapshotAttribute)."
        }
        "A key that is disabled but not to be deleted needs the second call only." => {
            "삭제 예정이 아니라 비활성화만 된 키에는 두 번째 호출만 필요합니다."
        }
        other => return noted_of_the_rest(other),
    })
}

fn noted_of_the_rest(english: &str) -> Option<&'static str> {
    Some(match english {
        "Only logging is restored, unless the operator has written down what the trail should be (executor.trails): then \
         its bucket and selectors are, and are read back." => {
            "운영자가 추적의 정상 설정을 적어 두지 않았다면(executor.trails) 로깅만 복구합니다. 적어 두었다면 버킷과 선택기도 복구하고 다시 읽어 확인합니다."
        }
        "A trail that was deleted is created anew by a person." => "삭제된 추적은 담당자가 새로 만듭니다.",
        "A detector that was deleted is created anew by a person; its findings are gone." => {
            "삭제된 탐지기는 담당자가 새로 만듭니다. 이전 결과는 남아 있지 않습니다."
        }
        "A recorder without a delivery channel does not start: restore the channel first." => {
            "전송 채널이 없는 레코더는 시작되지 않으므로 채널을 먼저 복구하십시오."
        }
        "The evidence bucket needs object lock." => "증거 버킷에는 객체 잠금이 필요합니다.",
        "Called from the organisation's management account or its delegate, which no such policy reaches." => {
            "이런 정책이 적용되지 않는 조직의 관리 계정이나 위임 계정에서 호출합니다."
        }
        "Service-linked roles and what services do for themselves go on." => {
            "서비스 연결 역할과 서비스가 스스로 하는 작업은 계속됩니다."
        }
        "The record names no account: AWS refuses the second call." => {
            "레코드에 계정이 없으므로 AWS가 두 번째 호출을 거부합니다."
        }
        "For the seconds between the third and the fourth call the instance accepts everything; that is what ends \
             its open connections." => {
            "세 번째와 네 번째 호출 사이의 몇 초 동안 인스턴스가 모든 연결을 받아들이며, 이 과정에서 열려 있던 연결이 끊어집니다."
        }
        "The third call is made for each network interface, and undone with that interface's own groups." => {
            "세 번째 호출은 네트워크 인터페이스마다 실행하며, 되돌릴 때는 각 인터페이스의 원래 그룹을 사용합니다."
        }
        "The instance keeps running; its role's credentials stay valid elsewhere: revoke the role's sessions too." => {
            "인스턴스는 계속 실행되며 역할의 자격 증명은 다른 곳에서 유효합니다. 역할의 세션도 해지하십시오."
        }
        "The second call is made for each permission granted during the incident, named by the captured policy, and \
             left out where there is none." => {
            "두 번째 호출은 보관된 정책에서 확인한, 침해 중에 부여된 권한마다 실행하며 없으면 생략합니다."
        }
        "A function without a limit of its own loses this one on undo." => {
            "자체 제한이 없던 함수는 되돌릴 때 이 제한을 제거합니다."
        }
        "A playbook of your own: its calls stand in your file." => {
            "직접 작성한 플레이북입니다. 호출은 해당 파일에 있습니다."
        }
        "Some of its calls are none of this version's: it is not carried out." => {
            "일부 호출이 이 버전에 없으므로 실행하지 않습니다."
        }
        _ => return None,
    })
}
