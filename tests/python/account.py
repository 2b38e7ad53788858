"""An AWS account on moto for the executor's tests: sets it up, and says what is in it.

    account.py ENDPOINT     answers each line of its input with a line of JSON: `set-up` with the names of what it made,
                            `state` with what is there, without what changes by itself; `user ACCOUNT NAME` makes a user
                            elsewhere, `policies ACCOUNT NAME` has the names of its inline policies; `role` and `tags` do
                            the same with a role and its tags; `trail` says how the trail stands, and `spoil` turns it to
                            somebody else's bucket, few events and silence

The account is not that of the caller: everything goes through AssumeRole, as the executor's calls do.
"""

import functools
import io
import json
import sys
import zipfile

import boto3
from botocore.exceptions import ClientError

ACCOUNT = "111122223333"
REGION = "eu-west-1"
ENDPOINT = sys.argv[1]
OWN = {
    "endpoint_url": ENDPOINT,
    "region_name": REGION,
    "aws_access_key_id": "example",
    "aws_secret_access_key": "example",
}


def session(account):
    role = f"arn:aws:iam::{account}:role/TrailwardenExecutor"
    got = boto3.client("sts", **OWN).assume_role(RoleArn=role, RoleSessionName="setup")["Credentials"]
    return OWN | {
        "aws_access_key_id": got["AccessKeyId"],
        "aws_secret_access_key": got["SecretAccessKey"],
        "aws_session_token": got["SessionToken"],
    }


IN_ACCOUNT = session(ACCOUNT)


@functools.cache
def client(service):
    return boto3.client(service, **IN_ACCOUNT)


def optional(call, **parameters):
    """The answer, or the code of the error."""
    try:
        answer = call(**parameters)
        answer.pop("ResponseMetadata", None)
        return answer
    except ClientError as error:
        return error.response["Error"]["Code"]


def identities(made):
    iam = client("iam")
    iam.create_user(UserName="alice")
    iam.tag_user(UserName="alice", Tags=[{"Key": "team", "Value": "web"}])
    made["key"] = iam.create_access_key(UserName="alice")["AccessKey"]["AccessKeyId"]
    iam.create_login_profile(UserName="alice", Password="Example-1-example", PasswordResetRequired=False)
    trust = {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    iam.create_role(RoleName="deploy", AssumeRolePolicyDocument=document)
    client("sts").get_caller_identity()


def watchers(made):
    s3 = client("s3")
    s3.create_bucket(Bucket="trail-logs-example", CreateBucketConfiguration={"LocationConstraint": REGION})
    cloudtrail = client("cloudtrail")
    cloudtrail.create_trail(Name="main", S3BucketName="trail-logs-example")
    made["detector"] = client("guardduty").create_detector(Enable=False)["DetectorId"]
    config = client("config")
    role = f"arn:aws:iam::{ACCOUNT}:role/deploy"
    config.put_configuration_recorder(ConfigurationRecorder={"name": "default", "roleARN": role})
    config.put_delivery_channel(DeliveryChannel={"name": "default", "s3BucketName": "trail-logs-example"})


def data(made):
    s3 = client("s3")
    place = {"CreateBucketConfiguration": {"LocationConstraint": REGION}}
    s3.create_bucket(Bucket="reports-example", ACL="public-read", **place)
    s3.create_bucket(Bucket="papers-example", **place)
    resource = "arn:aws:s3:::papers-example/*"
    read = {"Sid": "Read", "Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": resource}
    s3.put_bucket_policy(Bucket="papers-example", Policy=json.dumps({"Version": "2012-10-17", "Statement": [read]}))
    block = {"BlockPublicAcls": True, "IgnorePublicAcls": False, "BlockPublicPolicy": False, "RestrictPublicBuckets": False}
    s3.put_public_access_block(Bucket="papers-example", PublicAccessBlockConfiguration=block)
    kms = client("kms")
    made["kms_key"] = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.schedule_key_deletion(KeyId=made["kms_key"], PendingWindowInDays=7)
    rds = client("rds")
    size = {"AllocatedStorage": 20, "DBInstanceClass": "db.t3.micro", "Engine": "postgres"}
    login = {"MasterUsername": "example", "MasterUserPassword": "example-1-example"}
    rds.create_db_instance(DBInstanceIdentifier="books", **size, **login)
    rds.create_db_snapshot(DBInstanceIdentifier="books", DBSnapshotIdentifier="books-1")
    rds.modify_db_snapshot_attribute(
        DBSnapshotIdentifier="books-1", AttributeName="restore", ValuesToAdd=["444455556666"]
    )


def machines(made):
    ec2 = client("ec2")
    image = ec2.describe_images(Owners=["amazon"])["Images"][0]["ImageId"]
    instance = ec2.run_instances(ImageId=image, MinCount=1, MaxCount=1)["Instances"][0]
    made["instance"] = instance["InstanceId"]
    volume = ec2.create_volume(AvailabilityZone=f"{REGION}a", Size=1)["VolumeId"]
    tags = [{"ResourceType": "snapshot", "Tags": [{"Key": "team", "Value": "web"}]}]
    for name, to in (("snapshot", {"UserIds": ["444455556666"]}), ("public_snapshot", {"GroupNames": ["all"]})):
        made[name] = ec2.create_snapshot(VolumeId=volume, TagSpecifications=tags)["SnapshotId"]
        ec2.modify_snapshot_attribute(
            SnapshotId=made[name], Attribute="createVolumePermission", OperationType="add", **to
        )
    made["image"] = ec2.create_image(InstanceId=instance["InstanceId"], Name="shared")["ImageId"]
    ec2.modify_image_attribute(
        ImageId=made["image"], Attribute="launchPermission", OperationType="add", UserIds=["444455556666"]
    )
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("f.py", "def f(event, context):\n    return event\n")
    made["function"] = client("lambda").create_function(
        FunctionName="relay",
        Runtime="python3.11",
        Handler="f.f",
        Role=f"arn:aws:iam::{ACCOUNT}:role/deploy",
        Code={"ZipFile": archive.getvalue()},
    )["FunctionArn"]


def organisation(made):
    organizations = boto3.client("organizations", **OWN)
    organizations.create_organization(FeatureSet="ALL")
    root = organizations.list_roots()["Roots"][0]["Id"]
    organizations.enable_policy_type(RootId=root, PolicyType="SERVICE_CONTROL_POLICY")
    status = organizations.create_account(Email="a@example.com", AccountName="member")["CreateAccountStatus"]
    made["member"] = status["AccountId"]
    made["management"] = boto3.client("sts", **OWN).get_caller_identity()["Account"]


def set_up():
    made = {}
    for part in (identities, watchers, data, machines, organisation):
        part(made)
    return made


def state():
    iam, s3, ec2 = client("iam"), client("s3"), client("ec2")
    users = {}
    for user in iam.list_users()["Users"]:
        name = {"UserName": user["UserName"]}
        users[user["UserName"]] = {
            "tags": iam.list_user_tags(**name)["Tags"],
            "keys": [(key["AccessKeyId"], key["Status"]) for key in iam.list_access_keys(**name)["AccessKeyMetadata"]],
            "attached": iam.list_attached_user_policies(**name)["AttachedPolicies"],
            "inline": iam.list_user_policies(**name)["PolicyNames"],
            "console": isinstance(optional(iam.get_login_profile, **name), dict),
        }
    role = {"RoleName": "deploy"}
    roles = {
        "trust": iam.get_role(**role)["Role"]["AssumeRolePolicyDocument"],
        "inline": iam.list_role_policies(**role)["PolicyNames"],
        "tags": iam.list_role_tags(**role)["Tags"],
    }
    buckets = {}
    for bucket in s3.list_buckets()["Buckets"]:
        name = {"Bucket": bucket["Name"]}
        buckets[bucket["Name"]] = {
            "acl": optional(s3.get_bucket_acl, **name),
            "block": optional(s3.get_public_access_block, **name),
            "policy": optional(s3.get_bucket_policy, **name),
            "versioning": optional(s3.get_bucket_versioning, **name),
        }
    rds, functions = client("rds"), client("lambda")
    instances = [
        (one["InstanceId"], [(i["NetworkInterfaceId"], i["Groups"]) for i in one["NetworkInterfaces"]], one.get("Tags"))
        for reservation in ec2.describe_instances()["Reservations"]
        for one in reservation["Instances"]
    ]
    # Moto has hundreds of its own, without tags.
    tagged = [{"Name": "tag-key", "Values": ["team", "trailwarden:case"]}]
    snapshots = sorted(one["SnapshotId"] for one in ec2.describe_snapshots(Filters=tagged)["Snapshots"])
    shared = {
        name: ec2.describe_snapshot_attribute(SnapshotId=name, Attribute="createVolumePermission").get(
            "CreateVolumePermissions"
        )
        for name in snapshots
    }
    images = {
        image["ImageId"]: ec2.describe_image_attribute(ImageId=image["ImageId"], Attribute="launchPermission").get(
            "LaunchPermissions"
        )
        for image in ec2.describe_images(Owners=["self"])["Images"]
    }
    organizations = boto3.client("organizations", **OWN)
    policies = organizations.list_policies(Filter="SERVICE_CONTROL_POLICY")["Policies"]
    detectors = client("guardduty")
    return {
        "users": users,
        "role": roles,
        "buckets": buckets,
        "trail": client("cloudtrail").get_trail_status(Name="main")["IsLogging"],
        "detectors": [
            detectors.get_detector(DetectorId=one)["Status"] for one in detectors.list_detectors()["DetectorIds"]
        ],
        "recorder": [
            one["recording"]
            for one in client("config").describe_configuration_recorder_status()["ConfigurationRecordersStatus"]
        ],
        "kms": sorted(
            client("kms").describe_key(KeyId=key["KeyId"])["KeyMetadata"]["KeyState"]
            for key in client("kms").list_keys()["Keys"]
        ),
        "instances": instances,
        "groups": sorted(group["GroupName"] for group in ec2.describe_security_groups()["SecurityGroups"]),
        "snapshots": shared,
        "images": images,
        "db": rds.describe_db_snapshot_attributes(DBSnapshotIdentifier="books-1")["DBSnapshotAttributesResult"],
        "function": optional(functions.get_function_concurrency, FunctionName="relay"),
        "permissions": optional(functions.get_policy, FunctionName="relay"),
        "policies": sorted(policy["Name"] for policy in policies),
    }


def user(account, name):
    boto3.client("iam", **session(account)).create_user(UserName=name)
    return {}


def policies(account, name):
    return boto3.client("iam", **session(account)).list_user_policies(UserName=name)["PolicyNames"]


def role(account, name):
    document = json.dumps({"Version": "2012-10-17", "Statement": []})
    boto3.client("iam", **session(account)).create_role(RoleName=name, AssumeRolePolicyDocument=document)
    return {}


def tags(account, name):
    return boto3.client("iam", **session(account)).list_role_tags(RoleName=name)["Tags"]


def trail():
    cloudtrail = client("cloudtrail")
    told, selectors = cloudtrail.get_trail(Name="main")["Trail"], cloudtrail.get_event_selectors(TrailName="main")
    names = ("S3BucketName", "IsMultiRegionTrail", "LogFileValidationEnabled")
    kept = {name: told.get(name) for name in names} | {"IsLogging": cloudtrail.get_trail_status(Name="main")["IsLogging"]}
    return kept | {name: selectors.get(name) for name in ("EventSelectors", "AdvancedEventSelectors")}


def spoil():
    s3, cloudtrail = client("s3"), client("cloudtrail")
    optional(s3.create_bucket, Bucket="elsewhere-example", CreateBucketConfiguration={"LocationConstraint": REGION})
    cloudtrail.update_trail(Name="main", S3BucketName="elsewhere-example", IsMultiRegionTrail=False)
    few = [{"ReadWriteType": "ReadOnly", "IncludeManagementEvents": False, "DataResources": []}]
    cloudtrail.put_event_selectors(TrailName="main", EventSelectors=few)
    cloudtrail.stop_logging(Name="main")
    return trail()


COMMANDS = {
    "set-up": set_up,
    "state": state,
    "user": user,
    "policies": policies,
    "role": role,
    "tags": tags,
    "trail": trail,
    "spoil": spoil,
}
for command in sys.stdin:
    name, *arguments = command.split()
    told = COMMANDS[name](*arguments)
    print(json.dumps(told, default=str, sort_keys=True), flush=True)
