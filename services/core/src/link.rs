//! Links: "this credential was issued by that one". Sessions joined by links are one lineage.

use serde::{Deserialize, Serialize};

use crate::activity::{Activity, PrincipalKind};
use crate::policy::each;
use crate::record::RecordView;

/// Something a lineage runs through.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Node {
    /// A credential: access key id, or `console:<principal>`.
    Session(String),
    /// All sessions of a principal that is one person or job: an IAM user's ARN, the root user.
    Principal(String),
    /// An instance (`i-…`) whose role's sessions carry its id as session name.
    Instance(String),
}

/// `parent` issued, or took hold of, `child`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Link {
    pub parent: Node,
    pub child: Node,
}

/// Most links that one event gives; a command to a large fleet names no more instances than that.
pub const LINKS_MAX: usize = 16;

/// The links that an event shows: what it issued or took hold of. Where there are any, what its own credential
/// belongs to is among them; for other events [`own`] tells it where it matters.
///
/// A user named without its path links to the ARN without a path, since the call does not carry one.
pub fn issued(view: &RecordView<'_>, activity: &Activity<'_>) -> Vec<Link> {
    if activity.error_code.is_some() {
        return Vec::new();
    }
    let children = children(view, activity);
    let Some(parent) = actor(activity).filter(|_| !children.is_empty()) else {
        return Vec::new();
    };
    let own = own(activity.principal, activity.principal_kind, activity.session, activity.session_name);
    let children = children.into_iter().filter(|child| *child != parent);
    let issued = children.map(|child| Link { parent: parent.clone(), child });
    own.into_iter().chain(issued).take(LINKS_MAX).collect()
}

/// What a session belongs to: the IAM user or root user whose credential it is, or the instance that was handed it.
pub fn own(principal: &str, kind: PrincipalKind, session: &str, session_name: &str) -> Option<Link> {
    if session.is_empty() {
        return None;
    }
    let parent = match kind {
        PrincipalKind::IamUser | PrincipalKind::Root if !principal.is_empty() => Node::Principal(principal.to_owned()),
        PrincipalKind::Role if is_instance_id(session_name) => Node::Instance(session_name.to_owned()),
        _ => return None,
    };
    Some(Link { parent, child: Node::Session(session.to_owned()) })
}

/// Whether a text is an EC2 instance's id: `i-` and 8 to 17 letters or digits.
pub(crate) fn is_instance_id(text: &str) -> bool {
    text.strip_prefix("i-")
        .is_some_and(|id| (8..=17).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Who acts, as a node: the session, else a principal that is one person. A role without a session is
/// many, and a service acts for everyone.
fn actor(activity: &Activity<'_>) -> Option<Node> {
    if !activity.session.is_empty() {
        return Some(Node::Session(activity.session.to_owned()));
    }
    let is_one = matches!(
        activity.principal_kind,
        PrincipalKind::IamUser | PrincipalKind::Root | PrincipalKind::Federated | PrincipalKind::CrossAccount
    );
    (is_one && !activity.principal.is_empty()).then(|| Node::Principal(activity.principal.to_owned()))
}

fn children(view: &RecordView<'_>, activity: &Activity<'_>) -> Vec<Node> {
    match (activity.service, activity.call) {
        (
            "sts",
            "AssumeRole"
            | "AssumeRoleWithSAML"
            | "AssumeRoleWithWebIdentity"
            | "GetSessionToken"
            | "GetFederationToken"
            | "AssumeRoot",
        ) => session_at(view, "responseElements.credentials.accessKeyId"),
        ("iam", "CreateAccessKey") => session_at(view, "responseElements.accessKey.accessKeyId"),
        ("iam", "CreateLoginProfile" | "UpdateLoginProfile") => view
            .text("requestParameters.userName")
            .filter(|name| !name.is_empty())
            .map(|name| Node::Principal(user_arn(activity, name)))
            .into_iter()
            .collect(),
        ("ssm", "SendCommand") => instances(view, "requestParameters.instanceIds"),
        ("ssm", "StartSession") => instances(view, "requestParameters.target"),
        ("ec2-instance-connect", "SendSSHPublicKey" | "SendSerialConsoleSSHPublicKey") => {
            instances(view, "requestParameters.instanceId")
        }
        ("ec2", "ModifyInstanceAttribute") if changes_user_data(view) => {
            instances(view, "requestParameters.instanceId")
        }
        ("ec2", "RunInstances") => view
            .value("responseElements.instancesSet.items")
            .into_iter()
            .flat_map(each)
            .filter_map(|item| item.get("instanceId")?.as_str())
            .filter_map(instance)
            .take(LINKS_MAX)
            .collect(),
        _ => Vec::new(),
    }
}

fn changes_user_data(view: &RecordView<'_>) -> bool {
    view.value("requestParameters.userData").is_some() || view.text("requestParameters.attribute") == Some("userData")
}

fn session_at(view: &RecordView<'_>, path: &str) -> Vec<Node> {
    let key = view.text(path).filter(|key| (16..=128).contains(&key.len()));
    key.map(|key| Node::Session(key.to_owned())).into_iter().collect()
}

fn instances(view: &RecordView<'_>, path: &str) -> Vec<Node> {
    let ids = view.value(path).into_iter().flat_map(each);
    ids.filter_map(|id| instance(id.as_str()?)).take(LINKS_MAX).collect()
}

fn instance(id: &str) -> Option<Node> {
    is_instance_id(id).then(|| Node::Instance(id.to_owned()))
}

fn user_arn(activity: &Activity<'_>, name: &str) -> String {
    let partition = if activity.region.starts_with("cn-") {
        "aws-cn"
    } else if activity.region.starts_with("us-gov-") {
        "aws-us-gov"
    } else {
        "aws"
    };
    // IAM allows 64 characters; a longer name cannot have succeeded.
    let name: String = name.chars().take(64).collect();
    format!("arn:{partition}:iam::{}:user/{name}", activity.account)
}
