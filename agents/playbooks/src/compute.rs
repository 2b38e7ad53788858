//! Steps against instances and functions.

use serde_json::{Value, json};

use crate::call::{Call, Expect, Target, When, captured, kept, supplied};
use crate::identity::TAG_KEY;
use crate::{Step, Undo, told_of};

fn case_tags(target: &Target<'_>) -> Value {
    json!([{ "Key": TAG_KEY, "Value": target.case }])
}

pub(crate) fn tag_instance(target: &Target<'_>) -> Step {
    let tags = json!({ "Resources": [target.name], "Tags": case_tags(target) });
    Step {
        calls: vec![target.call("ec2", "CreateTags", tags.clone())],
        verify: vec![
            target
                .call("ec2", "DescribeTags", json!({ "Filters": [{ "Name": "resource-id", "Values": [target.name] }] }))
                .shows("Tags[]", Expect::Contains(json!({ "Key": TAG_KEY, "Value": target.case }))),
        ],
        undo: Undo::Calls(vec![target.call("ec2", "DeleteTags", tags)]),
        blast_radius: "none: one tag on one instance".into(),
        notes: told_of(["The alert channels are told as well."]),
        ..Step::blank()
    }
}

/// Everything from everywhere, over IPv4 and IPv6.
fn anything() -> Value {
    json!([{
        "IpProtocol": "-1",
        "IpRanges": [{ "CidrIp": "0.0.0.0/0" }],
        "Ipv6Ranges": [{ "CidrIpv6": "::/0" }],
    }])
}

/// EC2 keeps the connections that a group's rules let in when the group is exchanged, unless they were let in by
/// rules that allow everything: those end with the rule. So the group starts open and is emptied in place.
pub(crate) fn isolate_ec2(target: &Target<'_>) -> Step {
    let ec2 = |operation, parameters| target.call("ec2", operation, parameters);
    let group = || captured("isolation_group_id");
    // One an instance: a second one that joined it would open it again for the first, and keep it from being deleted.
    let name = format!("{}-{}", target.label("Isolation"), target.name);
    let create = json!({
        "GroupName": name,
        "Description": format!("Trailwarden isolation, case {}", target.case),
        "VpcId": captured("vpc_id"),
        "TagSpecifications": [{ "ResourceType": "security-group", "Tags": case_tags(target) }],
    });
    let find = json!({ "Filters": [
        { "Name": "group-name", "Values": [name] },
        { "Name": "vpc-id", "Values": captured("vpc_id") },
    ] });
    let list = json!({ "Filters": [{ "Name": "group-id", "Values": [group()] }] });
    Step {
        captured_first: vec![ec2("DescribeInstances", json!({ "InstanceIds": [target.name] })).keeping(&[
            kept("vpc_id", "Reservations[].Instances[].VpcId"),
            kept("network_interface_id", "Reservations[].Instances[].NetworkInterfaces[].NetworkInterfaceId"),
            kept("prior_group_ids", "Reservations[].Instances[].NetworkInterfaces[].Groups[*].GroupId"),
        ])],
        calls: vec![
            ec2("CreateSecurityGroup", create)
                .keeping(&[kept("isolation_group_id", "GroupId")])
                .unless(ec2("DescribeSecurityGroups", find), "SecurityGroups[].GroupId"),
            ec2("AuthorizeSecurityGroupIngress", json!({ "GroupId": group(), "IpPermissions": anything() }))
                .tolerating(&["InvalidPermission.Duplicate"]),
            set_groups(target, json!([group()])),
            ec2("RevokeSecurityGroupIngress", json!({ "GroupId": group(), "IpPermissions": anything() }))
                .tolerating(&["InvalidPermission.NotFound"]),
            ec2("DescribeSecurityGroupRules", list.clone())
                .keeping(&[kept("egress_rule_ids", "SecurityGroupRules[].SecurityGroupRuleId")]),
            ec2(
                "RevokeSecurityGroupEgress",
                json!({ "GroupId": group(), "SecurityGroupRuleIds": captured("egress_rule_ids") }),
            )
            .when(When::Known("egress_rule_ids".into())),
        ],
        verify: vec![
            ec2("DescribeInstances", json!({ "InstanceIds": [target.name] })).shows(
                "Reservations[].Instances[].NetworkInterfaces[].Groups[].GroupId",
                Expect::Every(captured("isolation_group_id")),
            ),
            // Who stops between the third call and the last leaves a group that lets everything in.
            ec2("DescribeSecurityGroupRules", list).shows("SecurityGroupRules[].SecurityGroupRuleId", Expect::Nothing),
        ],
        undo: Undo::Calls(vec![
            set_groups(target, captured("prior_group_ids")),
            ec2("DeleteSecurityGroup", json!({ "GroupId": group() })),
        ]),
        blast_radius: "one instance: everything that talks to it".into(),
        notes: told_of([
            "For the seconds between the third and the fourth call the instance accepts everything; that is what ends \
             its open connections.",
            "The third call is made for each network interface, and undone with that interface's own groups.",
            "The instance keeps running; its role's credentials stay valid elsewhere: revoke the role's sessions too.",
        ]),
        ..Step::blank()
    }
}

fn set_groups(target: &Target<'_>, groups: Value) -> Call {
    let parameters = json!({ "NetworkInterfaceId": captured("network_interface_id"), "Groups": groups });
    target.call("ec2", "ModifyNetworkInterfaceAttribute", parameters).each(&["network_interface_id", "prior_group_ids"])
}

/// Asks for the snapshots of this case and instance.
fn snapshots_of(target: &Target<'_>) -> Value {
    json!({ "Filters": [
        { "Name": format!("tag:{TAG_KEY}"), "Values": [target.case] },
        { "Name": "description", "Values": [evidence_of(target)] },
    ] })
}

fn evidence_of(target: &Target<'_>) -> String {
    format!("Trailwarden evidence of {}, case {}", target.name, target.case)
}

pub(crate) fn forensic_snapshot(target: &Target<'_>) -> Step {
    let parameters = json!({
        "InstanceSpecification": { "InstanceId": target.name, "ExcludeBootVolume": false },
        "Description": evidence_of(target),
        "TagSpecifications": [{ "ResourceType": "snapshot", "Tags": case_tags(target) }],
    });
    Step {
        calls: vec![
            target
                .call("ec2", "CreateSnapshots", parameters)
                .keeping(&[kept("snapshot_ids", "Snapshots[].SnapshotId")])
                .unless(target.call("ec2", "DescribeSnapshots", snapshots_of(target)), "Snapshots[].SnapshotId"),
        ],
        verify: vec![
            target.call("ec2", "DescribeSnapshots", snapshots_of(target)).shows("Snapshots[].SnapshotId", Expect::Any),
        ],
        undo: Undo::Words("a person deletes the snapshots when the case is closed (ec2 DeleteSnapshot)".into()),
        blast_radius: "cost: one snapshot for each of the instance's volumes, taken at one moment".into(),
        notes: vec![],
        ..Step::blank()
    }
}

pub(crate) fn freeze_lambda(target: &Target<'_>) -> Step {
    let function = json!({ "FunctionName": target.id });
    let lambda = |operation, parameters| target.call("lambda", operation, parameters);
    let put_concurrency = |executions: Value| {
        let parameters = json!({ "FunctionName": target.id, "ReservedConcurrentExecutions": executions });
        lambda("PutFunctionConcurrency", parameters)
    };
    Step {
        captured_first: vec![
            lambda("GetFunctionConcurrency", function.clone())
                .keeping(&[kept("prior_concurrency", "ReservedConcurrentExecutions")]),
            lambda("GetPolicy", function)
                .keeping(&[kept("function_policy", "Policy")])
                .tolerating(&["ResourceNotFoundException"]),
        ],
        calls: vec![
            put_concurrency(json!(0)),
            lambda("RemovePermission", json!({ "FunctionName": target.id, "StatementId": supplied("statement_id") }))
                .when(When::Known("statement_id".into())),
        ],
        verify: vec![
            lambda("GetFunctionConcurrency", json!({ "FunctionName": target.id }))
                .shows("ReservedConcurrentExecutions", Expect::Equals(json!(0))),
        ],
        undo: Undo::Calls(vec![
            put_concurrency(captured("prior_concurrency")).when(When::Known("prior_concurrency".into())),
            lambda("DeleteFunctionConcurrency", json!({ "FunctionName": target.id }))
                .when(When::Unknown("prior_concurrency".into())),
            lambda(
                "AddPermission",
                json!({
                    "FunctionName": target.id,
                    "StatementId": supplied("statement_id"),
                    "Action": supplied("statement_action"),
                    "Principal": supplied("statement_principal"),
                }),
            )
            .when(When::Known("statement_id".into())),
        ]),
        blast_radius: "one function: nothing can run it".into(),
        notes: told_of([
            "The second call is made for each permission granted during the incident, named by the captured policy, and \
             left out where there is none.",
            "A function without a limit of its own loses this one on undo.",
        ]),
        ..Step::blank()
    }
}
