//! Grants: whether a call opens a resource to everyone or to a foreign account, whatever the service.
//!
//! Three shapes cover AWS: a resource policy document, a list of accounts, and a call of its own.

use serde_json::Value;

use crate::activity::Activity;
use crate::policy::{PolicyFacts, account_of, each};
use crate::record::RecordView;
use crate::registry::Registry;

/// Whom a call opens something to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) public: bool,
    pub(super) external: bool,
}

pub(super) fn of(view: &RecordView<'_>, activity: &Activity<'_>, registry: &Registry) -> Grant {
    let mut grant = Grant::default();
    // IAM and Organizations documents grant to the principal they are attached to; trust is a field of its own.
    if matches!(activity.service, "iam" | "sts" | "organizations" | "sso") {
        return grant;
    }
    if let Some(parameters) = view.value("requestParameters") {
        let mut reader = Reader { activity, registry, grant: &mut grant };
        reader.policies(parameters);
        reader.accounts(parameters);
        reader.acl(parameters);
        reader.calls(parameters);
    }
    grant
}

/// Where services put a resource policy.
const POLICIES: [&str; 16] = [
    "policy",
    "bucketPolicy",
    "policyText",
    "resourcePolicy",
    "policyDocument",
    "accessPolicies",
    "accessPolicy",
    "policyInJson",
    "registryPolicy",
    "fileSystemPolicy",
    "attributes.Policy",
    "attributes.policy",
    "attribute.Policy",
    "domainConfig.accessPolicies",
    "createTopicRequest.attributes.Policy",
    "Policy",
];

/// Where services put lists of accounts that a thing is shared with: `all` is everyone.
const ACCOUNT_LISTS: [&str; 9] = [
    "valuesToAdd",
    "accountIdsToAdd",
    "aWSAccountIds",
    "aWSAccountId",
    "accountWithRestoreAccess",
    "principals",
    "granteePrincipal",
    "createVolumePermission.add.items",
    "launchPermission.add.items",
];

struct Reader<'r> {
    activity: &'r Activity<'r>,
    registry: &'r Registry,
    grant: &'r mut Grant,
}

impl Reader<'_> {
    fn policies(&mut self, parameters: &Value) {
        let named = POLICIES.into_iter().filter_map(|path| at(parameters, path));
        // SNS and SQS may also set one attribute by name.
        let by_name = parameters
            .get("attributeName")
            .filter(|name| name.as_str() == Some("Policy"))
            .and_then(|_| parameters.get("attributeValue"));
        for document in named.chain(by_name) {
            if let Some(facts) = PolicyFacts::of(document, self.activity.account, &self.registry.accounts) {
                self.grant.public |= facts.public_principal;
                self.grant.external |= !facts.external_accounts.is_empty();
            }
        }
    }

    fn accounts(&mut self, parameters: &Value) {
        for path in ACCOUNT_LISTS {
            for entry in at(parameters, path).into_iter().flat_map(each) {
                let group = entry.get("group").and_then(Value::as_str);
                let name = entry.as_str().or_else(|| entry.get("userId")?.as_str());
                if group == Some("all") || (name == Some("all") && path != "principals") {
                    self.grant.public = true;
                } else if let Some(name) = name {
                    self.add_account(name);
                }
            }
        }
    }

    fn add_account(&mut self, name: &str) {
        self.grant.external |= account_of(name)
            .is_some_and(|account| account != self.activity.account && !self.registry.accounts.contains(account));
    }

    /// Canned and explicit access control lists of S3.
    fn acl(&mut self, parameters: &Value) {
        const OPEN: [&str; 3] = ["public-read", "public-read-write", "authenticated-read"];
        const EVERYONE: [&str; 2] = ["/global/AllUsers", "/global/AuthenticatedUsers"];
        if self.activity.service != "s3" {
            return;
        }
        let canned = parameters.get("x-amz-acl").into_iter().flat_map(each);
        self.grant.public |= canned.filter_map(Value::as_str).any(|acl| OPEN.contains(&acl));
        let everyone = |text: &str| EVERYONE.iter().any(|group| text.contains(group));
        let headers = ["read", "write", "read-acp", "write-acp", "full-control"];
        self.grant.public |= headers
            .into_iter()
            .filter_map(|header| parameters.get(format!("x-amz-grant-{header}")))
            .flat_map(each)
            .filter_map(Value::as_str)
            .any(everyone);
        let grants = at(parameters, "AccessControlPolicy.AccessControlList.Grant");
        self.grant.public |=
            grants.into_iter().flat_map(each).filter_map(|grant| at(grant, "Grantee.URI")?.as_str()).any(everyone);
    }

    /// Calls whose parameters have a shape of their own.
    fn calls(&mut self, parameters: &Value) {
        let text = |path| at(parameters, path).and_then(Value::as_str);
        match (self.activity.service, self.activity.call) {
            ("lambda", "AddPermission" | "AddLayerVersionPermission") | ("events", "PutPermission") => {
                let tied = ["sourceArn", "sourceAccount", "principalOrgID", "organizationId", "condition"]
                    .into_iter()
                    .any(|name| parameters.get(name).is_some_and(|value| !value.is_null() && value != "*"));
                match text("principal") {
                    Some("*") => self.grant.public |= !tied,
                    Some(principal) => self.add_account(principal),
                    None => {}
                }
            }
            ("logs", "PutSubscriptionFilter") => self.add_account(text("destinationArn").unwrap_or_default()),
            ("codebuild", "UpdateProjectVisibility") => {
                self.grant.public |= text("projectVisibility") == Some("PUBLIC_READ");
            }
            ("s3", "PutBucketReplication") => {
                let rules = at(parameters, "ReplicationConfiguration.Rule");
                for rule in rules.into_iter().flat_map(each) {
                    let account = at(rule, "Destination.Account").and_then(Value::as_str);
                    self.add_account(account.unwrap_or_default());
                }
            }
            _ => {}
        }
    }
}

fn at<'v>(value: &'v Value, path: &str) -> Option<&'v Value> {
    path.split('.').try_fold(value, |value, key| value.get(key))
}
