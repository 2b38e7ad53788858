#!/usr/bin/env python3
"""Derives operations.tsv: the AWS operations that playbooks call, with their parameters, as tests check them; and
with `protocols` protocols.json: how each of them goes over the wire, as the executor's client reads it.

    python3.11 -m venv venv && venv/bin/pip install botocore==1.44.5
    venv/bin/python agents/playbooks/data/derive_operations.py > agents/playbooks/data/operations.tsv
    venv/bin/python agents/playbooks/data/derive_operations.py protocols > agents/playbooks/data/protocols.json

Only facts are taken from botocore's models (Apache-2.0): names, types, whether a value is required, allowed values.
"""

import json
import sys
from importlib.metadata import version

import botocore.session
from botocore import xform_name

BOTOCORE = "1.44.5"

# (service, operation) -> paths in its answer that a later call uses.
OPERATIONS = {
    "cloudtrail": {
        "GetEventSelectors": ["AdvancedEventSelectors", "EventSelectors"],
        "GetTrail": ["Trail"],
        "GetTrailStatus": ["IsLogging"],
        "PutEventSelectors": [],
        "StartLogging": [],
        "UpdateTrail": [],
    },
    "config": {
        "DescribeConfigurationRecorderStatus": ["ConfigurationRecordersStatus[].recording"],
        "StartConfigurationRecorder": [],
    },
    "ec2": {
        "AuthorizeSecurityGroupIngress": [],
        "CreateSecurityGroup": ["GroupId"],
        "CreateSnapshots": ["Snapshots[].SnapshotId"],
        "CreateTags": [],
        "DeleteSecurityGroup": [],
        "DeleteTags": [],
        "DescribeImageAttribute": [
            "LaunchPermissions",
            "LaunchPermissions[].Group",
            "LaunchPermissions[].OrganizationArn",
            "LaunchPermissions[].OrganizationalUnitArn",
            "LaunchPermissions[].UserId",
        ],
        "DescribeInstances": [
            "Reservations[].Instances[].NetworkInterfaces[].Groups[*].GroupId",
            "Reservations[].Instances[].NetworkInterfaces[].Groups[].GroupId",
            "Reservations[].Instances[].NetworkInterfaces[].NetworkInterfaceId",
            "Reservations[].Instances[].VpcId",
        ],
        "DescribeSecurityGroupRules": ["SecurityGroupRules[].SecurityGroupRuleId"],
        "DescribeSecurityGroups": ["SecurityGroups[].GroupId"],
        "DescribeSnapshotAttribute": [
            "CreateVolumePermissions",
            "CreateVolumePermissions[].Group",
            "CreateVolumePermissions[].UserId",
        ],
        "DescribeSnapshots": ["Snapshots[].SnapshotId"],
        "DescribeTags": ["Tags[]"],
        "ModifyImageAttribute": [],
        "ModifyNetworkInterfaceAttribute": [],
        "ModifySnapshotAttribute": [],
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
        "GetLoginProfile": ["LoginProfile.UserName"],
        "GetRole": ["Role.AssumeRolePolicyDocument"],
        "GetRolePolicy": ["PolicyDocument"],
        "GetUserPolicy": ["PolicyDocument"],
        "ListAccessKeys": ["AccessKeyMetadata[]"],
        "ListAttachedUserPolicies": ["AttachedPolicies[].PolicyArn"],
        "ListMFADevices": ["MFADevices"],
        "ListRoleTags": ["Tags[]"],
        "ListUserTags": ["Tags[]"],
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
        "DeleteFunctionConcurrency": [],
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
        "ListPolicies": ["Policies[].Id"],
        "ListTargetsForPolicy": ["Targets[].TargetId"],
    },
    "rds": {
        "DescribeDBSnapshotAttributes": ["DBSnapshotAttributesResult.DBSnapshotAttributes[].AttributeValues[]"],
        "ModifyDBSnapshotAttribute": [],
    },
    "s3": {
        "DeleteBucketPolicy": [],
        "DeletePublicAccessBlock": [],
        "GetBucketAcl": ["@", "Grants[]"],
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


def bare(part):
    return part.removesuffix("[]").removesuffix("[*]")


def check_answer(model, path):
    shape = model.output_shape
    for part in path.split(".") if path != "@" else []:
        shape = shape.members[bare(part)]
        if part != bare(part):
            shape = shape.member


# What the executor calls and no playbook names.
EXECUTOR = {"sts": {"AssumeRole": ["Credentials"]}}

# Top-level parameters that calls use; the others would only make the table long.
USED = """
    ACL AccessControlPolicy AccessKeyId Action AssumeRolePolicyDocument Attribute AttributeName Bucket
    ChecksumAlgorithm ConfigurationRecorderName ConfigurationRecorderNames Content CreateVolumePermission
    DBSnapshotIdentifier Description DetectorId DurationSeconds Enable EnableLogFileValidation EventSelectors
    ExpectedBucketOwner ExternalId Filter Filters FunctionName GroupId GroupIds GroupName GroupNames Groups
    ImageId IncludeGlobalServiceEvents InstanceIds InstanceSpecification IpPermissions IsMultiRegionTrail KeyId
    MaxItems MaxResults Name NetworkInterfaceId OperationType OrganizationArns OrganizationalUnitArns OwnerIds
    Password PasswordResetRequired Policy PolicyArn PolicyDocument PolicyId PolicyName Principal
    PublicAccessBlockConfiguration ReservedConcurrentExecutions Resources RoleArn RoleName RoleSessionName
    S3BucketName SecurityGroupRuleIds SnapshotId SourceIdentity StatementId Status TagKeys TagSpecifications
    Tags TargetId TrailName Type UserGroups UserIds UserName ValuesToAdd ValuesToRemove VersioningConfiguration
    VpcId
"""
USED = set(USED.split())
SCALARS = {"string": "s", "integer": "i", "long": "i", "boolean": "b", "timestamp": "s", "blob": "s"}


def wire_name(protocol, shape, name, request):
    serial = shape.serialization
    if protocol == "ec2" and request:
        own = serial.get("name", name)
        return serial.get("queryName", own[:1].upper() + own[1:])
    return serial.get("name", name)


def tree(protocol, shape, request, seen=()):
    """A scalar's letter, {"l": item, "n": its name or null where flattened}, or {"m": {member: {"n", "s", ...}}}."""
    if shape.type_name == "list":
        item = tree(protocol, shape.member, request, seen)
        flat = shape.serialization.get("flattened") or (protocol == "ec2" and request)
        if item is None:
            return None
        name = shape.member.serialization.get("name", "member")
        return {"l": item} if flat else {"l": item, "n": name}
    if shape.type_name == "structure":
        if shape.name in seen:
            return None
        found = {}
        for name, member in sorted(shape.members.items()):
            sub = tree(protocol, member, request, (*seen, shape.name))
            if sub is None:
                continue
            entry = {"s": sub}
            wire = wire_name(protocol, member, name, request)
            if wire != name:
                entry["n"] = wire
            if place := member.serialization.get("location"):
                entry["in"] = place
            if member.serialization.get("xmlAttribute"):
                entry["in"] = "attribute"
            found[name] = entry
        return {"m": found}
    return SCALARS.get(shape.type_name)


def pruned(shape_tree, paths):
    """Of an answer, what the paths reach."""
    if [] in paths or not isinstance(shape_tree, dict):
        return shape_tree
    if "l" in shape_tree:
        return {**shape_tree, "l": pruned(shape_tree["l"], paths)}
    kept = {}
    for name, entry in shape_tree["m"].items():
        below = [path[1:] for path in paths if path[0] == name]
        if below:
            kept[name] = {**entry, "s": pruned(entry["s"], below)}
    return {"m": kept}


def operation_facts(protocol, model, answers):
    facts = {}
    method, uri = model.http["method"], model.http["requestUri"]
    if (method, uri) != ("POST", "/"):
        facts["http"] = [method, uri]
    request = tree(protocol, model.input_shape, True)
    request["m"] = {name: entry for name, entry in request["m"].items() if name in USED}
    facts["request"] = request
    for side, shape in (("request", model.input_shape), ("answer", model.output_shape)):
        if payload := shape and shape.serialization.get("payload"):
            facts[f"{side}_payload"] = payload
    if model.http_checksum.get("requestChecksumRequired"):
        facts["checksum"] = True
    # Answers in JSON hold their names already, but for those of rest-json services that spell them otherwise.
    if answers and protocol != "json":
        paths = [[bare(part) for part in path.split(".")] if path != "@" else [] for path in answers]
        facts["answer"] = pruned(tree(protocol, model.output_shape, False), paths)
    if model.output_shape is not None and (wrapper := model.output_shape.serialization.get("resultWrapper")):
        facts["wrapper"] = wrapper
    return facts


def protocols(session):
    services = {}
    for service, operations in {**OPERATIONS, **EXECUTOR}.items():
        service_model = session.get_service_model(service)
        known = service_model.metadata
        protocol = known["protocol"]
        facts = {"protocol": protocol, "version": known["apiVersion"]}
        for name, own in (("target", "targetPrefix"), ("namespace", "xmlNamespace")):
            if own in known:
                facts[name] = known[own]
        if protocol == "rest-xml":
            facts["namespace"] = "http://s3.amazonaws.com/doc/2006-03-01/"
        facts["operations"] = {
            name: operation_facts(protocol, service_model.operation_model(name), answers)
            for name, answers in operations.items()
            if name != "PutObject"
        }
        services[service] = facts
    source = f"facts from botocore {BOTOCORE} (Apache-2.0), derived by derive_operations.py"
    return {"source": source, "services": services}


def main():
    if version("botocore") != BOTOCORE:
        sys.exit(f"this table is defined for botocore {BOTOCORE}, but {version('botocore')} is installed")
    session = botocore.session.Session()
    if sys.argv[1:] == ["protocols"]:
        print(json.dumps(protocols(session), separators=(",", ":"), sort_keys=True).replace('},"', '},\n"'))
        return
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
