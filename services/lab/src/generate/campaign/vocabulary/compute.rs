//! Instances, volumes, containers, notebooks, builds and the fleet's remote hands.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{arn, capitals, hex, new_name, one, pick, role_name, uuid};
use crate::generate::call::Call;
use crate::generate::world::Account;

plain! {
    read regions = "ec2" "DescribeRegions";
    read vpcs = "ec2" "DescribeVpcs";
    read subnets = "ec2" "DescribeSubnets";
    read security_groups = "ec2" "DescribeSecurityGroups";
    read key_pairs = "ec2" "DescribeKeyPairs";
    read volumes = "ec2" "DescribeVolumes";
    read addresses = "ec2" "DescribeAddresses";
    read account_attributes = "ec2" "DescribeAccountAttributes";
    read registry_token = "ecr" "GetAuthorizationToken";
    read clusters = "ecs" "ListClusters";
    read kubernetes_clusters = "eks" "ListClusters";
    read stacks = "cloudformation" "DescribeStacks";
    read notebooks = "sagemaker" "ListNotebookInstances";
    read build_projects = "codebuild" "ListProjects";
    read code_repositories = "codecommit" "ListRepositories";
}

/// An instance of the account, or one that is gone.
pub(in crate::generate) fn instance_id(account: &Account, rng: &mut ChaCha8Rng) -> String {
    if account.instances.is_empty() {
        return format!("i-0{}", hex(rng, 16));
    }
    account.instances[rng.random_range(0..account.instances.len())].id.clone()
}

calls! {
    read instances = "ec2" "DescribeInstances" |account, rng| {"instancesSet": {}, "filterSet": {}, "maxResults": 1000};
    read snapshots = "ec2" "DescribeSnapshots" |account, rng| {
        "ownersSet": {"items": [{"owner": "self"}]}, "snapshotSet": {}, "filterSet": {},
    };
    read images = "ec2" "DescribeImages" |account, rng| {
        "ownersSet": {"items": [{"owner": one(&["self", "amazon"], rng)}]}, "imagesSet": {}, "filterSet": {},
    };
    read user_data = "ec2" "DescribeInstanceAttribute" |account, rng| {
        "instanceId": instance_id(account, rng), "attribute": "userData",
    };
    read instance_types = "ec2" "DescribeInstanceTypes" |account, rng| {"maxResults": 100};
    read quotas = "servicequotas" "ListServiceQuotas" |account, rng| {"serviceCode": one(&["ec2", "fargate", "sagemaker", "bedrock"], rng)};
    write quota_increase = "servicequotas" "RequestServiceQuotaIncrease" |account, rng| {
        "serviceCode": "ec2", "quotaCode": one(&["L-1216C47A", "L-DB2E81BA", "L-417A185B"], rng),
        "desiredValue": one(&[64, 128, 256, 512], rng),
    } => {"requestedQuota": {"id": hex(rng, 40), "status": "PENDING"}};
    write run_instances[kind] = "ec2" "RunInstances" |account, rng| {
        "instancesSet": {"items": [{"imageId": format!("ami-0{}", hex(rng, 16)), "minCount": 1,
            "maxCount": one(&[1, 1, 2, 4, 8], rng), "keyName": new_name(rng)}]},
        "instanceType": kind, "blockDeviceMapping": {}, "monitoring": {"enabled": false},
    } => {"reservationId": format!("r-0{}", hex(rng, 16)), "ownerId": account.id, "instancesSet": {"items": [
        {"instanceId": format!("i-0{}", hex(rng, 16)), "instanceType": kind, "instanceState": {"code": 0, "name": "pending"}}]}};
    write terminate_instances = "ec2" "TerminateInstances" |account, rng| {
        "instancesSet": {"items": [{"instanceId": instance_id(account, rng)}]},
    };
    write stop_instances = "ec2" "StopInstances" |account, rng| {
        "instancesSet": {"items": [{"instanceId": instance_id(account, rng)}]}, "force": rng.random_bool(0.2),
    };
    write key_pair = "ec2" "CreateKeyPair" |account, rng| {"keyName": new_name(rng), "keyType": "ed25519"}
        => {"keyPairId": format!("key-0{}", hex(rng, 16)), "keyMaterial": "<sensitiveDataRemoved>"};
    write security_group = "ec2" "CreateSecurityGroup" |account, rng| {
        "groupName": new_name(rng), "groupDescription": new_name(rng), "vpcId": format!("vpc-0{}", hex(rng, 16)),
    } => {"groupId": format!("sg-0{}", hex(rng, 16)), "_return": true};
    write open_port[source] = "ec2" "AuthorizeSecurityGroupIngress" |account, rng| {
        "groupId": format!("sg-0{}", hex(rng, 16)), "ipPermissions": {"items": [{"ipProtocol": "tcp",
            "fromPort": one(&[22, 443, 3389, 5432], rng), "toPort": 65535,
            "ipRanges": {"items": [{"cidrIp": format!("{source}/32")}]}}]},
    } => {"_return": true};
    write create_snapshot = "ec2" "CreateSnapshot" |account, rng| {
        "volumeId": format!("vol-0{}", hex(rng, 16)), "description": new_name(rng),
    } => {"snapshotId": format!("snap-0{}", hex(rng, 16)), "status": "pending", "ownerId": account.id};
    write copy_snapshot = "ec2" "CopySnapshot" |account, rng| {
        "sourceRegion": account.regions[0], "sourceSnapshotId": format!("snap-0{}", hex(rng, 16)),
        "encrypted": rng.random_bool(0.5),
    } => {"snapshotId": format!("snap-0{}", hex(rng, 16))};
    write share_snapshot[target] = "ec2" "ModifySnapshotAttribute" |account, rng| {
        "snapshotId": format!("snap-0{}", hex(rng, 16)), "attributeType": "CREATE_VOLUME_PERMISSION",
        "createVolumePermission": {"add": {"items": [{"userId": target}]}},
    } => {"_return": true};
    write delete_snapshot = "ec2" "DeleteSnapshot" |account, rng| {"snapshotId": format!("snap-0{}", hex(rng, 16))};
    write delete_volume = "ec2" "DeleteVolume" |account, rng| {"volumeId": format!("vol-0{}", hex(rng, 16))};
    read snapshot_blocks = "ebs" "ListSnapshotBlocks" |account, rng| {"snapshotId": format!("snap-0{}", hex(rng, 16))} + data;
    read snapshot_block = "ebs" "GetSnapshotBlock" |account, rng| {
        "snapshotId": format!("snap-0{}", hex(rng, 16)), "blockIndex": rng.random_range(0..16384),
        "blockToken": "HIDDEN_DUE_TO_SECURITY_REASONS",
    } + data;
    write create_volume = "ec2" "CreateVolume" |account, rng| {
        "snapshotId": format!("snap-0{}", hex(rng, 16)), "zone": format!("{}a", account.regions[0]), "volumeType": "gp3",
    } => {"volumeId": format!("vol-0{}", hex(rng, 16)), "status": "creating"};
    write attach_volume = "ec2" "AttachVolume" |account, rng| {
        "volumeId": format!("vol-0{}", hex(rng, 16)), "instanceId": instance_id(account, rng), "device": "/dev/sdf",
    } => {"status": "attaching"};
    write create_cluster = "ecs" "CreateCluster" |account, rng| {"clusterName": new_name(rng)}
        => {"cluster": {"status": "ACTIVE", "registeredContainerInstancesCount": 0}};
    write task_definition = "ecs" "RegisterTaskDefinition" |account, rng| {
        "family": new_name(rng), "requiresCompatibilities": ["FARGATE"], "networkMode": "awsvpc",
        "cpu": one(&["1024", "2048", "4096"], rng), "memory": "8192", "containerDefinitions": [{
            "name": "main", "essential": true, "image": image(account, rng)}],
    } => {"taskDefinition": {"revision": rng.random_range(1..40), "status": "ACTIVE"}};
    write run_task = "ecs" "RunTask" |account, rng| {
        "cluster": one(&["default", "apps", "batch"], rng), "count": rng.random_range(1..6), "launchType": "FARGATE",
        "taskDefinition": format!("{}:{}", new_name(rng), rng.random_range(1..40)),
    } => {"tasks": [{"lastStatus": "PROVISIONING",
        "taskArn": arn(account, "ecs", &format!("task/default/{}", hex(rng, 32)))}], "failures": []};
    write create_service = "ecs" "CreateService" |account, rng| {
        "cluster": one(&["default", "apps", "batch"], rng), "serviceName": new_name(rng),
        "desiredCount": rng.random_range(1..20), "launchType": "FARGATE", "taskDefinition": new_name(rng),
    } => {"service": {"status": "ACTIVE"}};
    read describe_tasks = "ecs" "DescribeTasks" |account, rng| {"cluster": "default", "tasks": [hex(rng, 32)]};
    read describe_repositories = "ecr" "DescribeRepositories" |account, rng| {"maxResults": 100};
    read batch_get_image = "ecr" "BatchGetImage" |account, rng| {
        "repositoryName": pick(rng, &account.repositories), "imageIds": [{"imageTag": "latest"}],
    };
    read image_layer = "ecr" "GetDownloadUrlForLayer" |account, rng| {
        "repositoryName": pick(rng, &account.repositories),
        "layerDigest": format!("sha256:{}", hex(rng, 64)),
    };
    write notebook = "sagemaker" "CreateNotebookInstance" |account, rng| {
        "notebookInstanceName": new_name(rng), "instanceType": one(&["ml.t3.medium", "ml.t3.2xlarge", "ml.c5.xlarge"], rng),
        "roleArn": format!("arn:aws:iam::{}:role/{}", account.id, role_name(account, rng)),
    } => {"notebookInstanceArn": arn(account, "sagemaker", &format!("notebook-instance/{}", hex(rng, 8)))};
    write build_project = "codebuild" "CreateProject" |account, rng| {
        "name": new_name(rng), "source": {"type": one(&["CODECOMMIT", "NO_SOURCE", "GITHUB"], rng)},
        "artifacts": {"type": "NO_ARTIFACTS"}, "environment": {"type": "LINUX_CONTAINER",
            "computeType": one(&["BUILD_GENERAL1_SMALL", "BUILD_GENERAL1_LARGE"], rng), "image": "aws/codebuild/standard:7.0"},
        "serviceRole": format!("arn:aws:iam::{}:role/{}", account.id, role_name(account, rng)),
    } => {"project": {"arn": arn(account, "codebuild", &format!("project/{}", hex(rng, 8)))}};
    write start_build = "codebuild" "StartBuild" |account, rng| {"projectName": new_name(rng)}
        => {"build": {"id": uuid(rng), "buildStatus": "IN_PROGRESS"}};
    read build_logs = "codebuild" "BatchGetBuilds" |account, rng| {"ids": [uuid(rng)]};
    read managed_instances = "ssm" "DescribeInstanceInformation" |account, rng| {"maxResults": 50};
    write send_command = "ssm" "SendCommand" |account, rng| {
        "documentName": one(&["AWS-RunShellScript", "AWS-RunShellScript", "AWS-RunPowerShellScript"], rng),
        "parameters": "HIDDEN_DUE_TO_SECURITY_REASONS", "interactive": false,
        "instanceIds": [instance_id(account, rng)], "timeoutSeconds": one(&[600, 3600], rng),
    } => {"command": {"commandId": uuid(rng), "status": "Pending", "targetCount": rng.random_range(1..5)}};
    read command_result = "ssm" "GetCommandInvocation" |account, rng| {
        "commandId": uuid(rng), "instanceId": instance_id(account, rng),
    };
    read command_invocations = "ssm" "ListCommandInvocations" |account, rng| {"commandId": uuid(rng), "details": true};
    write shell_session = "ssm" "StartSession" |account, rng| {"target": instance_id(account, rng)}
        => {"sessionId": format!("{}-0{}", new_name(rng), hex(rng, 16)), "tokenValue": "Value hidden due to security reasons."};
    write push_ssh_key = "ec2-instance-connect" "SendSSHPublicKey" |account, rng| {
        "instanceId": instance_id(account, rng), "instanceOSUser": one(&["ec2-user", "ubuntu"], rng),
    } => {"success": true, "requestId": uuid(rng)};
    write create_stack = "cloudformation" "CreateStack" |account, rng| {
        "stackName": new_name(rng), "capabilities": ["CAPABILITY_IAM"], "disableRollback": false,
    } => {"stackId": arn(account, "cloudformation", &format!("stack/{}/{}", new_name(rng), uuid(rng)))};
    write amplify_app = "amplify" "CreateApp" |account, rng| {"name": new_name(rng), "platform": "WEB_COMPUTE"}
        => {"app": {"appId": format!("d{}", capitals(rng, 12).to_lowercase())}};
    write amplify_job = "amplify" "StartJob" |account, rng| {
        "appId": format!("d{}", capitals(rng, 12).to_lowercase()), "branchName": "main", "jobType": "RELEASE",
    } => {"jobSummary": {"jobId": rng.random_range(1..99).to_string(), "status": "PENDING"}};
}

/// A clone or fetch, over HTTPS or SSH.
pub(in crate::generate) fn repository_pull(account: &Account, rng: &mut ChaCha8Rng) -> Call {
    let repository = pick(rng, &account.repositories).clone();
    let arn = arn(account, "codecommit", &repository);
    let call = Call::read("codecommit", "GitPull").on("AWS::CodeCommit::Repository", arn);
    call.additional(serde_json::json!({
        "protocol": one(&["HTTPS", "SSH"], rng), "repositoryName": repository, "dataTransferred": true,
    }))
}

/// An image of the account's own registry or a public one.
fn image(account: &Account, rng: &mut ChaCha8Rng) -> String {
    if rng.random_bool(0.5) {
        let repository = pick(rng, &account.repositories);
        return format!("{}.dkr.ecr.{}.amazonaws.com/{repository}:latest", account.id, account.regions[0]);
    }
    format!("public.ecr.aws/{}/{}:latest", capitals(rng, 8).to_lowercase(), new_name(rng))
}
