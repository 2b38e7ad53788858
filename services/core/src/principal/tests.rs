use super::*;

const ACCOUNT: &str = "111122223333";

fn check(identity: Identity<'_>, expected: (&str, PrincipalKind, &str, &str, Credential)) {
    let caller = Caller::of(&identity);
    let found =
        (caller.principal.as_ref(), caller.kind, caller.session.as_ref(), caller.session_name, caller.credential);
    assert_eq!(found, expected, "{identity:?}");
}

fn identity<'a>(kind: &'a str, arn: &'a str) -> Identity<'a> {
    Identity { kind, arn, account: ACCOUNT, ..Identity::default() }
}

#[test]
fn users_and_root() {
    use Credential::{Console, LongTermKey, Root, Service, TemporaryKey};
    let arn = "arn:aws:iam::111122223333:user/team/ana";
    let user = Identity { access_key_id: "AKIAEXAMPLE", ..identity("IAMUser", arn) };
    check(user, (arn, PrincipalKind::IamUser, "AKIAEXAMPLE", "ana", LongTermKey));
    let session_token = Identity { access_key_id: "ASIAEXAMPLE", ..user };
    check(session_token, (arn, PrincipalKind::IamUser, "ASIAEXAMPLE", "ana", TemporaryKey));
    let signing_in = Identity { signs_in: true, access_key_id: "", ..user };
    let session = "console:arn:aws:iam::111122223333:user/team/ana";
    check(signing_in, (arn, PrincipalKind::IamUser, session, "ana", Console));
    let bare = Identity { user_name: "ana", ..identity("IAMUser", "") };
    let built = "arn:aws:iam::111122223333:user/ana";
    check(bare, (built, PrincipalKind::IamUser, "", "ana", Credential::Unknown));
    let root = "arn:aws:iam::111122223333:root";
    check(identity("Root", ""), (root, PrincipalKind::Root, "", "", Root));
    let through_service = Identity { invoked_by: "autoscaling.amazonaws.com", ..identity("Root", root) };
    check(through_service, (root, PrincipalKind::Root, "", "", Service));
}

#[test]
fn roles_keep_the_role_and_not_the_session() {
    use Credential::{Console, InstanceRole, TemporaryKey};
    let role = "arn:aws-cn:iam::111122223333:role/Build";
    let assumed = Identity {
        access_key_id: "ASIAEXAMPLE",
        ..identity("AssumedRole", "arn:aws-cn:sts::111122223333:assumed-role/Build/run-17")
    };
    check(assumed, (role, PrincipalKind::Role, "ASIAEXAMPLE", "run-17", TemporaryKey));
    let with_issuer = Identity { issuer_arn: "arn:aws:iam::111122223333:role/ci/Build", from_console: true, ..assumed };
    check(
        with_issuer,
        ("arn:aws:iam::111122223333:role/ci/Build", PrincipalKind::Role, "ASIAEXAMPLE", "run-17", Console),
    );
    let on_instance = Identity {
        access_key_id: "ASIAEXAMPLE",
        ..identity("AssumedRole", "arn:aws:sts::111122223333:assumed-role/Web/i-0123456789abcdef0")
    };
    let web = "arn:aws:iam::111122223333:role/Web";
    check(on_instance, (web, PrincipalKind::Role, "ASIAEXAMPLE", "i-0123456789abcdef0", InstanceRole));
    let delivered = Identity { ec2_role_delivery: true, ..assumed };
    check(delivered, (role, PrincipalKind::Role, "ASIAEXAMPLE", "run-17", InstanceRole));
    let only_id = Identity { principal_id: "AROAEXAMPLE:run-17", ..identity("AssumedRole", "") };
    check(only_id, ("AROAEXAMPLE", PrincipalKind::Role, "", "run-17", Credential::Unknown));
    // The type is not one that AWS documents, the ARN tells.
    let by_arn = Identity { kind: "Unknown", ..assumed };
    check(by_arn, (role, PrincipalKind::Role, "ASIAEXAMPLE", "run-17", TemporaryKey));
}

#[test]
fn services_other_accounts_and_federated_users() {
    use Credential::{Service, TemporaryKey, Unknown};
    let service = Identity { invoked_by: "config.amazonaws.com", ..identity("AWSService", "") };
    check(service, ("config.amazonaws.com", PrincipalKind::AwsService, "", "", Service));
    let untyped = Identity { kind: "", ..service };
    check(untyped, ("config.amazonaws.com", PrincipalKind::AwsService, "", "", Service));
    let other = Identity { principal_id: "AROAEXAMPLE:deploy", ..identity("AWSAccount", "") };
    check(other, ("111122223333/AROAEXAMPLE", PrincipalKind::CrossAccount, "", "deploy", Unknown));
    let anonymous = Identity { account: "ANONYMOUS_PRINCIPAL", ..identity("AWSAccount", "") };
    check(anonymous, ("ANONYMOUS_PRINCIPAL", PrincipalKind::CrossAccount, "", "", Unknown));
    let arn = "arn:aws:sts::111122223333:federated-user/ana";
    let federated = Identity {
        access_key_id: "ASIAEXAMPLE",
        issuer_arn: "arn:aws:iam::111122223333:user/broker",
        ..identity("FederatedUser", arn)
    };
    check(federated, (arn, PrincipalKind::Federated, "ASIAEXAMPLE", "ana", TemporaryKey));
    let saml = Identity { principal_id: "Idp=:ana@example.com", user_name: "ana@example.com", ..Identity::default() };
    for kind in ["SAMLUser", "WebIdentityUser", "Directory"] {
        let saml = Identity { kind, ..saml };
        check(saml, ("Idp=:ana@example.com", PrincipalKind::Federated, "", "ana@example.com", Unknown));
    }
    let centre = Identity {
        on_behalf_of: "544894e8-80c1-707f-60e3-3ba6510dfac1",
        credential_id: "EXAMPLEVHULjJdTUdPJfofVa1sufHDoj7aYcOYcxFVllWR_Whr1fEXAMPLE",
        ..identity("IdentityCenterUser", "")
    };
    check(centre, (centre.on_behalf_of, PrincipalKind::Federated, centre.credential_id, "", Unknown));
}

#[test]
fn nobody_is_unknown() {
    for kind in ["", "...", "Unknown", "IAMUser", "AssumedRole", "AWSService", "AWSAccount", "SAMLUser", "Root"] {
        let nobody = Identity { kind, ..Identity::default() };
        let caller = Caller::of(&nobody);
        assert_eq!((caller.principal.as_ref(), caller.kind), (UNKNOWN, PrincipalKind::Unknown), "{kind}");
    }
}

proptest::proptest! {
    #[test]
    fn any_text_gives_a_caller(kind in ".{0,12}", arn in "(arn)?[:/a-zé-]{0,40}", id in "[A-Z:é]{0,9}", name in ".{0,9}") {
        let identity = Identity {
            kind: &kind, arn: &arn, principal_id: &id, user_name: &name, ..Identity::default()
        };
        proptest::prop_assert!(!Caller::of(&identity).principal.is_empty());
    }
}
