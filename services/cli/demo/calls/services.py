"""Systems Manager and remote access, secrets and parameters, Lambda, CloudTrail."""

import base64

from shapes import compact

EC2_XML = "http://ec2.amazonaws.com/doc/2016-11-15/"


def send_command(trail, caller, document, instances=(), tag=None, comment=""):
    """Returns the command id."""
    command = trail.ids.uuid()
    targets = [{"key": f"tag:{tag[0]}", "values": [tag[1]]}] if tag else []
    request = {"documentName": document, "parameters": "HIDDEN_DUE_TO_SECURITY_REASONS", "interactive": False}
    if instances:
        request["instanceIds"] = list(instances)
    if targets:
        request["targets"] = targets
    if comment:
        request["comment"] = comment
    trail.call(
        caller,
        "ssm:SendCommand",
        request,
        {
            "command": {
                "commandId": command,
                "documentName": document,
                "documentVersion": "$DEFAULT",
                "comment": comment,
                "clientName": "",
                "clientSourceId": "",
                "expiresAfter": trail.spoken(7200),
                "parameters": "HIDDEN_DUE_TO_SECURITY_REASONS",
                "instanceIds": list(instances),
                "targets": targets,
                "requestedDateTime": trail.spoken(),
                "status": "Pending",
                "statusDetails": "Pending",
                "outputS3Region": trail.region,
                "outputS3BucketName": "",
                "outputS3KeyPrefix": "",
                "maxConcurrency": "50",
                "maxErrors": "0",
                "targetCount": len(instances),
                "completedCount": 0,
                "errorCount": 0,
                "deliveryTimedOutCount": 0,
                "serviceRole": "",
                "interactive": False,
                "timeoutSeconds": 3600,
                "notificationConfig": {"notificationArn": "", "notificationEvents": [], "notificationType": ""},
                "cloudWatchOutputConfig": {"cloudWatchLogGroupName": "", "cloudWatchOutputEnabled": False},
                "alarmConfiguration": {"ignorePollAlarmFailure": False, "alarms": []},
                "triggeredAlarms": [],
                "hasCancelCommandSignature": False,
                "hasSendCommandSignature": False,
            }
        },
    )
    return command


def start_session(trail, caller, instance, document=None, reason=None):
    """Returns the session id."""
    name = caller.name.split("@")[0]
    session = f"{name}-{trail.ids.word(26).lower()}"
    request = {"target": instance, **({"documentName": document} if document else {}), **({"reason": reason} if reason else {})}
    trail.call(
        caller,
        "ssm:StartSession",
        request,
        {
            "sessionId": session,
            "tokenValue": "Value hidden due to security reasons.",
            "streamUrl": f"wss://ssmmessages.{trail.region}.amazonaws.com/v1/data-channel/{session}?role=publish_subscribe&cell-number={trail.ids.token(60)}",
        },
    )
    return session


def end_session(trail, caller, session):
    trail.call(caller, "ssm:TerminateSession", {"sessionId": session}, {"sessionId": session})


def push_key(trail, caller, instance, os_user="ec2-user", zone=None):
    request = {"instanceId": instance, "instanceOSUser": os_user, "sSHPublicKey": trail.ids.public_key()}
    if zone:
        request["availabilityZone"] = zone
    trail.call(caller, "ec2-instance-connect:SendSSHPublicKey", request, _push_answer(trail))


def push_serial_key(trail, caller, instance):
    trail.call(
        caller,
        "ec2-instance-connect:SendSerialConsoleSSHPublicKey",
        {"instanceId": instance, "serialPort": 0, "monitorMode": False, "sSHPublicKey": trail.ids.public_key()},
        _push_answer(trail),
    )


def serial_console(trail, caller, verb):
    name = f"{verb}SerialConsoleAccess"
    trail.call(
        caller,
        f"ec2:{name}",
        {f"{name}Request": ""},
        {f"{name}Response": {"xmlns": EC2_XML, "requestId": trail.ids.uuid(), "serialConsoleAccessEnabled": verb == "Enable"}},
    )


def _push_answer(trail):
    return {"success": True, "requestId": trail.ids.uuid()}


def secret_arn(trail, name, account=None):
    return (
        f"arn:aws:secretsmanager:{trail.region}:{account or trail.account}:secret:{name}-{trail.ids.named('', name, length=6)}"
    )


def get_secret(trail, caller, name, by_arn=True, **more):
    return trail.call(
        caller,
        "secretsmanager:GetSecretValue",
        {"secretId": secret_arn(trail, name, caller.account) if by_arn else name},
        **more,
    )


def get_parameters(trail, caller, names, decrypt=True):
    trail.call(
        caller,
        "ssm:GetParameters",
        {"names": list(names), "withDecryption": decrypt},
        resources=[
            (caller.account, None, f"arn:aws:ssm:{trail.region}:{caller.account}:parameter/{name.lstrip('/')}")
            for name in names
        ],
    )


def get_parameter(trail, caller, name, decrypt=True):
    trail.call(
        caller,
        "ssm:GetParameter",
        {"name": name, "withDecryption": decrypt},
        resources=[(caller.account, None, f"arn:aws:ssm:{trail.region}:{caller.account}:parameter/{name.lstrip('/')}")],
    )


def function_arn(trail, name, account=None):
    return f"arn:aws:lambda:{trail.region}:{account or trail.account}:function:{name}"


def _function(trail, caller, name, runtime, layers=(), publish=False):
    arn = function_arn(trail, name, caller.account)
    out = {
        "functionName": name,
        "functionArn": arn + (f":{trail.ids.number(4, 60)}" if publish else ""),
        "runtime": runtime,
        "role": f"arn:aws:iam::{caller.account}:role/{name}-execution",
        "handler": "app.handler",
        "codeSize": trail.ids.number(40_000, 6_000_000),
        "description": "",
        "timeout": 30,
        "memorySize": 512,
        "lastModified": trail.stamp()[:-1] + ".000+0000",
        "codeSha256": base64.b64encode(bytes.fromhex(trail.ids.hex(64))).decode(),
        "version": "$LATEST",
        "tracingConfig": {"mode": "PassThrough"},
        "revisionId": trail.ids.uuid(),
        "state": "Active",
        "lastUpdateStatus": "InProgress",
        "lastUpdateStatusReason": "The function is being created.",
        "lastUpdateStatusReasonCode": "Creating",
        "packageType": "Zip",
        "architectures": ["arm64"],
        "environment": {},
        "ephemeralStorage": {"size": 512},
        "snapStart": {"applyOn": "None", "optimizationStatus": "Off"},
        "loggingConfig": {"logFormat": "JSON", "logGroup": f"/aws/lambda/{name}"},
    }
    if layers:
        out["layers"] = [
            {"arn": layer, "codeSize": trail.ids.number(20_000, 900_000), "uncompressedCodeSize": 0} for layer in layers
        ]
    return out


def update_code(trail, caller, name, runtime="python3.13", bucket=None, publish=False):
    request = {"functionName": name, "publish": publish, "dryRun": False}
    if bucket:
        request.update({"s3Bucket": bucket, "s3Key": f"{name}/{trail.ids.hex(12)}.zip"})
    request["fullyQualifiedArn"] = {
        "arnPrefix": {"partition": "aws", "region": trail.region, "account": caller.account},
        "relativeId": {"functionName": name},
        "functionQualifier": {},
    }
    trail.call(
        caller,
        "lambda:UpdateFunctionCode",
        request,
        _function(trail, caller, name, runtime, publish=publish),
        version_suffix="20150331v2",
    )


def update_configuration(trail, caller, name, layers=None, runtime="python3.13", memory=None):
    request = {"functionName": name, "environment": {}}
    if layers is not None:
        request["layers"] = list(layers)
    if memory:
        request["memorySize"] = memory
    trail.call(
        caller,
        "lambda:UpdateFunctionConfiguration",
        request,
        _function(trail, caller, name, runtime, layers or ()),
        version_suffix="20150331v2",
    )


def add_permission(
    trail,
    caller,
    function,
    principal,
    statement,
    source_arn=None,
    source_account=None,
    action="lambda:InvokeFunction",
    url_auth=None,
):
    request = {"functionName": function, "statementId": statement, "action": action, "principal": principal}
    condition = {}
    if source_arn:
        request["sourceArn"] = source_arn
        condition["ArnLike"] = {"AWS:SourceArn": source_arn}
    if source_account:
        request["sourceAccount"] = source_account
        condition["StringEquals"] = {"AWS:SourceAccount": source_account}
    if url_auth:
        request["functionUrlAuthType"] = url_auth
        condition["StringEquals"] = {"lambda:FunctionUrlAuthType": url_auth}
    who = (
        '"*"'
        if principal == "*"
        else (
            '{"Service":"%s"}' % principal
            if principal.endswith(".amazonaws.com")
            else '{"AWS":"arn:aws:iam::%s:root"}' % principal
        )
    )
    text = '{"Sid":"%s","Effect":"Allow","Principal":%s,"Action":"%s","Resource":"%s"' % (
        statement,
        who,
        action,
        function_arn(trail, function, caller.account),
    )
    if condition:
        text += ',"Condition":' + compact(condition)
    trail.call(caller, "lambda:AddPermission", request, {"statement": text + "}"}, version_suffix="20150331v2")


def trail_arn(trail, name, account=None):
    return f"arn:aws:cloudtrail:{trail.region}:{account or trail.account}:trail/{name}"


def event_selectors(trail, caller, name, selectors):
    trail.call(
        caller,
        "cloudtrail:PutEventSelectors",
        {"trailName": name, "eventSelectors": selectors},
        {"trailARN": trail_arn(trail, name, caller.account), "eventSelectors": selectors},
    )


def selector(management=True, kind="All", data=()):
    return {
        "readWriteType": kind,
        "includeManagementEvents": management,
        "dataResources": [{"type": resource, "values": list(values)} for resource, values in data],
        "excludeManagementEventSources": [],
    }
