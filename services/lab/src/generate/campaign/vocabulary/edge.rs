//! Mail, text messages, names, certificates, distributions and end users' identities.

use rand_chacha::ChaCha8Rng;

use super::{arn, capitals, hex, new_name, one, uuid};
use crate::generate::call::Call;
use crate::generate::world::Account;

plain! {
    read send_quota = "ses" "GetSendQuota";
    read sending_account = "ses" "GetAccount";
    read send_statistics = "ses" "GetSendStatistics";
    read sms_attributes = "sns" "GetSMSAttributes";
    read sms_sandbox = "sns" "GetSMSSandboxAccountStatus";
    read topics = "sns" "ListTopics";
    read hosted_zones = "route53" "ListHostedZones";
    read domains = "route53domains" "ListDomains";
    read distributions = "cloudfront" "ListDistributions";
    read certificates = "acm" "ListCertificates";
    write enable_sending = "ses" "UpdateAccountSendingEnabled";
}

/// A domain of somebody.
pub(in crate::generate) fn domain(rng: &mut ChaCha8Rng) -> String {
    format!("{}.{}", new_name(rng).replace('_', "-"), one(&["example.com", "example.org", "example.net"], rng))
}

calls! {
    read mail_identities = "ses" "ListIdentities" |account, rng| {"identityType": one(&["EmailAddress", "Domain"], rng)};
    read mail_verification = "ses" "GetIdentityVerificationAttributes" |account, rng| {"identities": [domain(rng)]};
    write verify_mail_identity = "ses" "VerifyEmailIdentity" |account, rng| {"emailAddress": format!("{}@{}", new_name(rng), domain(rng))};
    write create_mail_identity = "ses" "CreateEmailIdentity" |account, rng| {"emailIdentity": domain(rng)}
        => {"identityType": "DOMAIN", "verifiedForSendingStatus": false};
    write mail_account_details = "ses" "PutAccountDetails" |account, rng| {
        "mailType": one(&["MARKETING", "TRANSACTIONAL"], rng), "websiteURL": format!("https://{}", domain(rng)),
        "productionAccessEnabled": true,
    };
    write send_mail[identity] = "ses" "SendEmail" |account, rng| {
        "fromEmailAddress": format!("info@{identity}"), "destination": "HIDDEN_DUE_TO_SECURITY_REASONS",
        "content": "HIDDEN_DUE_TO_SECURITY_REASONS",
    } @ "AWS::SES::EmailIdentity" { arn(account, "ses", &format!("identity/{identity}")) } + data;
    write publish = "sns" "Publish" |account, rng| {
        "phoneNumber": "HIDDEN_DUE_TO_SECURITY_REASONS", "message": "HIDDEN_DUE_TO_SECURITY_REASONS",
    } => {"messageId": uuid(rng)} + data;
    read record_sets = "route53" "ListResourceRecordSets" |account, rng| {"hostedZoneId": format!("Z{}", capitals(rng, 13))};
    read zone = "route53" "GetHostedZone" |account, rng| {"id": format!("Z{}", capitals(rng, 13))};
    write change_records[address] = "route53" "ChangeResourceRecordSets" |account, rng| {
        "hostedZoneId": format!("Z{}", capitals(rng, 13)), "changeBatch": {"changes": [{"action": "UPSERT",
            "resourceRecordSet": {"name": domain(rng), "type": "A", "tTL": one(&[60, 300], rng),
                "resourceRecords": [{"value": address}]}}]},
    } => {"changeInfo": {"id": format!("/change/C{}", capitals(rng, 13)), "status": "PENDING"}};
    write name_servers = "route53domains" "UpdateDomainNameservers" |account, rng| {
        "domainName": domain(rng), "nameservers": [{"name": format!("ns1.{}", domain(rng))}, {"name": format!("ns2.{}", domain(rng))}],
    } => {"operationId": uuid(rng)};
    read distribution_configuration = "cloudfront" "GetDistributionConfig" |account, rng| {"id": format!("E{}", capitals(rng, 13))};
    write update_distribution = "cloudfront" "UpdateDistribution" |account, rng| {
        "id": format!("E{}", capitals(rng, 13)), "ifMatch": format!("E{}", capitals(rng, 13)), "distributionConfig": {
            "enabled": true, "origins": {"items": [{"domainName": domain(rng), "id": new_name(rng)}], "quantity": 1}},
    } => {"distribution": {"status": "InProgress"}};
    write request_certificate = "acm" "RequestCertificate" |account, rng| {"domainName": domain(rng), "validationMethod": "DNS"}
        => {"certificateArn": arn(account, "acm", &format!("certificate/{}", uuid(rng)))};
    read identity_pools = "cognito-identity" "ListIdentityPools" |account, rng| {"maxResults": 60};
    read identity_pool_roles = "cognito-identity" "GetIdentityPoolRoles" |account, rng| {
        "identityPoolId": format!("{}:{}", account.regions[0], uuid(rng)),
    };
    read user_pools = "cognito-idp" "ListUserPools" |account, rng| {"maxResults": 60};
    read pool_users = "cognito-idp" "ListUsers" |account, rng| {
        "userPoolId": format!("{}_{}", account.regions[0], hex(rng, 9)), "limit": 60,
    };
    write reset_pool_password = "cognito-idp" "AdminSetUserPassword" |account, rng| {
        "userPoolId": format!("{}_{}", account.regions[0], hex(rng, 9)), "permanent": true,
        "username": "HIDDEN_DUE_TO_SECURITY_REASONS", "password": "HIDDEN_DUE_TO_SECURITY_REASONS",
    };
}
