#!/usr/bin/env python3
"""Derives operations.tsv: the AWS operations that playbooks call, with their parameters, as tests check them.

    python3.11 -m venv venv && venv/bin/pip install botocore==1.44.5
    venv/bin/python agents/playbooks/data/derive_operations.py > agents/playbooks/data/operations.tsv

Only facts are taken from botocore's models (Apache-2.0): names, types, whether a value is required, allowed values.
"""

import sys
from importlib.metadata import version

import botocore.session
from botocore import xform_name

BOTOCORE = "1.44.5"

# (service, operation) -> paths in its answer that a later call uses.
OPERATIONS = {
    "cloudtrail": {
        "GetEventSelectors": ["EventSelectors"],
        "GetTrail": ["Trail"],
        "PutEventSelectors": [],
        "StartLogging": [],
        "UpdateTrail": [],
    },
    "config": {"StartConfigurationRecorder": []},
    "ec2": {
        "AuthorizeSecurityGroupIngress": [],
        "CreateSecurityGroup": ["GroupId"],
        "CreateSnapshots": ["Snapshots[].SnapshotId"],
        "CreateTags": [],
        "DeleteSecurityGroup": [],
        "DeleteTags": [],
        "DescribeImageAttribute": ["LaunchPermissions[].Group", "LaunchPermissions[].UserId"],
        "DescribeInstances": [
            "Reservations[].Instances[].NetworkInterfaces[].Groups[].GroupId",
            "Reservations[].Instances[].NetworkInterfaces[].NetworkInterfaceId",
            "Reservations[].Instances[].VpcId",
        ],
        "DescribeSecurityGroupRules": ["SecurityGroupRules[].SecurityGroupRuleId"],
        "DescribeSnapshotAttribute": ["CreateVolumePermissions[].Group", "CreateVolumePermissions[].UserId"],
        "ModifyImageAttribute": [],
        "ModifyNetworkInterfaceAttribute": [],
        "ModifySnapshotAttribute": [],
        "ResetImageAttribute": [],
        "ResetSnapshotAttribute": [],
        "RevokeSecurityGroupEgress": [],
        "RevokeSecurityGroupIngress": [],
    },
    "guardduty": {"GetDetector": ["Status"], "UpdateDetector": []},
    "iam": {
        "AttachUserPolicy": [],
        "CreateLoginProfile": [],
        "DeleteLoginProfile": [],
        "DeleteRolePolicy": [],
        "DeleteUserPolicy": [],
        "DetachUserPolicy": [],
        "GetAccessKeyLastUsed": ["UserName"],
        "GetLoginProfile": [],
        "GetRole": ["Role.AssumeRolePolicyDocument"],
        "ListMFADevices": ["MFADevices"],
        "PutRolePolicy": [],
        "PutUserPolicy": [],
        "TagRole": [],
        "TagUser": [],
        "UntagRole": [],
        "UntagUser": [],
        "UpdateAccessKey": [],
        "UpdateAssumeRolePolicy": [],
    },
    "kms": {
        "CancelKeyDeletion": [],
        "DescribeKey": ["KeyMetadata.KeyId", "KeyMetadata.KeyState"],
        "EnableKey": [],
    },
    "lambda": {
        "AddPermission": [],
        "GetFunctionConcurrency": ["ReservedConcurrentExecutions"],
        "GetPolicy": ["Policy"],
        "PutFunctionConcurrency": [],
        "RemovePermission": [],
    },
    "organizations": {
        "AttachPolicy": [],
        "CreatePolicy": ["Policy.PolicySummary.Id"],
        "DeletePolicy": [],
        "DetachPolicy": [],
    },
    "rds": {
        "DescribeDBSnapshotAttributes": ["DBSnapshotAttributesResult.DBSnapshotAttributes[].AttributeValues[]"],
        "ModifyDBSnapshotAttribute": [],
    },
    "s3": {
        "GetBucketAcl": ["@"],
        "GetBucketPolicy": ["Policy"],
        "GetBucketVersioning": ["Status"],
        "GetPublicAccessBlock": ["PublicAccessBlockConfiguration"],
        "PutBucketAcl": [],
        "PutBucketPolicy": [],
        "PutBucketVersioning": [],
        "PutObject": [],
        "PutPublicAccessBlock": [],
    },
}

# Parameters whose members playbooks write out; the members of others would only make the table long.
EXPANDED = {
    "Filters",
    "InstanceSpecification",
    "IpPermissions",
    "PublicAccessBlockConfiguration",
    "TagSpecifications",
    "Tags",
    "VersioningConfiguration",
}
ALLOWED_VALUES_MAX = 12


def type_of(shape):
    values = getattr(shape, "enum", [])
    if 0 < len(values) <= ALLOWED_VALUES_MAX:
        return f"{shape.type_name}({'|'.join(values)})"
    return shape.type_name


def members(shape, prefix=""):
    """Yields `path[!]:type` for each member of a structure, to the depth that EXPANDED asks for."""
    for name in sorted(shape.members):
        member = shape.members[name]
        required = "!" if name in shape.required_members else ""
        yield f"{prefix}{name}{required}:{type_of(member)}"
        if prefix or name in EXPANDED:
            yield from inside(member, f"{prefix}{name}")


def inside(shape, path):
    if shape.type_name == "list":
        yield f"{path}[]:{type_of(shape.member)}"
        yield from inside(shape.member, f"{path}[]")
    elif shape.type_name == "structure":
        yield from members(shape, f"{path}.")


def check_answer(model, path):
    shape = model.output_shape
    for part in path.split(".") if path != "@" else []:
        shape = shape.members[part.removesuffix("[]")]
        if part.endswith("[]"):
            shape = shape.member


def main():
    if version("botocore") != BOTOCORE:
        sys.exit(f"this table is defined for botocore {BOTOCORE}, but {version('botocore')} is installed")
    session = botocore.session.Session()
    print("# The operations that playbooks call. Derived by derive_operations.py; do not edit.")
    print(f"# Facts from botocore {BOTOCORE} (Apache-2.0). Columns: service, operation, the operation and its top-level")
    print("# parameters as the command line spells them, parameters (! where required, allowed values in brackets),")
    print("# paths of the answer that are used.")
    for service, operations in OPERATIONS.items():
        service_model = session.get_service_model(service)
        for operation, answers in operations.items():
            model = service_model.operation_model(operation)
            for path in answers:
                check_answer(model, path)
            names = [operation, *sorted(model.input_shape.members)]
            spelled = ",".join(xform_name(name, "-") for name in names)
            print("\t".join([service, operation, spelled, ",".join(members(model.input_shape)), ",".join(answers)]))


if __name__ == "__main__":
    main()
