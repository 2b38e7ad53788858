"""STS, sign-in and IAM."""

import urllib.parse

from shapes import Caller, trust


def whoami(trail, caller, **more):
    return trail.call(caller, "sts:GetCallerIdentity", **more)


def assume_role(
    trail,
    caller,
    role,
    session,
    address=None,
    agent=None,
    account=None,
    external_id=None,
    duration=3600,
    shared=False,
    mfa_serial=None,
):
    """AssumeRole and the session that follows from it. `shared` writes the twin record of the role's own account too."""
    account = account or caller.account or trail.account
    arn = f"arn:aws:iam::{account}:role/{role}"
    session_caller = trail.role(
        role,
        session,
        address or caller.address,
        agent or caller.agent,
        account,
        age=0,
        mfa=bool(mfa_serial) or _has_mfa(caller),
    )
    request = {"roleArn": arn, "roleSessionName": session, "durationSeconds": duration}
    if external_id:
        request["externalId"] = external_id
    if mfa_serial:
        request["serialNumber"] = mfa_serial
    response = {
        "credentials": _credentials(trail, session_caller, duration),
        "assumedRoleUser": {"assumedRoleId": session_caller.identity["principalId"], "arn": session_caller.arn},
    }
    resources = [(account, "AWS::IAM::Role", arn)]
    cross = shared and account != caller.account
    extra = {"sharedEventID": trail.ids.uuid()} if cross else {}
    record = trail.call(caller, "sts:AssumeRole", request, response, resources=resources, extra=extra)
    if cross:
        outsider = Caller(
            {"type": "AWSAccount", "principalId": caller.identity["principalId"], "accountId": caller.account},
            caller.address,
            caller.agent,
        )
        twin = trail.call(outsider, "sts:AssumeRole", request, response, resources=resources, extra=extra, account=account)
        twin["requestID"] = record["requestID"]
    return session_caller


def service_assumes(trail, service, role, session, account=None):
    """A service takes its service-linked role, as it does all day long."""
    account = account or trail.account
    caller = trail.service_role(role, session, service, account)
    arn = f"arn:aws:iam::{account}:role/aws-service-role/{service}.amazonaws.com/{role}"
    trail.call(
        trail.service(service),
        "sts:AssumeRole",
        {"roleArn": arn, "roleSessionName": session},
        {
            "credentials": _credentials(trail, caller, 3600),
            "assumedRoleUser": {"assumedRoleId": caller.identity["principalId"], "arn": caller.arn},
        },
        resources=[(account, "AWS::IAM::Role", arn)],
        account=account,
        extra={"sharedEventID": trail.ids.uuid()},
    )
    return caller


def web_identity(trail, provider, subject, role, session, address, agent, account=None, duration=3600):
    account = account or trail.account
    provider_arn = f"arn:aws:iam::{account}:oidc-provider/{provider}"
    outsider = Caller(
        {
            "type": "WebIdentityUser",
            "principalId": f"{provider_arn}:sts.amazonaws.com:{subject}",
            "userName": subject,
            "identityProvider": provider_arn,
        },
        address,
        agent,
    )
    session_caller = trail.role(
        role,
        session,
        address,
        agent,
        account,
        age=0,
        extra={"webIdFederationData": {"federatedProvider": provider_arn, "attributes": {}}},
    )
    arn = f"arn:aws:iam::{account}:role/{role}"
    record = trail.call(
        outsider,
        "sts:AssumeRoleWithWebIdentity",
        {"roleArn": arn, "roleSessionName": session, "durationSeconds": duration},
        {
            "credentials": _credentials(trail, session_caller, duration),
            "subjectFromWebIdentityToken": subject,
            "assumedRoleUser": {"assumedRoleId": session_caller.identity["principalId"], "arn": session_caller.arn},
            "provider": provider_arn,
            "audience": "sts.amazonaws.com",
        },
        resources=[(account, "AWS::IAM::Role", arn)],
        account=account,
    )
    record["additionalEventData"]["identityProviderConnectionVerificationMethod"] = "IAMTrustStore"
    return session_caller


def portal_sign_in(trail, permission_set, person, address, agent, account=None, console=True, user_id=None, directory=None):
    """The two records of an Identity Center user who opens an account: the portal's and the role's."""
    account = account or trail.account
    session_caller = trail.identity_center(permission_set, person, address, agent, account, console)
    session_caller.identity["sessionContext"]["attributes"]["creationDate"] = trail.stamp()
    issuer = session_caller.identity["sessionContext"]["sessionIssuer"]["arn"]
    provider = (
        f"arn:aws:iam::{account}:saml-provider/AWSSSO_{trail.ids.named('', account, 'sso', length=16).lower()}_DO_NOT_DELETE"
    )
    name = trail.ids.named("", account, "idp", length=26) + "="
    outsider = Caller(
        {"type": "SAMLUser", "principalId": f"{name}:{person}", "userName": person, "identityProvider": name},
        "192.0.2.12",
        "aws-internal/3 aws-sdk-java/1.12.785 Linux/5.10.236-227.928.amzn2int.x86_64 OpenJDK_64-Bit_Server_VM/17.0.15+9-LTS java/17.0.15 vendor/Amazon.com_Inc. cfg/retry-mode/standard",
    )
    trail.call(
        outsider,
        "sts:AssumeRoleWithSAML",
        {
            "sAMLAssertionID": f"_{trail.ids.uuid()}",
            "roleSessionName": person,
            "durationSeconds": 3600,
            "roleArn": issuer,
            "principalArn": provider,
        },
        {
            "subjectType": "persistent",
            "issuer": f"https://portal.sso.{trail.region}.amazonaws.com/saml/assertion/{trail.ids.named('', account, 'assertion', length=24)}",
            "credentials": _credentials(trail, session_caller, 3600),
            "nameQualifier": name,
            "subject": person,
            "assumedRoleUser": {"assumedRoleId": session_caller.identity["principalId"], "arn": session_caller.arn},
            "audience": "https://signin.aws.amazon.com/saml",
        },
        resources=[(account, "AWS::IAM::Role", issuer), (account, "AWS::IAM::SAMLProvider", provider)],
        account=account,
    )
    return session_caller


def session_token(trail, caller, duration=43200, mfa=True):
    """GetSessionToken with the code of the user's device; returns the temporary caller."""
    name = caller.identity["userName"]
    session_caller = trail.user_session(name, caller.address, caller.agent, mfa, caller.account)
    request = {"durationSeconds": duration}
    if mfa:
        request["serialNumber"] = f"arn:aws:iam::{caller.account}:mfa/{name}"
    trail.call(caller, "sts:GetSessionToken", request, {"credentials": _credentials(trail, session_caller, duration)})
    return session_caller


def federation_token(trail, caller, name, document, duration=3600):
    key = trail.ids.key()
    arn = f"arn:aws:sts::{caller.account}:federated-user/{name}"
    trail.call(
        caller,
        "sts:GetFederationToken",
        {"name": name, "durationSeconds": duration, "policy": document},
        {
            "credentials": {"accessKeyId": key, "expiration": trail.spoken(duration), "sessionToken": trail.ids.token()},
            "federatedUser": {"federatedUserId": f"{caller.account}:{name}", "arn": arn},
            "packedPolicySize": 9,
        },
    )
    return Caller(
        {
            "type": "FederatedUser",
            "principalId": f"{caller.account}:{name}",
            "arn": arn,
            "accountId": caller.account,
            "accessKeyId": key,
            "sessionContext": {
                "sessionIssuer": {
                    "type": "IAMUser",
                    "principalId": caller.identity["principalId"],
                    "arn": caller.arn,
                    "accountId": caller.account,
                    "userName": caller.identity["userName"],
                },
                "attributes": {"creationDate": trail.stamp(), "mfaAuthenticated": "false"},
            },
        },
        caller.address,
        caller.agent,
    )


def console_login(trail, name, address, agent, mfa=True, failure=None, account=None, root=False):
    account = account or trail.account
    if root:
        identity = {"type": "Root", "principalId": account, "arn": f"arn:aws:iam::{account}:root", "accountId": account}
    else:
        identity = {
            "type": "IAMUser",
            "principalId": trail.user_id(name, account),
            "arn": f"arn:aws:iam::{account}:user/{name}",
            "accountId": account,
            "userName": name,
        }
    if failure:
        identity["accessKeyId"] = ""
        identity.pop("arn", None)
    extra = {
        "additionalEventData": {
            "LoginTo": f"https://console.aws.amazon.com/console/home?hashArgs=%23&isauthcode=true&state=hashArgsFromTB_{trail.region}",
            "MobileVersion": "No",
            "MFAUsed": "Yes" if mfa else "No",
        }
    }
    if mfa and not failure:
        extra["additionalEventData"][
            "MFAIdentifier"
        ] = f"arn:aws:iam::{account}:mfa/{'root-account-mfa-device' if root else name}"
    record = trail.call(
        Caller(identity, address, agent),
        "signin:ConsoleLogin",
        None,
        {"ConsoleLogin": "Failure" if failure else "Success"},
        extra=extra,
        event_type="AwsConsoleSignIn",
        host=f"{trail.region}.signin.aws.amazon.com",
        account=account,
    )
    del record["requestID"]
    if failure:
        record["errorMessage"] = failure
    return record


def create_user(trail, caller, name, path="/", tags=None):
    request = {"userName": name}
    user = {
        "path": path,
        "userName": name,
        "userId": trail.user_id(name, caller.account),
        "arn": f"arn:aws:iam::{caller.account}:user{path}{name}",
        "createDate": trail.spoken(),
    }
    if tags:
        request["tags"] = user["tags"] = [{"key": key, "value": value} for key, value in tags.items()]
    trail.call(caller, "iam:CreateUser", request, {"user": user})


def create_access_key(trail, caller, name=None, key=None):
    """Returns the new key id. A call without a name is for the caller's own user."""
    owner = name or caller.identity["userName"]
    key = key or trail.ids.key("AKIA")
    trail.call(
        caller,
        "iam:CreateAccessKey",
        {"userName": name} if name else None,
        {"accessKey": {"accessKeyId": key, "status": "Active", "userName": owner, "createDate": trail.spoken()}},
    )
    return key


def access_key_status(trail, caller, name, key, status):
    trail.call(caller, "iam:UpdateAccessKey", {"userName": name, "accessKeyId": key, "status": status})


def delete_access_key(trail, caller, name, key):
    trail.call(caller, "iam:DeleteAccessKey", {"userName": name, "accessKeyId": key})


def create_login_profile(trail, caller, name, reset=True):
    trail.call(
        caller,
        "iam:CreateLoginProfile",
        {"userName": name, "passwordResetRequired": reset},
        {"loginProfile": {"userName": name, "createDate": trail.spoken(), "passwordResetRequired": reset}},
    )


def attach(trail, caller, kind, name, arn):
    """AttachUserPolicy, AttachRolePolicy or AttachGroupPolicy."""
    trail.call(caller, f"iam:Attach{kind}Policy", {f"{kind.lower()}Name": name, "policyArn": arn})


def create_role(trail, caller, name, document, description=None, path="/", boundary=None):
    request = {"path": path, "roleName": name, "assumeRolePolicyDocument": document}
    role = {
        "path": path,
        "roleName": name,
        "roleId": trail.role_id(name, caller.account),
        "arn": f"arn:aws:iam::{caller.account}:role{path}{name}",
        "createDate": trail.spoken(),
        "assumeRolePolicyDocument": urllib.parse.quote(document, safe=""),
    }
    if description:
        request["description"] = role["description"] = description
    if boundary:
        request["permissionsBoundary"] = boundary
        role["permissionsBoundary"] = {"permissionsBoundaryType": "Policy", "permissionsBoundaryArn": boundary}
    trail.call(caller, "iam:CreateRole", request, {"role": role})


def service_trust(service):
    return trust({"Service": f"{service}.amazonaws.com"})


def _credentials(trail, caller, duration):
    return {
        "accessKeyId": caller.identity["accessKeyId"],
        "sessionToken": trail.ids.token(),
        "expiration": trail.spoken(duration),
    }


def _has_mfa(caller):
    context = caller.identity.get("sessionContext", {})
    return context.get("attributes", {}).get("mfaAuthenticated") == "true" and caller.identity["type"] == "IAMUser"
