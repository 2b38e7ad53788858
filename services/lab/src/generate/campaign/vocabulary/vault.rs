//! Secrets, parameters, keys and backups.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{arn, hex, one, pick, uuid};
use crate::generate::call::Call;
use crate::generate::world::Account;

plain! {
    read list_keys = "kms" "ListKeys";
    read backup_vaults = "backup" "ListBackupVaults";
    read backup_plans = "backup" "ListBackupPlans";
    read protected_resources = "backup" "ListProtectedResources";
}

calls! {
    read list_secrets = "secretsmanager" "ListSecrets" |account, rng| {"maxResults": one(&[20, 100], rng)};
    read describe_secret = "secretsmanager" "DescribeSecret" |account, rng| {
        "secretId": pick(rng, &account.secrets),
    };
    read secret_value = "secretsmanager" "GetSecretValue" |account, rng| {
        "secretId": pick(rng, &account.secrets),
    };
    write new_secret_value = "secretsmanager" "PutSecretValue" |account, rng| {
        "secretId": pick(rng, &account.secrets), "clientRequestToken": uuid(rng),
    } => {"versionId": uuid(rng), "versionStages": ["AWSCURRENT"]};
    read describe_parameters = "ssm" "DescribeParameters" |account, rng| {"maxResults": 50};
    read parameter = "ssm" "GetParameter" |account, rng| {
        "name": pick(rng, &account.parameters), "withDecryption": true,
    };
    read parameters = "ssm" "GetParameters" |account, rng| {
        "names": [pick(rng, &account.parameters), pick(rng, &account.parameters)],
        "withDecryption": true,
    };
    read parameters_by_path = "ssm" "GetParametersByPath" |account, rng| {
        "path": one(&["/", "/app", "/prod", "/shared"], rng), "recursive": true, "withDecryption": true,
    };
    read key_aliases = "kms" "ListAliases" |account, rng| {"limit": 100};
    read describe_key = "kms" "DescribeKey" |account, rng| {"keyId": pick(rng, &account.keys)};
    read key_policy = "kms" "GetKeyPolicy" |account, rng| {
        "keyId": pick(rng, &account.keys), "policyName": "default",
    };
    read decrypt = "kms" "Decrypt" |account, rng| {
        "encryptionAlgorithm": "SYMMETRIC_DEFAULT", "encryptionContext": {"aws:s3:arn": format!("arn:aws:s3:::{}",
            pick(rng, &account.buckets))},
    } @ "AWS::KMS::Key" { arn(account, "kms", &format!("key/{}", pick(rng, &account.keys))) };
    read data_key = "kms" "GenerateDataKey" |account, rng| {
        "keyId": pick(rng, &account.keys), "keySpec": "AES_256",
    } @ "AWS::KMS::Key" { arn(account, "kms", &format!("key/{}", pick(rng, &account.keys))) };
    write grant = "kms" "CreateGrant" |account, rng| {
        "keyId": pick(rng, &account.keys), "operations": ["Decrypt", "DescribeKey", "CreateGrant"],
        "granteePrincipal": format!("arn:aws:iam::{}:role/{}", account.id, super::role_name(account, rng)),
    } => {"grantId": hex(rng, 64)};
    write schedule_key_deletion = "kms" "ScheduleKeyDeletion" |account, rng| {
        "keyId": pick(rng, &account.keys), "pendingWindowInDays": one(&[7, 7, 14, 30], rng),
    } => {"keyState": "PendingDeletion"};
    write disable_key = "kms" "DisableKey" |account, rng| {"keyId": pick(rng, &account.keys)};
    read recovery_points = "backup" "ListRecoveryPointsByBackupVault" |account, rng| {
        "backupVaultName": one(&["Default", "daily", "central"], rng),
    };
    write delete_recovery_point = "backup" "DeleteRecoveryPoint" |account, rng| {
        "backupVaultName": one(&["Default", "daily", "central"], rng),
        "recoveryPointArn": format!("arn:aws:ec2:{}::snapshot/snap-0{}", account.regions[0], hex(rng, 16)),
    };
    write restore_job = "backup" "StartRestoreJob" |account, rng| {
        "recoveryPointArn": format!("arn:aws:ec2:{}::snapshot/snap-0{}", account.regions[0], hex(rng, 16)),
        "iamRoleArn": format!("arn:aws:iam::{}:role/{}", account.id, super::role_name(account, rng)),
        "resourceType": one(&["EBS", "RDS", "DynamoDB"], rng),
    } => {"restoreJobId": uuid(rng)};
    write backup_lifecycle = "backup" "UpdateBackupPlan" |account, rng| {
        "backupPlanId": uuid(rng), "backupPlan": {"backupPlanName": one(&["daily", "weekly"], rng), "rules": [
            {"ruleName": "daily", "lifecycle": {"deleteAfterDays": rng.random_range(1..60)}}]},
    } => {"versionId": hex(rng, 32)};
}
