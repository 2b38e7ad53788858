//! Tables, queries, databases and their snapshots.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{arn, hex, one, pick, uuid};
use crate::generate::call::Call;
use crate::generate::world::Account;

/// A small read of any table.
pub(in crate::generate) fn get_any_item(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let table = pick(rng, &account.tables).clone();
    get_item(account, rng, &table)
}

/// Deletes any database.
pub(in crate::generate) fn delete_any_db(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let database = pick(rng, &account.databases).clone();
    delete_db(account, rng, &database)
}

plain! {
    read list_tables = "dynamodb" "ListTables";
    read work_groups = "athena" "ListWorkGroups";
    read catalogue_databases = "glue" "GetDatabases";
    read list_db_instances = "rds" "DescribeDBInstances";
    read list_db_clusters = "rds" "DescribeDBClusters";
}

calls! {
    read describe_table = "dynamodb" "DescribeTable" |account, rng| {"tableName": pick(rng, &account.tables)};
    read scan[table] = "dynamodb" "Scan" |account, rng| {
        "tableName": table, "limit": one(&[100, 500, 1000], rng), "returnConsumedCapacity": "NONE",
    } @ "AWS::DynamoDB::Table" { arn(account, "dynamodb", &format!("table/{table}")) } + data;
    read query[table] = "dynamodb" "Query" |account, rng| {
        "tableName": table, "keyConditionExpression": "#k = :v", "limit": one(&[10, 100], rng),
    } @ "AWS::DynamoDB::Table" { arn(account, "dynamodb", &format!("table/{table}")) } + data;
    read get_item[table] = "dynamodb" "GetItem" |account, rng| {
        "tableName": table, "key": {"id": uuid(rng)}, "consistentRead": rng.random_bool(0.3),
    } @ "AWS::DynamoDB::Table" { arn(account, "dynamodb", &format!("table/{table}")) } + data;
    read batch_get_item[table] = "dynamodb" "BatchGetItem" |account, rng| {
        "requestItems": {table: {"keys": [{"id": uuid(rng)}, {"id": uuid(rng)}]}},
    } @ "AWS::DynamoDB::Table" { arn(account, "dynamodb", &format!("table/{table}")) } + data;
    write put_item[table] = "dynamodb" "PutItem" |account, rng| {
        "tableName": table, "key": {"id": uuid(rng)}, "items": ["id", "updated", "value"],
    } @ "AWS::DynamoDB::Table" { arn(account, "dynamodb", &format!("table/{table}")) } + data;
    write export_table[table, bucket] = "dynamodb" "ExportTableToPointInTime" |account, rng| {
        "tableArn": arn(account, "dynamodb", &format!("table/{table}")), "s3Bucket": bucket,
        "exportFormat": "DYNAMODB_JSON", "clientToken": uuid(rng),
    } => {"exportDescription": {"exportStatus": "IN_PROGRESS",
        "exportArn": arn(account, "dynamodb", &format!("table/{table}/export/{}", hex(rng, 16)))}};
    read catalogue_tables = "glue" "GetTables" |account, rng| {
        "databaseName": one(&["default", "analytics", "lake", "events"], rng),
    };
    write start_query = "athena" "StartQueryExecution" |account, rng| {
        "queryString": "***OMITTED***", "workGroup": one(&["primary", "analytics"], rng), "clientRequestToken": uuid(rng),
        "queryExecutionContext": {"database": one(&["default", "analytics", "lake", "events"], rng)},
        "resultConfiguration": {"outputLocation": format!("s3://{}/athena/", pick(rng, &account.buckets))},
    } => {"queryExecutionId": uuid(rng)};
    read query_state = "athena" "GetQueryExecution" |account, rng| {"queryExecutionId": uuid(rng)};
    read query_results = "athena" "GetQueryResults" |account, rng| {"queryExecutionId": uuid(rng), "maxResults": 1000};
    read db_snapshots = "rds" "DescribeDBSnapshots" |account, rng| {"maxRecords": 100};
    write create_db_snapshot[database, snapshot] = "rds" "CreateDBSnapshot" |account, rng| {
        "dBInstanceIdentifier": database, "dBSnapshotIdentifier": snapshot,
    } => {"dBInstanceIdentifier": database, "dBSnapshotIdentifier": snapshot, "status": "creating",
        "dBSnapshotArn": arn(account, "rds", &format!("snapshot:{snapshot}")), "encrypted": rng.random_bool(0.5)};
    write share_db_snapshot[snapshot, target] = "rds" "ModifyDBSnapshotAttribute" |account, rng| {
        "dBSnapshotIdentifier": snapshot, "attributeName": "restore", "valuesToAdd": [target],
    } => {"dBSnapshotIdentifier": snapshot};
    write export_db_snapshot[snapshot, bucket] = "rds" "StartExportTask" |account, rng| {
        "exportTaskIdentifier": format!("export-{}", hex(rng, 6)), "s3BucketName": bucket,
        "sourceArn": arn(account, "rds", &format!("snapshot:{snapshot}")),
        "kmsKeyId": pick(rng, &account.keys),
    } => {"status": "STARTING", "s3Bucket": bucket};
    write restore_db[snapshot] = "rds" "RestoreDBInstanceFromDBSnapshot" |account, rng| {
        "dBSnapshotIdentifier": snapshot, "dBInstanceIdentifier": format!("{snapshot}-restored"),
        "publiclyAccessible": rng.random_bool(0.3), "dBInstanceClass": "db.t3.medium",
    } => {"dBInstanceStatus": "creating", "dBInstanceIdentifier": format!("{snapshot}-restored")};
    write db_password[database] = "rds" "ModifyDBInstance" |account, rng| {
        "dBInstanceIdentifier": database, "masterUserPassword": "****", "applyImmediately": true,
    } => {"dBInstanceIdentifier": database, "dBInstanceStatus": "available"};
    write delete_db[database] = "rds" "DeleteDBInstance" |account, rng| {
        "dBInstanceIdentifier": database, "skipFinalSnapshot": rng.random_bool(0.6),
    } => {"dBInstanceIdentifier": database, "dBInstanceStatus": "deleting"};
    write delete_db_snapshot = "rds" "DeleteDBSnapshot" |account, rng| {
        "dBSnapshotIdentifier": format!("{}-{}", pick(rng, &account.databases), hex(rng, 6)),
    };
}
