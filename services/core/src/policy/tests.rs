use super::*;

fn read(text: &str) -> PolicyFacts {
    PolicyFacts::read(text, "111122223333", &BTreeSet::from(["222233334444".to_owned()])).expect("a policy")
}

fn statement(text: &str) -> PolicyFacts {
    read(&format!(r#"{{"Version":"2012-10-17","Statement":{text}}}"#))
}

#[test]
fn sees_what_allows_everything() {
    for (body, expected) in [
        (r#""Action":"*","Resource":"*""#, true),
        (r#""Action":["s3:GetObject","*:*"],"Resource":["*"]"#, true),
        (r#""Action":"iam:*","Resource":"*""#, true),
        (r#""Action":"iam:*","Resource":"arn:aws:iam::*:*""#, true),
        (r#""action":"IAM:*","resource":"*""#, true),
        (r#""Action":"i*:*","Resource":"*""#, true),
        (r#""Action":"iam:Attach*","Resource":"*""#, true),
        (r#""Action":["s3:*","iam:put*"],"Resource":"*""#, true),
        (r#""Action":"iam:*RolePolic?","Resource":"*""#, true),
        (r#""Action":["iam:Create*","iam:PassRole"],"Resource":"*""#, true),
        (r#""Action":"iam:Create*","Resource":"*""#, false),
        (r#""Action":"iam:AttachRolePolicy","Resource":"*""#, false),
        (r#""Action":["iam:Get*","iam:List*","iam:PassRole"],"Resource":"*""#, false),
        (r#""Action":"iam:Attach*","Resource":"arn:aws:iam::111122223333:role/app-*""#, false),
        (r#""NotAction":"s3:*","Resource":"*""#, true),
        (r#""NotAction":"*","Resource":"*""#, false),
        (r#""Action":"*","NotResource":"arn:aws:s3:::vault""#, true),
        (r#""Action":"*","Resource":"*","Condition":{"Bool":{"aws:MultiFactorAuthPresent":"true"}}"#, true),
        (r#""Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:ResourceTag/team":"a"}}"#, false),
        (r#""Action":"s3:*","Resource":"*""#, false),
        (r#""Action":"*","Resource":"arn:aws:s3:::bucket/*""#, false),
    ] {
        let facts = statement(&format!(r#"[{{"Effect":"Allow",{body}}}]"#));
        assert_eq!(facts.allows_everything, expected, "{body}");
        assert!(!statement(&format!(r#"{{"Effect":"Deny",{body}}}"#)).allows_everything, "deny {body}");
    }
}

#[test]
fn sees_who_is_public() {
    for (body, expected) in [
        (r#""Principal":"*""#, true),
        (r#""Principal":{"AWS":"*"}"#, true),
        (r#""principal":{"aws":["arn:aws:iam::111122223333:root","*"]}"#, true),
        (r#""NotPrincipal":{"AWS":"arn:aws:iam::111122223333:root"}"#, true),
        (r#""Principal":{"Service":"*"}"#, false),
        (r#""Principal":{"AWS":"arn:aws:iam::999988887777:root"}"#, false),
        (r#""Principal":"*","Condition":{"StringEquals":{"aws:PrincipalOrgID":"o-abc"}}"#, false),
        (r#""Principal":"*","Condition":{"StringEqualsIfExists":{"aws:PrincipalOrgID":"o-abc"}}"#, true),
        (r#""Principal":"*","Condition":{"StringNotEquals":{"aws:SourceAccount":"111122223333"}}"#, true),
        (r#""Principal":"*","Condition":{"StringLike":{"aws:PrincipalOrgID":"*"}}"#, true),
        (r#""Principal":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:::uploads"}}"#, false),
        (r#""Principal":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:s3:*:*:*"}}"#, true),
        (r#""Principal":"*","Condition":{"ArnLike":{"aws:PrincipalArn":"arn:aws:iam::*:role/*"}}"#, true),
        (r#""Principal":"*","Condition":{"ArnLike":{"aws:SourceArn":"arn:aws:lambda:*:*:function:*"}}"#, true),
        (r#""Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":["203.0.113.0/24"]}}"#, false),
        (r#""Principal":"*","Condition":{"IpAddress":{"aws:SourceIp":["203.0.113.0/24","0.0.0.0/0"]}}"#, true),
        (r#""Principal":"*","Condition":{"Bool":{"aws:SecureTransport":"true"}}"#, true),
        (r#""Principal":"*","Condition":{"StringEquals":{"sts:ExternalId":"x"}}"#, true),
    ] {
        let facts = statement(&format!(r#"{{"Effect":"Allow","Action":"s3:GetObject","Resource":"*",{body}}}"#));
        assert_eq!(facts.public_principal, expected, "{body}");
    }
}

#[test]
fn names_foreign_accounts_and_whether_a_condition_guards_them() {
    let facts = statement(
        r#"[{"Effect":"Allow","Principal":{"AWS":["111122223333","222233334444","arn:aws:iam::999988887777:root"],
             "Service":"ec2.amazonaws.com","Federated":"cognito-identity.amazonaws.com"},"Action":"sts:AssumeRole"},
            {"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::888877776666:role/vendor"},"Action":"sts:AssumeRole",
             "Condition":{"StringEquals":{"sts:ExternalId":"f3"}}}]"#,
    );
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    assert_eq!(facts.external_accounts, set(&["888877776666", "999988887777"]));
    assert_eq!(facts.unguarded_accounts, set(&["999988887777"]));
    assert_eq!(facts.services, set(&["ec2.amazonaws.com"]));
    assert_eq!(facts.federated, set(&["cognito-identity.amazonaws.com"]));
    assert!(!facts.public_principal);
    let tied = statement(
        r#"{"Effect":"Allow","Principal":"*","Action":"*","Condition":{"StringEquals":{"aws:PrincipalAccount":"999988887777"}}}"#,
    );
    assert_eq!((tied.public_principal, tied.external_accounts), (false, set(&["999988887777"])));
}

#[test]
fn sees_whom_of_a_provider_a_role_lets_in() {
    let provider = "arn:aws:iam::111122223333:oidc-provider/token.actions.githubusercontent.com";
    let issuer = "token.actions.githubusercontent.com";
    for (conditions, open) in [
        (String::new(), true),
        (format!(r#","Condition":{{"StringEquals":{{"{issuer}:aud":"sts.amazonaws.com"}}}}"#), true),
        (format!(r#","Condition":{{"StringLike":{{"{issuer}:sub":"repo:*"}}}}"#), true),
        (format!(r#","Condition":{{"StringLike":{{"{issuer}:sub":"repo:example/app:*"}}}}"#), false),
    ] {
        let facts = statement(&format!(
            r#"{{"Effect":"Allow","Action":"sts:AssumeRoleWithWebIdentity","Principal":{{"Federated":"{provider}"}}{conditions}}}"#
        ));
        assert_eq!(facts.unguarded_federated.contains(provider), open, "{conditions}");
    }
}

#[test]
fn patterns_cover_names() {
    for (pattern, covers) in [
        ("iam", true),
        ("I*", true),
        ("*m", true),
        ("?a?", true),
        ("i**m*", true),
        ("ia", false),
        ("*x*", false),
        ("", false),
    ] {
        assert_eq!(is_like(pattern, "iam"), covers, "{pattern}");
    }
}

#[test]
fn reads_encoded_text_and_survives_the_hostile() {
    let encoded = "%7B%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C%22Action%22%3A%22*%22%2C%22Resource%22%3A%22*%22%7D%5D%7D";
    assert!(read(encoded).allows_everything);
    let known = BTreeSet::new();
    let deep = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let long = " ".repeat(PolicyFacts::TEXT_BYTES_MAX + 1);
    for bad in ["", "%", "%zz", "%7", "null", "[]", "{}", "\"\\\"\\\"\"", "invalid", deep.as_str(), long.as_str(), "%é"]
    {
        assert_eq!(PolicyFacts::read(bad, "", &known), None, "{}", &bad[..bad.len().min(20)]);
    }
    for odd in [
        r#"{"Statement":7}"#,
        r#"{"Statement":[null,{"Effect":["Allow"]},{"Effect":"Allow","Principal":7,"Condition":[1],"Action":{}}]}"#,
    ] {
        assert_eq!(PolicyFacts::read(odd, "", &known), Some(PolicyFacts::default()), "{odd}");
    }
}
