"""Two ordinary days at Larkfield: services, functions, pipelines, people, an auditor and a busy administrator."""

from calls import *  # noqa: F403
from organisation import MANAGEMENT, OFFICE, PIPELINE_KEY, PRODUCTION, RUNNER, SECURITY, STAGING
from shapes import BOTO, CHROME, CHROME_MAC, CLI_MAC, CLI_WINDOWS, FIREFOX, NODE, TERRAFORM, Caller

GITHUB = "token.actions.githubusercontent.com"
IDENTITY_STORE = f"arn:aws:identitystore::{MANAGEMENT}:identitystore/d-93677f20c4"


def two_days(world):
    services(world)
    functions(world)
    backups(world)
    pipelines(world)
    legacy_pipeline(world)
    drift_check(world)
    people(world)
    auditor(world)
    busy_administrator(world)
    security_team(world)


def services(world):
    """Config records what it sees; autoscaling follows the day's load; the trail checks its bucket."""
    for account in (PRODUCTION, STAGING):
        t = world.trail(account)
        for moment in ("2026-09-15T04:12:07", "2026-09-15T16:12:31", "2026-09-16T04:12:19", "2026-09-16T15:40:02"):
            t.at(moment)
            role = service_assumes(t, "config", "AWSServiceRoleForConfig", "ConfigDescribeSession")
            for api, request in (
                ("ec2:DescribeSecurityGroups", {"securityGroupSet": {}, "securityGroupIdSet": {}, "filterSet": {}}),
                ("rds:DescribeDBInstances", None),
                ("elasticloadbalancing:DescribeLoadBalancers", None),
            ):
                t.wait(1, 3)
                t.call(role, api, request)
    t = world.trail(PRODUCTION)
    target = f"arn:aws:elasticloadbalancing:eu-west-1:{PRODUCTION}:targetgroup/orders/{t.ids.hex(16)}"
    fleet = [t.ids.resource("i", "orders", number) for number in range(2)]
    for day in ("15", "16"):
        for hour, change in (("05", None), ("07", "RunInstances"), ("12", None), ("18", "TerminateInstances")):
            t.at(f"2026-09-{day}T{hour}:00:11")
            role = t.service_role("AWSServiceRoleForAutoScaling", "AutoScaling", "autoscaling")
            t.call(
                role,
                "ec2:DescribeInstanceStatus",
                {
                    "instancesSet": {"items": [{"instanceId": instance} for instance in fleet]},
                    "filterSet": {},
                    "includeAllInstances": True,
                },
            )
            t.wait(1, 2)
            t.call(role, "elasticloadbalancing:DescribeTargetHealth", {"targetGroupArn": target, "targets": []})
            t.wait(3, 5)
            if change == "RunInstances":
                fleet += run_instances(
                    t,
                    role,
                    t.ids.resource("ami", "orders"),
                    "m6g.large",
                    groups=[t.ids.resource("sg", "orders")],
                    profile="orders-server",
                    user_data=True,
                )
            elif change:
                power(t, role, change, [fleet.pop()])
    t = world.trail(SECURITY)
    bucket = "larkfield-organisation-trail"
    for moment in (
        "2026-09-15T06:21:14",
        "2026-09-15T13:21:40",
        "2026-09-15T20:22:03",
        "2026-09-16T03:22:31",
        "2026-09-16T10:22:55",
    ):
        t.at(moment)
        record = t.call(
            t.service("cloudtrail"),
            "s3:GetBucketAcl",
            {"bucketName": bucket, "Host": f"{bucket}.s3.eu-west-1.amazonaws.com", "acl": ""},
            resources=[(SECURITY, "AWS::S3::Bucket", f"arn:aws:s3:::{bucket}")],
            account=SECURITY,
            extra={"sharedEventID": t.ids.uuid()},
        )
        record["additionalEventData"] = {
            "SignatureVersion": "SigV4",
            "CipherSuite": "TLS_AES_128_GCM_SHA256",
            "bytesTransferredIn": 0,
            "AuthenticationMethod": "AuthHeader",
            "x-amz-id-2": t.ids.token(60)[16:] + "=",
            "bytesTransferredOut": 542,
        }
        record["requestID"] = t.ids.s3_request()


def functions(world):
    """Functions open log streams and read what is theirs when they start cold."""
    t = world.trail(PRODUCTION)
    starts = (
        ("orders-webhook", "/orders/webhook-key", "15T05:48:20"),
        ("orders-invoice", None, "15T08:02:55"),
        ("orders-webhook", "/orders/webhook-key", "15T12:31:09"),
        ("stock-sync", "/stock/supplier-key", "15T19:10:44"),
        ("orders-webhook", "/orders/webhook-key", "16T01:40:31"),
        ("orders-invoice", None, "16T06:55:12"),
        ("stock-sync", "/stock/supplier-key", "16T11:26:37"),
    )
    for name, parameter, moment in starts:
        t.at(f"2026-09-{moment}")
        role = t.function_role(f"{name}-execution", name, "10.20.3.14" if name == "stock-sync" else "203.0.113.70")
        t.call(
            role,
            "logs:CreateLogStream",
            {"logGroupName": f"/aws/lambda/{name}", "logStreamName": f"2026/09/{moment[:2]}/[$LATEST]{t.ids.hex(32)}"},
        )
        t.wait(1)
        if parameter:
            get_parameters(t, role, [parameter])
            t.wait(1)
            t.call(
                role,
                "kms:Decrypt",
                {
                    "encryptionAlgorithm": "SYMMETRIC_DEFAULT",
                    "encryptionContext": {"PARAMETER_ARN": f"arn:aws:ssm:eu-west-1:{PRODUCTION}:parameter{parameter}"},
                },
                resources=[
                    (
                        PRODUCTION,
                        "AWS::KMS::Key",
                        f"arn:aws:kms:eu-west-1:{PRODUCTION}:key/{t.ids.named('', 'orders-key', length=8).lower()}-52ab-4c1e-9b7d-0e61f8d2aa34",
                    )
                ],
            )
        else:
            get_secret(t, role, "orders/invoice-signing")


def backups(world):
    """The nightly backup takes snapshots of every volume that carries its tag, in both accounts."""
    for account, volumes in ((PRODUCTION, ("orders-database", "orders-files", "stock")), (STAGING, ("staging-database",))):
        t = world.trail(account)
        for day in ("15", "16"):
            t.at(f"2026-09-{day}T00:30:04")
            role = t.role(
                "larkfield-backup",
                "AWSBackup-" + account,
                "backup.amazonaws.com",
                "backup.amazonaws.com",
                path="/service-role/",
                age=3,
                identity={"invokedBy": "backup.amazonaws.com"},
            )
            role.service = "backup"
            t.call(
                role,
                "ec2:DescribeVolumes",
                {
                    "volumeSet": {},
                    "filterSet": {"items": [{"name": "tag:backup", "valueSet": {"items": [{"value": "nightly"}]}}]},
                },
            )
            for volume in volumes:
                t.wait(2, 6)
                create_snapshot(
                    t, role, t.ids.resource("vol", volume), "This snapshot is created by the AWS Backup service.", 300
                )


def pipelines(world):
    """Two repositories deploy through the code host's identity, several times a day."""
    for account, repository, moments in (
        (STAGING, "orders", ("15T08:20:10", "15T13:44:26", "16T07:58:41")),
        (PRODUCTION, "orders", ("15T14:30:12", "16T09:10:05")),
        (STAGING, "stock", ("15T10:12:33", "16T12:05:17")),
    ):
        t = world.trail(account)
        stage = "production" if account == PRODUCTION else "staging"
        for moment in moments:
            t.at(f"2026-09-{moment}")
            role = web_identity(
                t,
                GITHUB,
                f"repo:larkfield/{repository}:environment:{stage}",
                f"{repository}-deploy",
                "GitHubActions",
                f"203.0.113.{t.ids.number(150, 190)}",
                NODE,
            )
            t.wait(2, 4)
            whoami(t, role)
            t.wait(5, 9)
            name = {"orders": "orders-webhook", "stock": "stock-sync"}[repository]
            update_code(t, role, name, bucket=f"larkfield-{stage}-artefacts", publish=True)
            t.wait(6, 12)
            t.call(role, "lambda:GetFunctionConfiguration", {"functionName": name}, version_suffix="20150331v2")


def legacy_pipeline(world):
    """The old pipeline user of staging: integration tests by day, the promotion of artefacts to production once a day."""
    t = world.trail(STAGING)
    ci = t.user("ci-staging", RUNNER, BOTO, key=PIPELINE_KEY)
    for moment, promotes in (
        ("15T07:30:00", False),
        ("15T11:30:01", False),
        ("15T15:30:00", True),
        ("16T07:30:02", False),
        ("16T15:10:00", True),
    ):
        t.at(f"2026-09-{moment}")
        whoami(t, ci)
        t.wait(1, 2)
        get_parameters(t, ci, ["/staging/orders/database-url", "/staging/orders/queue"])
        t.wait(1, 2)
        get_secret(t, ci, "staging/orders/test-user")
        t.wait(200, 400)
        update_code(t, ci, "orders-integration", bucket="larkfield-staging-artefacts")
        if promotes:
            t.wait(30, 60)
            role = assume_role(
                t, ci, "release-promoter", f"promote-{t.ids.number(2100, 2199)}", account=PRODUCTION, shared=True
            )
            p = world.trail(PRODUCTION)
            p.clock = t.clock
            p.wait(2, 4)
            whoami(p, role)
            p.wait(2, 4)
            p.call(role, "lambda:GetFunction", {"functionName": "orders-invoice"}, version_suffix="20150331v2")
            p.wait(2, 4)
            update_code(p, role, "orders-invoice", bucket="larkfield-production-artefacts", publish=True)


def drift_check(world):
    """A nightly plan reads the state of what Terraform owns."""
    for account, moment in ((PRODUCTION, "2026-09-15T22:00:03"), (STAGING, "2026-09-15T22:20:05")):
        t = world.trail(account).at(moment)
        role = web_identity(
            t, GITHUB, "repo:larkfield/platform:ref:refs/heads/main", "drift-check", "GitHubActions", "203.0.113.162", TERRAFORM
        )
        instance = t.ids.resource("i", "orders", 0)
        for api, request in (
            ("sts:GetCallerIdentity", None),
            ("ec2:DescribeVpcs", {"vpcSet": {}, "filterSet": {}}),
            ("ec2:DescribeInstances", {"instancesSet": {"items": [{"instanceId": instance}]}, "filterSet": {}}),
            ("ec2:DescribeInstanceAttribute", {"instanceId": instance, "attribute": "disableApiTermination"}),
            ("ec2:DescribeInstanceAttribute", {"instanceId": instance, "attribute": "userData"}),
            ("iam:GetRole", {"roleName": "orders-webhook-execution"}),
            ("iam:ListAttachedRolePolicies", {"roleName": "orders-webhook-execution"}),
            (
                "cloudtrail:DescribeTrails",
                {"trailNameList": [f"larkfield-{'production' if account == PRODUCTION else 'staging'}"]},
            ),
            ("secretsmanager:DescribeSecret", {"secretId": "orders/invoice-signing"}),
        ):
            t.wait(1, 3)
            t.call(role, api, request)


def people(world):
    """Developers and the on-call engineer sign in through the portal and look at their systems."""
    browse = {
        "orders": (
            ("lambda:ListFunctions", None, "20150331"),
            ("lambda:GetFunction", {"functionName": "orders-webhook"}, "20150331v2"),
            ("logs:DescribeLogGroups", {"limit": 50}, ""),
            ("monitoring:GetDashboard", {"dashboardName": "orders"}, ""),
        ),
        "servers": (
            ("ec2:DescribeInstances", {"maxResults": 100, "instancesSet": {}, "filterSet": {}}, ""),
            ("ec2:DescribeInstanceStatus", {"instancesSet": {}, "filterSet": {}}, ""),
            ("ec2:DescribeVolumes", {"volumeSet": {}, "filterSet": {}}, ""),
            ("monitoring:DescribeAlarms", {"maxRecords": 100}, ""),
        ),
        "data": (
            ("rds:DescribeDBInstances", None, ""),
            ("rds:DescribeDBSnapshots", {"maxRecords": 50}, ""),
            ("secretsmanager:ListSecrets", {"maxResults": 20}, ""),
            ("kms:ListAliases", None, ""),
        ),
    }
    days = (
        ("hanna.voss", "Developer", STAGING, "orders", "15T07:05:22", OFFICE, CHROME),
        ("tom.ashdown", "Developer", STAGING, "orders", "15T07:41:03", "198.51.100.61", FIREFOX),
        ("ivo.marten", "OnCall", PRODUCTION, "servers", "15T09:15:30", OFFICE, CHROME_MAC),
        ("hanna.voss", "Developer", PRODUCTION, "orders", "15T14:45:10", OFFICE, CHROME),
        ("lucia.reyes", "DataEngineer", PRODUCTION, "data", "15T12:50:48", "198.51.100.64", CHROME_MAC),
        ("ivo.marten", "OnCall", PRODUCTION, "servers", "15T23:20:15", "198.51.100.68", CHROME_MAC),
        ("hanna.voss", "Developer", STAGING, "orders", "16T07:02:51", OFFICE, CHROME),
        ("lucia.reyes", "DataEngineer", STAGING, "data", "16T08:33:09", "198.51.100.64", CHROME_MAC),
        ("tom.ashdown", "Developer", PRODUCTION, "orders", "16T11:14:40", "198.51.100.61", FIREFOX),
    )
    for person, permission_set, account, interest, moment, address, agent in days:
        t = world.trail(account).at(f"2026-09-{moment}")
        role = sign_in(world, t, permission_set, person, address, agent)
        for api, request, suffix in browse[interest]:
            t.wait(15, 200)
            t.call(role, api, request, version_suffix=suffix)
        if interest == "data":
            t.wait(60, 120)
            get_secret(t, role, "reporting/warehouse", by_arn=False)
        if permission_set == "OnCall":
            t.wait(60, 120)
            session = start_session(t, role, t.ids.resource("i", "orders", 0))
            t.wait(500, 900)
            end_session(t, role, session)


def sign_in(world, t, permission_set, person, address, agent, console=True):
    """The portal's own record in the management account, then the role of the account."""
    m = world.trail(MANAGEMENT)
    m.clock = t.clock
    user = m.ids.named("", "person", person, length=10).lower()
    portal = Caller(
        {
            "type": "IdentityCenterUser",
            "accountId": MANAGEMENT,
            "onBehalfOf": {
                "userId": f"92e5{m.ids.named('', person, length=6).lower()}-{user[:8]}",
                "identityStoreArn": IDENTITY_STORE,
            },
            "credentialId": m.ids.uuid(),
        },
        address,
        agent,
    )
    m.call(
        portal,
        "sso:Federate",
        None,
        None,
        event_type="AwsServiceEvent",
        read_only=False,
        host="portal.sso.eu-west-1.amazonaws.com",
        extra={"serviceEventDetails": {"account_id": t.account, "role_name": permission_set, "relayId": m.ids.uuid()}},
    )
    t.wait(1, 2)
    return portal_sign_in(t, permission_set, f"{person}@larkfield.example", address, agent, console=console)


def auditor(world):
    """An external auditor lists widely with a read-only role; what holds secrets is refused."""
    t = world.trail(PRODUCTION).at("2026-09-15T10:02:00")
    role = sign_in(world, t, "AuditRead", "q.hollis.audit", "198.51.100.200", CLI_WINDOWS, console=False)
    for api, request in (
        ("sts:GetCallerIdentity", None),
        ("iam:ListUsers", {"maxItems": 1000}),
        ("iam:ListRoles", {"maxItems": 1000}),
        ("iam:GetAccountAuthorizationDetails", {"maxItems": 500}),
        ("iam:GenerateCredentialReport", None),
        ("iam:GetCredentialReport", None),
        ("ec2:DescribeInstances", {"instancesSet": {}, "filterSet": {}}),
        ("ec2:DescribeSecurityGroups", {"securityGroupSet": {}, "securityGroupIdSet": {}, "filterSet": {}}),
        (
            "ec2:DescribeSnapshots",
            {"snapshotSet": {}, "ownersSet": {"items": [{"owner": "self"}]}, "sharedUsersSet": {}, "filterSet": {}},
        ),
        ("ec2:DescribeFlowLogs", {"DescribeFlowLogsRequest": ""}),
        ("rds:DescribeDBInstances", None),
        ("cloudtrail:DescribeTrails", {"trailNameList": []}),
        ("cloudtrail:GetTrailStatus", {"name": "larkfield-production"}),
        ("secretsmanager:ListSecrets", {"maxResults": 100}),
        ("ssm:DescribeParameters", {"maxResults": 50}),
        ("kms:ListKeys", None),
    ):
        t.wait(3, 90)
        t.call(role, api, request)
    t.wait(20, 40)
    t.denied(role, "secretsmanager:GetSecretValue", secret_arn(t, "orders/invoice-signing"))
    t.wait(20, 40)
    t.denied(
        role,
        "ec2:DescribeInstanceAttribute",
        f"arn:aws:ec2:eu-west-1:{PRODUCTION}:instance/*",
        {"instanceId": t.ids.resource("i", "orders", 0), "attribute": "userData"},
    )


def busy_administrator(world):
    """Ruth Penhale, platform lead, has a full change evening: each step looks alarming alone, each has a ticket."""
    t = world.trail(STAGING).at("2026-09-15T17:04:20")
    ruth = sign_in(world, t, "AdministratorAccess", "ruth.penhale", OFFICE, CHROME_MAC)
    t.wait(60, 90)
    jump, server = t.ids.resource("sg", "staging-jump"), t.ids.resource("i", "staging-batch")
    ingress(t, ruth, jump, 22, OFFICE + "/32", description="CHG-1180 new office line")
    t.wait(30, 50)
    ingress(t, ruth, jump, 22, "198.51.100.2/32", verb="Revoke")
    t.wait(200, 300)
    power(t, ruth, "StopInstances", [server])
    t.wait(70, 90)
    ec2_change(t, ruth, "ModifyInstanceAttribute", {"instanceId": server, "userData": "<sensitiveDataRemoved>"})
    t.wait(20, 30)
    power(t, ruth, "StartInstances", [server])
    t.wait(200, 300)
    create_user(t, ruth, "svc-parcel-carrier", tags={"ticket": "CHG-1181", "owner": "stock"})
    t.wait(10, 20)
    t.call(
        ruth,
        "iam:PutUserPolicy",
        {
            "userName": "svc-parcel-carrier",
            "policyName": "carrier",
            "policyDocument": '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":["s3:PutObject"],"Resource":"arn:aws:s3:::larkfield-staging-carrier/*"}]}',
        },
    )
    t.wait(10, 20)
    create_access_key(t, ruth, "svc-parcel-carrier")
    t.wait(400, 500)
    shell = assume_role(t, ruth.via(agent=CLI_MAC), "platform-maintenance", "ruth.penhale", account=PRODUCTION, shared=True)
    p = world.trail(PRODUCTION)
    p.clock = t.clock
    p.wait(20, 30)
    command = send_command(p, shell, "AWS-RunPatchBaseline", tag=("service", "orders"), comment="CHG-1182 monthly patches")
    for number in range(2):
        p.wait(200, 300)
        p.call(shell, "ssm:GetCommandInvocation", {"commandId": command, "instanceId": p.ids.resource("i", "orders", number)})
    p.wait(60, 90)
    snapshot = create_snapshot(p, shell, p.ids.resource("vol", "stock"), "CHG-1183 restore drill", 300)
    p.wait(400, 600)
    share_snapshot(p, shell, snapshot, [SECURITY])
    for api, resource in (
        ("rds:DescribeDBInstances", f"arn:aws:rds:eu-west-1:{PRODUCTION}:db:*"),
        ("secretsmanager:ListSecrets", "*"),
        ("cloudtrail:GetTrailStatus", trail_arn(p, "larkfield-production")),
    ):
        p.wait(5, 10)
        p.denied(shell, api, resource)
    p.wait(4000, 5000)
    share_snapshot(p, shell, snapshot, [SECURITY], "remove")


def security_team(world):
    t = world.trail(SECURITY).at("2026-09-16T08:05:00")
    role = sign_in(world, t, "SecurityAnalyst", "noor.haddad", "198.51.100.66", FIREFOX)
    detector = t.ids.hex(32)
    for api, request in (
        ("guardduty:ListDetectors", {}),
        ("guardduty:ListFindings", {"detectorId": detector, "maxResults": 50}),
        ("securityhub:GetFindings", {"maxResults": 50}),
        ("cloudtrail:LookupEvents", {"maxResults": 50}),
    ):
        t.wait(10, 60)
        t.call(role, api, request)
