"""The shape of CloudTrail records: identities, envelopes and ids.

Everything random is a hash of the seed and a counter (or of a name), so a script that runs twice
writes the same bytes, and inserting a record does not change the ids of people, roles and machines.
The addresses are documentation ranges and private ones; the names and ids are invented.
"""

import base64
import datetime
import hashlib
import json

UTC = datetime.timezone.utc
BASE32 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"

# One event version a service, as they differ in real trails at the same time.
VERSIONS = {
    "iam": "1.11",
    "sts": "1.11",
    "ec2": "1.11",
    "ssm": "1.08",
    "lambda": "1.11",
    "signin": "1.08",
    "cloudtrail": "1.10",
    "secretsmanager": "1.09",
    "rds": "1.10",
    "bedrock": "1.10",
    "s3": "1.11",
    "organizations": "1.09",
    "rolesanywhere": "1.10",
    "ec2-instance-connect": "1.08",
    "kms": "1.11",
    "route53resolver": "1.08",
    "acm-pca": "1.09",
    "sso": "1.08",
    "config": "1.08",
    "logs": "1.09",
}
# Hosts are called after the service's endpoint, which is not always its event source.
HOSTS = {
    "iam": "iam.amazonaws.com",
    "organizations": "organizations.us-east-1.amazonaws.com",
    "signin": "signin.aws.amazon.com",
    "cloudfront": "cloudfront.amazonaws.com",
}
GLOBAL_SERVICES = {"iam", "organizations", "cloudfront", "route53", "ce"}
READ_VERBS = (
    "Get",
    "List",
    "Describe",
    "BatchGet",
    "Lookup",
    "Search",
    "Assume",
    "Simulate",
    "Head",
    "Invoke",
    "Generate",
    "Decrypt",
    "Select",
    "Check",
    "Validate",
)
WRITE_DESPITE_VERB = {"GetFederationToken", "GetSigninToken", "Invoke", "ConsoleLogin"}

CLI_MAC = (
    "aws-cli/2.27.41 md/awscrt#0.26.1 ua/2.1 os/macos#25.1.0 md/arch#arm64 lang/python#3.13.4 "
    "md/pyimpl#CPython m/{letter} cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#{command}"
)
CLI_LINUX = (
    "aws-cli/2.25.9 md/awscrt#0.25.4 ua/2.1 os/linux#6.8.0-57-generic md/arch#x86_64 lang/python#3.12.9 "
    "md/pyimpl#CPython m/{letter} cfg/retry-mode#standard md/installer#exe md/distrib#ubuntu.24 md/prompt#off "
    "md/command#{command}"
)
CLI_WINDOWS = (
    "aws-cli/2.22.35 md/awscrt#0.23.4 ua/2.0 os/windows#11 md/arch#amd64 lang/python#3.12.6 "
    "md/pyimpl#CPython cfg/retry-mode#standard md/installer#exe md/prompt#off md/command#{command}"
)
CLI_ONE = "aws-cli/1.36.40 md/Botocore#1.35.99 ua/2.0 os/linux#5.15.0-139-generic md/arch#x86_64 lang/python#3.10.12 md/pyimpl#CPython cfg/retry-mode#legacy botocore/1.35.99"
BOTO = (
    "Boto3/1.38.27 md/Botocore#1.38.27 ua/2.1 os/linux#6.1.134-152.225.amzn2023.x86_64 md/arch#x86_64 "
    "lang/python#3.11.12 md/pyimpl#CPython m/{letter} cfg/retry-mode#legacy Botocore/1.38.27"
)
BOTO_OLD = "Boto3/1.26.165 Python/3.9.21 Linux/5.10.236-228.935.amzn2.x86_64 Botocore/1.29.165"
BOTO_LAMBDA = (
    "Boto3/1.37.3 md/Botocore#1.37.3 ua/2.1 os/linux#5.10.235-247.919.amzn2.x86_64 md/arch#x86_64 lang/python#3.13.2 "
    "md/pyimpl#CPython exec-env/AWS_Lambda_python3.13 cfg/retry-mode#legacy Botocore/1.37.3"
)
TERRAFORM = (
    "APN/1.0 HashiCorp/1.0 Terraform/1.11.4 (+https://www.terraform.io) terraform-provider-aws/5.98.0 "
    "(+https://registry.terraform.io/providers/hashicorp/aws) aws-sdk-go-v2/1.36.3 ua/2.1 os/linux "
    "lang/go#1.23.8 md/GOOS#linux md/GOARCH#amd64 api/{service}#1.42.0"
)
GO = "aws-sdk-go-v2/1.36.3 ua/2.1 os/linux lang/go#1.24.2 md/GOOS#linux md/GOARCH#amd64 api/{service}#1.58.2 m/{letter}"
JAVA = "aws-sdk-java/2.31.45 md/io#sync md/http#Apache ua/2.1 api/{service}#2.31.x os/Linux#6.1.134 lang/java#21.0.7 md/OpenJDK_64-Bit_Server_VM#21.0.7+6-LTS md/vendor#Eclipse_Adoptium m/D,{letter}"
NODE = "aws-sdk-js/3.812.0 ua/2.1 os/linux#6.8.0-1029-azure lang/js md/nodejs#20.19.1 api/{service}#3.812.0 m/{letter},n"
PACKER = "APN/1.0 HashiCorp/1.0 Packer/1.12.0 (+https://www.packer.io/) aws-sdk-go/1.55.6 (go1.23.4; linux; amd64)"
CHROME = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/137.0.0.0 Safari/537.36"
CHROME_MAC = (
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36"
)
FIREFOX = "Mozilla/5.0 (X11; Linux x86_64; rv:139.0) Gecko/20100101 Firefox/139.0"
EDGE = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36 Edg/136.0.0.0"
SAFARI = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.4 Safari/605.1.15"


def compact(document):
    """A policy document as the JSON string that CloudTrail carries."""
    return json.dumps(document, separators=(",", ":"))


def policy(*statements):
    return compact({"Version": "2012-10-17", "Statement": list(statements)})


def allow(actions, resources="*", **more):
    return {"Effect": "Allow", "Action": actions, "Resource": resources, **more}


def trust(principal, action="sts:AssumeRole", condition=None):
    statement = {"Effect": "Allow", "Principal": principal, "Action": action}
    if condition:
        statement["Condition"] = condition
    return policy(statement)


def kebab(name):
    out = ""
    for index, letter in enumerate(name):
        boundary = letter.isupper() and index and (name[index - 1].islower() or name[index + 1 : index + 2].islower())
        out += ("-" if boundary else "") + letter.lower()
    return out


class Ids:
    """Deterministic ids: `fresh` ones follow a counter, `named` ones depend on what they name."""

    def __init__(self, seed):
        self.seed = seed
        self.counter = 0

    def _digest(self, *words):
        return hashlib.sha512("/".join([str(self.seed), *map(str, words)]).encode()).digest()

    def _next(self, kind):
        self.counter += 1
        return self._digest("fresh", kind, self.counter)

    def uuid(self):
        text = self._next("uuid").hex()
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{'89ab'[int(text[16], 16) % 4]}{text[17:20]}-{text[20:32]}"

    def number(self, low, high):
        """A whole number from low to high, both included."""
        return low + int.from_bytes(self._next("number")[:8], "big") % (high - low + 1)

    def pick(self, options):
        return options[self.number(0, len(options) - 1)]

    def hex(self, digits):
        return self._next("hex").hex()[:digits]

    def word(self, length, letters=BASE32):
        return "".join(letters[byte % len(letters)] for byte in self._next("word")[:length])

    def key(self, prefix="ASIA"):
        return prefix + self.word(16)

    def named(self, prefix, *names, length=17):
        return prefix + "".join(BASE32[byte % 32] for byte in self._digest(prefix, *names)[:length])

    def resource(self, prefix, *names):
        """`i-`, `snap-`, `sg-` … with 17 hexadecimal digits; named when names are given."""
        digest = self._digest(prefix, *names) if names else self._next(prefix)
        return f"{prefix}-0{digest.hex()[:16]}"

    def token(self, length=220):
        raw = b"".join(self._next("token") for _ in range(4))
        return ("IQoJb3JpZ2luX2Vj" + base64.b64encode(raw).decode())[:length]

    def s3_request(self):
        return self.word(16, "ABCDEFGHJKMNPQRSTVWXYZ0123456789")

    def public_key(self):
        return "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0 " + self._next("ssh")[:32]).decode()


class Caller:
    """Who calls: the identity block, with the address and the client that come with it."""

    def __init__(self, identity, address, agent, console=False, service=None):
        self.identity = identity
        self.address = address
        self.agent = agent
        self.console = console
        self.service = service

    def via(self, address=None, agent=None):
        return Caller(self.identity, address or self.address, agent or self.agent, self.console, self.service)

    @property
    def account(self):
        return self.identity.get("accountId")

    @property
    def arn(self):
        return self.identity["arn"]

    @property
    def name(self):
        return self.identity.get("userName") or self.arn.rsplit("/", 1)[1]


class Trail:
    """Writes records in the order of its clock. Calls return the record, so a story can use its response."""

    def __init__(self, ids, account, region, clock):
        self.ids = ids
        self.account = account
        self.region = region
        self.records = []
        self.at(clock)

    # -- clock

    def at(self, text):
        self.clock = datetime.datetime.fromisoformat(text).replace(tzinfo=UTC)
        return self

    def wait(self, low, high=None):
        """Lets between low and high seconds pass."""
        self.clock += datetime.timedelta(seconds=self.ids.number(low, high or low))
        return self

    def stamp(self, seconds=0):
        return (self.clock + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")

    def spoken(self, seconds=0):
        """The way that Java services write a time: `Jun 3, 2026, 9:46:15 PM`."""
        moment = self.clock + datetime.timedelta(seconds=seconds)
        return f"{moment:%b} {moment.day}, {moment.year}, {moment.hour % 12 or 12}:{moment:%M:%S} {moment:%p}"

    def millis(self):
        return int(self.clock.timestamp() * 1000) + self.ids.number(0, 999)

    # -- identities

    def user_id(self, name, account=None):
        return self.ids.named("AIDA", account or self.account, name)

    def role_id(self, name, account=None):
        return self.ids.named("AROA", account or self.account, name)

    def user(self, name, address, agent=CLI_LINUX, account=None, key=None):
        """An IAM user with a long-term key; such calls carry no session context."""
        account = account or self.account
        return Caller(
            {
                "type": "IAMUser",
                "principalId": self.user_id(name, account),
                "arn": f"arn:aws:iam::{account}:user/{name}",
                "accountId": account,
                "accessKeyId": key or self.ids.named("AKIA", account, name, length=16),
                "userName": name,
            },
            address,
            agent,
        )

    def user_session(self, name, address, agent=CLI_LINUX, mfa=True, account=None, key=None):
        """An IAM user with the temporary key of GetSessionToken."""
        caller = self.user(name, address, agent, account, key or self.ids.key())
        caller.identity["sessionContext"] = {"attributes": {"creationDate": self.stamp(), "mfaAuthenticated": str(mfa).lower()}}
        return caller

    def user_console(self, name, address, agent=CHROME, mfa=True, account=None):
        caller = self.user_session(name, address, agent, mfa, account)
        caller.console = True
        return caller

    def role(
        self, name, session, address, agent, account=None, path="/", mfa=False, key=None, extra=None, age=60, identity=None
    ):
        account = account or self.account
        principal = self.role_id(name, account)
        context = {
            "sessionIssuer": {
                "type": "Role",
                "principalId": principal,
                "arn": f"arn:aws:iam::{account}:role{path}{name}",
                "accountId": account,
                "userName": name,
            },
            "attributes": {"creationDate": self.stamp(-age), "mfaAuthenticated": str(mfa).lower()},
            **(extra or {}),
        }
        return Caller(
            {
                "type": "AssumedRole",
                "principalId": f"{principal}:{session}",
                "arn": f"arn:aws:sts::{account}:assumed-role/{name}/{session}",
                "accountId": account,
                "accessKeyId": key or self.ids.key(),
                "sessionContext": context,
                **(identity or {}),
            },
            address,
            agent,
        )

    def identity_center(self, permission_set, person, address, agent=CHROME, account=None, console=True, home=None):
        """A permission-set session of Identity Center; its MFA happens in the portal, so the attribute says false."""
        account = account or self.account
        suffix = hashlib.sha256(f"{account}{permission_set}".encode()).hexdigest()[:16]
        caller = self.role(
            f"AWSReservedSSO_{permission_set}_{suffix}",
            person,
            address,
            agent,
            account,
            path=f"/aws-reserved/sso.amazonaws.com/{home or self.region}/",
            age=240,
        )
        caller.console = console
        return caller

    def instance_role(self, role, instance, address, agent=BOTO, account=None):
        return self.role(role, instance, address, agent, account, age=5400, extra={"ec2RoleDelivery": "2.0"})

    def function_role(self, role, function, address, agent=BOTO_LAMBDA, account=None):
        account = account or self.account
        arn = f"arn:aws:lambda:{self.region}:{account}:function:{function}"
        return self.role(
            role,
            function,
            address,
            agent,
            account,
            age=1200,
            identity={
                "inScopeOf": {
                    "issuerType": "AWS::Lambda::Function",
                    "sourceArn": arn,
                    "sourceAccount": account,
                    "credentialsIssuedTo": arn,
                }
            },
        )

    def service(self, name):
        return Caller(
            {"type": "AWSService", "invokedBy": f"{name}.amazonaws.com"},
            f"{name}.amazonaws.com",
            f"{name}.amazonaws.com",
            service=name,
        )

    def service_role(self, role, session, service, account=None):
        caller = self.role(
            role,
            session,
            f"{service}.amazonaws.com",
            f"{service}.amazonaws.com",
            account,
            path=f"/aws-service-role/{service}.amazonaws.com/",
            age=2,
            identity={"invokedBy": f"{service}.amazonaws.com"},
        )
        caller.service = service
        return caller

    # -- records

    def call(
        self,
        caller,
        api,
        request=None,
        response=None,
        *,
        error=None,
        region=None,
        resources=None,
        extra=None,
        version_suffix="",
        account=None,
        host=None,
        event_type="AwsApiCall",
        read_only=None,
    ):
        service, name = api.split(":")
        region = region or ("us-east-1" if service in GLOBAL_SERVICES else self.region)
        if read_only is None:
            read_only = name.startswith(READ_VERBS) and name not in WRITE_DESPITE_VERB
        agent = caller.agent.replace("{service}", service.replace("-", "")).replace("{command}", f"{service}.{kebab(name)}")
        record = {
            "eventVersion": VERSIONS.get(service, "1.11"),
            "userIdentity": caller.identity,
            "eventTime": self.stamp(),
            "eventSource": f"{service}.amazonaws.com",
            "eventName": name + version_suffix,
            "awsRegion": region,
            "sourceIPAddress": caller.address,
            "userAgent": agent.replace("{letter}", self.ids.pick("EGNZb")),
        }
        if error:
            record["errorCode"], record["errorMessage"] = error
        record["requestParameters"] = request
        record["responseElements"] = response if not error else None
        if service == "sts" and not caller.service:
            record["additionalEventData"] = {"RequestDetails": {"endpointType": "regional", "awsServingRegion": region}}
        record["requestID"] = (response or {}).get("requestId") or self.ids.uuid()
        record["eventID"] = self.ids.uuid()
        record["readOnly"] = read_only
        if resources:
            record["resources"] = [
                {"accountId": owner, "type": kind, "ARN": arn} if kind else {"accountId": owner, "ARN": arn}
                for owner, kind, arn in resources
            ]
        record["eventType"] = event_type
        record["managementEvent"] = True
        record["recipientAccountId"] = account or caller.account or self.account
        record["eventCategory"] = "Management"
        if not caller.service and caller.address != "AWS Internal":
            record["tlsDetails"] = {
                "tlsVersion": "TLSv1.3",
                "cipherSuite": "TLS_AES_128_GCM_SHA256",
                "clientProvidedHostHeader": host or HOSTS.get(service) or f"{service}.{region}.amazonaws.com",
            }
        if caller.console:
            record["sessionCredentialFromConsole"] = "true"
        if caller.address.startswith("10."):  # a private address is only seen through an interface endpoint
            record["vpcEndpointId"] = self.ids.resource("vpce", caller.account, service)
            record["vpcEndpointAccountId"] = caller.account
        record.update(extra or {})
        self.records.append(record)
        return record

    def denied(self, caller, api, resource, request=None, **more):
        """A call that IAM refuses, in the words of the service. Only EC2 logs the parameters of a refused call."""
        service, name = api.split(":")
        reason = f"is not authorized to perform: {service}:{name} on resource: {resource} because no identity-based policy allows the {service}:{name} action"
        if service == "ec2":
            text = f"You are not authorized to perform this operation. User: {caller.arn} {reason}."
            return self.call(caller, api, request, error=("Client.UnauthorizedOperation", text), **more)
        return self.call(caller, api, None, error=("AccessDenied", f"User: {caller.arn} {reason}"), **more)
