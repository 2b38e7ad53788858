"""EC2, its snapshots and images, and RDS snapshots."""


def describe_instances(trail, caller, instances=(), filters=None, **more):
    request = {
        "instancesSet": {"items": [{"instanceId": instance} for instance in instances]} if instances else {},
        "filterSet": (
            {
                "items": [
                    {"name": key, "valueSet": {"items": [{"value": value} for value in values]}}
                    for key, values in filters.items()
                ]
            }
            if filters
            else {}
        ),
    }
    return trail.call(caller, "ec2:DescribeInstances", request, **more)


def instance_attribute(trail, caller, instance, attribute, **more):
    return trail.call(caller, "ec2:DescribeInstanceAttribute", {"instanceId": instance, "attribute": attribute}, **more)


def ec2_change(trail, caller, name, request, **more):
    """A change that EC2 answers with nothing but success."""
    return trail.call(caller, f"ec2:{name}", request, {"requestId": trail.ids.uuid(), "_return": True}, **more)


def power(trail, caller, name, instances, force=None):
    """StartInstances, StopInstances or TerminateInstances."""
    states = {
        "StartInstances": ((0, "pending"), (80, "stopped")),
        "StopInstances": ((64, "stopping"), (16, "running")),
        "TerminateInstances": ((32, "shutting-down"), (16, "running")),
    }[name]
    request = {"instancesSet": {"items": [{"instanceId": instance} for instance in instances]}}
    if force is not None:
        request["force"] = force
    trail.call(
        caller,
        f"ec2:{name}",
        request,
        {
            "requestId": trail.ids.uuid(),
            "instancesSet": {
                "items": [
                    {
                        "instanceId": instance,
                        "currentState": {"code": states[0][0], "name": states[0][1]},
                        "previousState": {"code": states[1][0], "name": states[1][1]},
                    }
                    for instance in instances
                ]
            },
        },
    )


def run_instances(
    trail,
    caller,
    image,
    kind,
    count=1,
    subnet=None,
    groups=(),
    key_name=None,
    profile=None,
    user_data=False,
    name=None,
    region=None,
):
    """Returns the ids of the new instances."""
    instances = [trail.ids.resource("i") for _ in range(count)]
    subnet = subnet or trail.ids.resource("subnet", trail.account, trail.region)
    request = _run_request(trail, image, kind, count, subnet, groups, key_name, profile, user_data, name)
    groups_set = {"items": [{"groupId": group} for group in groups]} if groups else {}
    trail.call(
        caller,
        "ec2:RunInstances",
        request,
        {
            "requestId": trail.ids.uuid(),
            "reservationId": trail.ids.resource("r"),
            "ownerId": caller.account,
            "groupSet": {},
            "instancesSet": {
                "items": [
                    {
                        "instanceId": instance,
                        "imageId": image,
                        "instanceState": {"code": 0, "name": "pending"},
                        "privateDnsName": f"ip-10-20-{index + 4}-{trail.ids.number(10, 250)}.{region or trail.region}.compute.internal",
                        "amiLaunchIndex": index,
                        "productCodes": {},
                        "instanceType": kind,
                        "launchTime": trail.millis(),
                        "placement": {"availabilityZone": f"{region or trail.region}a", "tenancy": "default"},
                        "monitoring": {"state": "disabled"},
                        "subnetId": subnet,
                        "stateReason": {"code": "pending", "message": "pending"},
                        "architecture": "x86_64",
                        "rootDeviceType": "ebs",
                        "rootDeviceName": "/dev/xvda",
                        "virtualizationType": "hvm",
                        "hypervisor": "xen",
                        "groupSet": groups_set,
                        "ebsOptimized": False,
                    }
                    for index, instance in enumerate(instances)
                ]
            },
        },
        region=region,
    )
    return instances


def run_instances_refused(trail, caller, image, kind, count, error, region=None):
    trail.call(
        caller,
        "ec2:RunInstances",
        _run_request(trail, image, kind, count, None, (), None, None, True, None),
        error=error,
        region=region,
    )


def _run_request(trail, image, kind, count, subnet, groups, key_name, profile, user_data, name):
    item = {"imageId": image, "minCount": count, "maxCount": count}
    if key_name:
        item["keyName"] = key_name
    request = {
        "instancesSet": {"items": [item]},
        "instanceType": kind,
        "blockDeviceMapping": {},
        "monitoring": {"enabled": False},
        "disableApiTermination": False,
        "disableApiStop": False,
        "clientToken": trail.ids.uuid(),
    }
    if groups:
        request["groupSet"] = {"items": [{"groupId": group} for group in groups]}
    if subnet:
        request["subnetId"] = subnet
    if user_data:
        request["userData"] = "<sensitiveDataRemoved>"
    if profile:
        request["iamInstanceProfile"] = {"name": profile}
    if name:
        request["tagSpecificationSet"] = {"items": [{"resourceType": "instance", "tags": [{"key": "Name", "value": name}]}]}
    return request


def ingress(trail, caller, group, port, source, protocol="tcp", description=None, to_port=None, verb="Authorize"):
    """Opens (or with verb `Revoke` closes) one port to a range or to another group."""
    to_port = port if to_port is None else to_port
    by_group = source.startswith("sg-")
    permission = {
        "ipProtocol": protocol,
        "fromPort": port,
        "toPort": to_port,
        "groups": {},
        "ipRanges": {},
        "ipv6Ranges": {},
        "prefixListIds": {},
    }
    rule = {
        "groupOwnerId": caller.account,
        "groupId": group,
        "securityGroupRuleId": trail.ids.resource("sgr"),
        "isEgress": False,
        "ipProtocol": protocol,
        "fromPort": port,
        "toPort": to_port,
    }
    if by_group:
        permission["groups"] = {"items": [{"groupId": source}]}
        rule["referencedGroupInfo"] = {"groupId": source, "userId": caller.account}
    else:
        item = {"cidrIp": source, **({"description": description} if description else {})}
        permission["ipRanges"] = {"items": [item]}
        rule["cidrIpv4"] = source
        if description:
            rule["description"] = description
    response = {"requestId": trail.ids.uuid(), "_return": True}
    if verb == "Authorize":
        response["securityGroupRuleSet"] = {"items": [rule]}
    trail.call(
        caller, f"ec2:{verb}SecurityGroupIngress", {"groupId": group, "ipPermissions": {"items": [permission]}}, response
    )


def create_group(trail, caller, name, description, network=None):
    group = trail.ids.resource("sg")
    trail.call(
        caller,
        "ec2:CreateSecurityGroup",
        {
            "groupName": name,
            "groupDescription": description,
            "vpcId": network or trail.ids.resource("vpc", trail.account, trail.region),
        },
        {
            "requestId": trail.ids.uuid(),
            "_return": True,
            "groupId": group,
            "securityGroupArn": f"arn:aws:ec2:{trail.region}:{caller.account}:security-group/{group}",
        },
    )
    return group


def share_snapshot(trail, caller, snapshot, accounts, verb="add"):
    ec2_change(
        trail,
        caller,
        "ModifySnapshotAttribute",
        {
            "snapshotId": snapshot,
            "attributeType": "CREATE_VOLUME_PERMISSION",
            "createVolumePermission": {verb: {"items": [{"userId": account} for account in accounts]}},
        },
    )


def share_image(trail, caller, image, accounts, verb="add"):
    ec2_change(
        trail,
        caller,
        "ModifyImageAttribute",
        {
            "imageId": image,
            "attributeType": "launchPermission",
            "launchPermission": {verb: {"items": [{"userId": account} for account in accounts]}},
        },
    )


def create_snapshot(trail, caller, volume, description, size=100):
    snapshot = trail.ids.resource("snap")
    trail.call(
        caller,
        "ec2:CreateSnapshot",
        {"volumeId": volume, "description": description},
        {
            "requestId": trail.ids.uuid(),
            "snapshotId": snapshot,
            "volumeId": volume,
            "status": "pending",
            "startTime": trail.millis(),
            "ownerId": caller.account,
            "volumeSize": str(size),
            "description": description,
            "encrypted": True,
        },
    )
    return snapshot


def share_db_snapshot(trail, caller, snapshot, add=(), remove=()):
    request = {"dBSnapshotIdentifier": snapshot, "attributeName": "restore"}
    if add:
        request["valuesToAdd"] = list(add)
    if remove:
        request["valuesToRemove"] = list(remove)
    trail.call(
        caller,
        "rds:ModifyDBSnapshotAttribute",
        request,
        {
            "dBSnapshotIdentifier": snapshot,
            "dBSnapshotAttributes": [{"attributeName": "restore", "attributeValues": list(add)}],
        },
    )


def db_snapshot(trail, caller, name, instance, verb="CreateDBSnapshot", source=None):
    request = (
        {"dBSnapshotIdentifier": name, "dBInstanceIdentifier": instance}
        if not source
        else {
            "sourceDBSnapshotIdentifier": source,
            "targetDBSnapshotIdentifier": name,
            "copyTags": True,
            "copyOptionGroup": False,
        }
    )
    trail.call(
        caller,
        f"rds:{verb}",
        request,
        {
            "dBSnapshotIdentifier": name,
            "dBInstanceIdentifier": instance,
            "engine": "postgres",
            "engineVersion": "16.8",
            "status": "creating",
            "allocatedStorage": 200,
            "availabilityZone": f"{trail.region}b",
            "port": 5432,
            "snapshotType": "manual",
            "percentProgress": 0,
            "encrypted": True,
            "storageType": "gp3",
            "masterUsername": "dbadmin",
            "iAMDatabaseAuthenticationEnabled": False,
            "multiTenant": False,
            "dBSnapshotArn": f"arn:aws:rds:{trail.region}:{caller.account}:snapshot:{name}",
        },
    )
