//! Who may do what: IAM, STS, Identity Center, Organizations.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{capitals, hex, new_name, one, role_name, user_name, uuid};
use crate::generate::call::Call;
use crate::generate::world::Account;

plain! {
    read caller_identity = "sts" "GetCallerIdentity";
    read account_summary = "iam" "GetAccountSummary";
    read account_aliases = "iam" "ListAccountAliases";
    read list_users = "iam" "ListUsers";
    read list_groups = "iam" "ListGroups";
    read password_policy = "iam" "GetAccountPasswordPolicy";
    read saml_providers = "iam" "ListSAMLProviders";
    read openid_providers = "iam" "ListOpenIDConnectProviders";
    read credential_report = "iam" "GetCredentialReport";
    read generate_credential_report = "iam" "GenerateCredentialReport";
    read own_user = "iam" "GetUser";
    read describe_organization = "organizations" "DescribeOrganization";
    read organization_roots = "organizations" "ListRoots";
    read delegated_administrators = "organizations" "ListDelegatedAdministrators";
    read sso_instances = "sso" "ListInstances";
    read contact_information = "account" "GetContactInformation";
    read account_regions = "account" "ListRegions";
    write leave_organization = "organizations" "LeaveOrganization";
}

calls! {
    read list_roles = "iam" "ListRoles" |account, rng| {"maxItems": one(&[100, 200, 1000], rng)};
    read local_policies = "iam" "ListPolicies" |account, rng| {"scope": "Local", "onlyAttached": rng.random_bool(0.4)};
    read authorization_details = "iam" "GetAccountAuthorizationDetails" |account, rng| {"maxItems": 1000};
    read access_keys = "iam" "ListAccessKeys" |account, rng| {"userName": user_name(account, rng)};
    read user_policies = "iam" "ListAttachedUserPolicies" |account, rng| {"userName": user_name(account, rng)};
    read inline_user_policies = "iam" "ListUserPolicies" |account, rng| {"userName": user_name(account, rng)};
    read user_groups = "iam" "ListGroupsForUser" |account, rng| {"userName": user_name(account, rng)};
    read mfa_devices = "iam" "ListMFADevices" |account, rng| {"userName": user_name(account, rng)};
    read get_user = "iam" "GetUser" |account, rng| {"userName": user_name(account, rng)};
    read login_profile = "iam" "GetLoginProfile" |account, rng| {"userName": user_name(account, rng)};
    read get_role = "iam" "GetRole" |account, rng| {"roleName": role_name(account, rng)};
    read role_policies = "iam" "ListAttachedRolePolicies" |account, rng| {"roleName": role_name(account, rng)};
    read inline_role_policies = "iam" "ListRolePolicies" |account, rng| {"roleName": role_name(account, rng)};
    read policy_version = "iam" "GetPolicyVersion" |account, rng| {
        "policyArn": format!("arn:aws:iam::{}:policy/{}-access", account.id, role_name(account, rng)),
        "versionId": format!("v{}", rng.random_range(1..5)),
    };
    read simulate = "iam" "SimulatePrincipalPolicy" |account, rng| {
        "policySourceArn": format!("arn:aws:iam::{}:role/{}", account.id, role_name(account, rng)),
        "actionNames": [one(&["s3:GetObject", "iam:PassRole", "sts:AssumeRole", "ec2:RunInstances"], rng)],
    };
    read organization_accounts = "organizations" "ListAccounts" |account, rng| {"maxResults": 20};
    read describe_account = "organizations" "DescribeAccount" |account, rng| {"accountId": account.id};
    read organization_children = "organizations" "ListChildren" |account, rng| {
        "parentId": format!("r-{}", hex(rng, 4)), "childType": one(&["ACCOUNT", "ORGANIZATIONAL_UNIT"], rng),
    };
    read organization_policies = "organizations" "ListPolicies" |account, rng| {"filter": "SERVICE_CONTROL_POLICY"};
    read permission_sets = "sso" "ListPermissionSets" |account, rng| {
        "instanceArn": format!("arn:aws:sso:::instance/ssoins-{}", hex(rng, 16)), "maxResults": 100,
    };
    read account_assignments = "sso" "ListAccountAssignments" |account, rng| {
        "instanceArn": format!("arn:aws:sso:::instance/ssoins-{}", hex(rng, 16)), "accountId": account.id,
    };
    write deny_all_inline[user] = "iam" "PutUserPolicy" |account, rng| {
        "userName": user, "policyName": "quarantine",
        "policyDocument": "{\"Version\":\"2012-10-17\",\"Statement\":[{\"Effect\":\"Deny\",\"Action\":\"*\",\"Resource\":\"*\"}]}",
    };
    write inline_policy[user, action] = "iam" "PutUserPolicy" |account, rng| {
        "userName": user, "policyName": new_name(rng),
        "policyDocument": format!("{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Action\":\"{action}\",\"Resource\":\"*\"}}]}}"),
    };
    write attach_user_policy[user, policy] = "iam" "AttachUserPolicy" |account, rng| {
        "userName": user, "policyArn": format!("arn:aws:iam::aws:policy/{policy}"),
    };
    write attach_role_policy[role, policy] = "iam" "AttachRolePolicy" |account, rng| {
        "roleName": role, "policyArn": format!("arn:aws:iam::aws:policy/{policy}"),
    };
    write add_to_group[user] = "iam" "AddUserToGroup" |account, rng| {
        "userName": user, "groupName": one(&["developers", "operators", "readers", "analysts"], rng),
    };
    write login_profile_for[user] = "iam" "CreateLoginProfile" |account, rng| {
        "userName": user, "passwordResetRequired": rng.random_bool(0.6),
    } => {"loginProfile": {"userName": user, "passwordResetRequired": true}};
    write delete_access_key[user, key] = "iam" "DeleteAccessKey" |account, rng| {"userName": user, "accessKeyId": key};
    write disable_access_key[user, key] = "iam" "UpdateAccessKey" |account, rng| {
        "userName": user, "accessKeyId": key, "status": "Inactive",
    };
    write delete_user[user] = "iam" "DeleteUser" |account, rng| {"userName": user};
    write create_role[role, trusted] = "iam" "CreateRole" |account, rng| {
        "roleName": role, "maxSessionDuration": one(&[3600, 43200], rng), "assumeRolePolicyDocument": trust(trusted),
    } => {"role": {
        "path": "/", "roleName": role, "roleId": format!("AROA{}", capitals(rng, 17)),
        "arn": format!("arn:aws:iam::{}:role/{role}", account.id),
    }} @ "AWS::IAM::Role" { format!("arn:aws:iam::{}:role/{role}", account.id) };
    write update_trust[role, trusted] = "iam" "UpdateAssumeRolePolicy" |account, rng| {
        "roleName": role, "policyDocument": trust(trusted),
    };
    write role_inline_policy[role, action] = "iam" "PutRolePolicy" |account, rng| {
        "roleName": role, "policyName": new_name(rng),
        "policyDocument": format!("{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Action\":\"{action}\",\"Resource\":\"*\"}}]}}"),
    };
    write signin_token = "signin" "GetSigninToken" |account, rng| {} => {"GetSigninToken": "Success"};
    write assign_permission_set = "sso" "CreateAccountAssignment" |account, rng| {
        "instanceArn": format!("arn:aws:sso:::instance/ssoins-{}", hex(rng, 16)), "targetId": account.id,
        "targetType": "AWS_ACCOUNT", "principalType": one(&["USER", "GROUP"], rng), "principalId": uuid(rng),
        "permissionSetArn": format!("arn:aws:sso:::permissionSet/ssoins-{}/ps-{}", hex(rng, 16), hex(rng, 16)),
    } => {"accountAssignmentCreationStatus": {"status": "IN_PROGRESS", "requestId": uuid(rng)}};
    write create_account = "organizations" "CreateAccount" |account, rng| {
        "accountName": new_name(rng), "email": "HIDDEN_DUE_TO_SECURITY_REASONS",
    } => {"createAccountStatus": {"id": format!("car-{}", hex(rng, 32)), "state": "IN_PROGRESS"}};
}

/// A trust policy for another account (`123456789012`), a service (`lambda.amazonaws.com`) or a role's ARN.
fn trust(trusted: &str) -> String {
    let principal = if trusted.ends_with(".amazonaws.com") {
        format!("{{\"Service\":\"{trusted}\"}}")
    } else if trusted.starts_with("arn:") {
        format!("{{\"AWS\":\"{trusted}\"}}")
    } else {
        format!("{{\"AWS\":\"arn:aws:iam::{trusted}:root\"}}")
    };
    format!(
        "{{\"Version\":\"2012-10-17\",\"Statement\":[{{\"Effect\":\"Allow\",\"Principal\":{principal},\"Action\":\"sts:AssumeRole\"}}]}}"
    )
}
