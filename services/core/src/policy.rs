//! IAM policy documents, as far as a decision needs them.
//!
//! A document is hostile text: it is size-capped, parsed with a depth limit and read leniently, because
//! AWS accepts single strings where lists are usual and any letter case in element names.
//! `Deny` statements are ignored: what a document hands out is judged before what it takes back.

use std::collections::BTreeSet;

use serde_json::Value;

/// What a policy document hands out, and to whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PolicyFacts {
    /// An `Allow` over every action (or all of IAM, what of IAM hands out the rest, or all but a few) on every resource.
    pub allows_everything: bool,
    /// Anyone in the world is allowed, and no condition ties the caller to an account, organisation,
    /// source or network.
    pub public_principal: bool,
    /// 12-digit accounts that are allowed and are neither the document's own nor known ones.
    pub external_accounts: BTreeSet<String>,
    /// Those of `external_accounts` that are trusted as a whole, or by a user of theirs, and that no condition
    /// restrains: no external id, organisation or source. A single named role is how organisations integrate.
    pub unguarded_accounts: BTreeSet<String>,
    /// Identity providers that are allowed.
    pub federated: BTreeSet<String>,
    /// Those of `federated` of whose users no condition but the audience asks anything.
    pub unguarded_federated: BTreeSet<String>,
    /// AWS services that are allowed, `ec2.amazonaws.com`.
    pub services: BTreeSet<String>,
}

impl PolicyFacts {
    /// Longest document that is read, in bytes. The longest that AWS accepts anywhere is 32 KiB; URL
    /// encoding can triple it.
    pub const TEXT_BYTES_MAX: usize = 128 * 1024;

    /// Reads a document from its JSON text, plain or URL-encoded. `own_account` is the account the
    /// document belongs to. `None` when the text is too long or is not a JSON object with statements.
    pub fn read(text: &str, own_account: &str, known_accounts: &BTreeSet<String>) -> Option<Self> {
        if text.len() > Self::TEXT_BYTES_MAX {
            return None;
        }
        let trimmed = text.trim_start();
        let parsed: Value = if trimmed.starts_with('%') {
            serde_json::from_slice(&percent_decoded(trimmed)).ok()?
        } else {
            serde_json::from_str(trimmed).ok()?
        };
        Self::of(&parsed, own_account, known_accounts)
    }

    /// Reads a document that CloudTrail already wrote as a tree, or as text inside one.
    /// `None` as for [`PolicyFacts::read`].
    pub fn of(document: &Value, own_account: &str, known_accounts: &BTreeSet<String>) -> Option<Self> {
        if let Value::String(text) = document {
            return Self::read(text, own_account, known_accounts);
        }
        let mut facts = Self::default();
        for statement in each(element(document, "Statement")?) {
            if element(statement, "Effect").and_then(Value::as_str).is_some_and(is_allow) {
                facts.add(statement, own_account, known_accounts);
            }
        }
        Some(facts)
    }

    fn add(&mut self, statement: &Value, own_account: &str, known_accounts: &BTreeSet<String>) {
        self.allows_everything |= allows_everything(statement);
        let guard = Guard::of(element(statement, "Condition"));
        if element(statement, "NotPrincipal").is_some() {
            self.public_principal |= !guard.caller;
        }
        let Some(principal) = element(statement, "Principal") else {
            return;
        };
        let is_external = |account: &str| account != own_account && !known_accounts.contains(account);
        for (kind, name) in principals(principal) {
            if kind.eq_ignore_ascii_case("Service") {
                self.services.insert(name.to_owned());
            } else if kind.eq_ignore_ascii_case("Federated") {
                self.federated.insert(name.to_owned());
                if !guard.subject {
                    self.unguarded_federated.insert(name.to_owned());
                }
            } else if is_all(name) {
                self.public_principal |= !guard.caller;
                self.external_accounts.extend(guard.accounts.iter().filter(|account| is_external(account)).cloned());
            } else if let Some(account) = account_of(name).filter(|account| is_external(account)) {
                self.external_accounts.insert(account.to_owned());
                if !guard.caller && !guard.external_id && !is_role(name) {
                    self.unguarded_accounts.insert(account.to_owned());
                }
            }
        }
    }
}

/// Whether a principal is one role of its account.
fn is_role(name: &str) -> bool {
    name.starts_with("arn:") && name.split(':').nth(5).is_some_and(|resource| resource.starts_with("role/"))
}

fn is_allow(effect: &str) -> bool {
    effect.eq_ignore_ascii_case("Allow")
}

/// The account named by an account id or an ARN; `None` for anything else.
pub(crate) fn account_of(name: &str) -> Option<&str> {
    let account = if name.starts_with("arn:") { name.split(':').nth(4)? } else { name };
    is_account(account).then_some(account)
}

pub(crate) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The elements of a list, or the one value that stands in for a list.
pub(crate) fn each(value: &Value) -> &[Value] {
    match value {
        Value::Array(values) => values,
        one => std::slice::from_ref(one),
    }
}

/// An element of an object by its name in any letter case.
fn element<'v>(object: &'v Value, name: &str) -> Option<&'v Value> {
    let map = object.as_object()?;
    map.get(name).or_else(|| map.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value))
}

/// Every (kind, name) of a `Principal` element; a bare string has kind `AWS`.
fn principals(principal: &Value) -> Vec<(&str, &str)> {
    match principal {
        Value::Object(kinds) => {
            kinds.iter().flat_map(|(kind, names)| strings(names).map(move |name| (kind.as_str(), name))).collect()
        }
        other => strings(other).map(|name| ("AWS", name)).collect(),
    }
}

fn strings(value: &Value) -> impl Iterator<Item = &str> {
    each(value).iter().filter_map(Value::as_str)
}

fn is_all(pattern: &str) -> bool {
    !pattern.is_empty() && pattern.bytes().all(|byte| byte == b'*')
}

fn allows_everything(statement: &Value) -> bool {
    let everywhere = element(statement, "NotResource").is_some()
        || element(statement, "Resource").is_some_and(|resources| strings(resources).any(is_any_resource));
    if !everywhere || !element(statement, "Condition").is_none_or(leaves_everything) {
        return false;
    }
    if let Some(excluded) = element(statement, "NotAction") {
        return !strings(excluded).any(is_all);
    }
    element(statement, "Action").is_some_and(|actions| {
        let passes_roles = || strings(actions).any(|action| is_all(action) || of_iam(action).is_some_and(passes_role));
        strings(actions).any(|action| {
            is_all(action) || of_iam(action).is_some_and(|calls| hands_out_everything(calls, &passes_roles))
        })
    })
}

/// The calls of an action, where its service can be IAM.
fn of_iam(action: &str) -> Option<&str> {
    let (service, calls) = action.split_once(':')?;
    is_like(service, "iam").then_some(calls)
}

fn passes_role(calls: &str) -> bool {
    is_like(calls, "PassRole")
}

/// Whether a pattern over IAM's calls suffices to give oneself everything. Only wildcards count: single calls are
/// what pipelines are given.
fn hands_out_everything(calls: &str, passes_roles: &dyn Fn() -> bool) -> bool {
    const GRANTS: [&str; 6] = [
        "AttachUserPolicy",
        "AttachGroupPolicy",
        "AttachRolePolicy",
        "PutUserPolicy",
        "PutGroupPolicy",
        "PutRolePolicy",
    ];
    is_all(calls)
        || (calls.contains('*')
            && (GRANTS.iter().any(|call| is_like(calls, call))
                || (is_like(calls, "CreatePolicyVersion") && passes_roles())))
}

/// Whether a pattern with `*` and `?` covers a name, in any letter case.
fn is_like(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.as_bytes(), name.as_bytes());
    let (mut at, mut star, mut from) = (0, None, 0);
    let mut place = 0;
    while place < name.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some(at);
                from = place;
                at += 1;
            }
            Some(byte) if *byte == b'?' || byte.eq_ignore_ascii_case(&name[place]) => {
                at += 1;
                place += 1;
            }
            // What the last `*` stands for grows by one.
            _ => match star {
                Some(star) => {
                    at = star + 1;
                    from += 1;
                    place = from;
                }
                None => return false,
            },
        }
    }
    pattern[at..].iter().all(|byte| *byte == b'*')
}

/// `*`, or an ARN all of whose parts are wildcards (or the IAM service, which has the keys to the rest).
fn is_any_resource(resource: &str) -> bool {
    if is_all(resource) {
        return true;
    }
    let Some(parts) = resource.strip_prefix("arn:") else {
        return false;
    };
    parts.split(':').enumerate().all(|(place, part)| {
        part.is_empty() || is_all(part) || part == "iam" || (place == 0 && part.starts_with("aws"))
    })
}

/// Whether a condition only says how or when to come, so that everything remains reachable.
fn leaves_everything(condition: &Value) -> bool {
    const HOW_NOT_WHAT: [&str; 8] = [
        "aws:multifactorauthpresent",
        "aws:multifactorauthage",
        "aws:sourceip",
        "aws:securetransport",
        "aws:currenttime",
        "aws:epochtime",
        "aws:requestedregion",
        "aws:useragent",
    ];
    tests(condition).all(|(_, key, _)| HOW_NOT_WHAT.contains(&key.to_ascii_lowercase().as_str()))
}

/// Every (operator, key, values) of a condition.
fn tests(condition: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    condition.as_object().into_iter().flatten().flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, values)| (operator.as_str(), key.as_str(), values))
    })
}

/// How a statement's condition restrains who may come.
#[derive(Default)]
struct Guard {
    /// Tied to accounts, an organisation, sources or networks.
    caller: bool,
    /// Asks for an external id: the usual way to let a vendor in.
    external_id: bool,
    /// Says whom of an identity provider's users it lets in.
    subject: bool,
    /// Accounts that the caller may be of.
    accounts: BTreeSet<String>,
}

impl Guard {
    fn of(condition: Option<&Value>) -> Self {
        let mut guard = Self::default();
        for (operator, key, values) in condition.into_iter().flat_map(tests) {
            if !holds_when_absent(operator) {
                guard.add(&key.to_ascii_lowercase(), values);
            }
        }
        guard
    }

    fn add(&mut self, key: &str, values: &Value) {
        const BY_NAME: [&str; 13] = [
            "aws:principalorgid",
            "aws:principalorgpaths",
            "aws:principalaccount",
            "aws:sourceaccount",
            "aws:sourceowner",
            "aws:sourceorgid",
            "aws:sourceorgpaths",
            "aws:sourcevpc",
            "aws:sourcevpce",
            "aws:userid",
            "aws:principaltag",
            "kms:calleraccount",
            "s3:dataaccesspointaccount",
        ];
        let all = |test: fn(&str) -> bool| {
            let mut names = strings(values).peekable();
            names.peek().is_some() && names.all(test)
        };
        match key {
            "sts:externalid" => self.external_id |= all(|id| !is_all(id)),
            "aws:principalarn" | "aws:sourcearn" => self.caller |= all(names_something),
            "aws:sourceip" | "aws:vpcsourceip" => self.caller |= all(is_narrow_network),
            _ if BY_NAME.contains(&key) || key.starts_with("aws:principaltag/") => {
                self.caller |= all(|name| !is_all(name));
            }
            // What an identity provider asserts about its user.
            _ if key.ends_with(":sub") || key.ends_with(":aud") => self.caller |= all(|name| !is_all(name)),
            _ => {}
        }
        // `token.actions.githubusercontent.com:sub`: a claim that the provider makes about its user.
        match key.split_once(':') {
            Some((provider, claim)) if provider.contains('.') && claim != "aud" => {
                self.subject |= all(|name| !is_all(name) && name != "repo:*" && name != "repo:*/*");
            }
            _ => {}
        }
        if matches!(key, "aws:principalaccount" | "aws:principalarn" | "kms:calleraccount") {
            self.accounts.extend(strings(values).filter_map(account_of).map(str::to_owned));
        }
    }
}

/// Whether an operator also holds for a caller that lacks the key, or for everyone but the named.
fn holds_when_absent(operator: &str) -> bool {
    let operator = operator.to_ascii_lowercase();
    operator.ends_with("ifexists")
        || operator.starts_with("forallvalues:")
        || operator.contains("not")
        || operator == "null"
}

/// An ARN pattern that ties its bearer to an account, or to a named resource where ARNs carry none (S3).
/// A name alone is no tie where anyone can create one of that name in an account of their own.
fn names_something(pattern: &str) -> bool {
    let mut parts = pattern.split(':').skip(4);
    match (parts.next(), parts.next()) {
        (Some(""), Some(resource)) => !resource.is_empty() && !resource.starts_with('*'),
        (Some(account), _) => account.bytes().any(|byte| byte.is_ascii_digit()),
        (None, _) => false,
    }
}

/// A network that is not most of the internet: a prefix of at least 8 bits.
fn is_narrow_network(network: &str) -> bool {
    match network.rsplit_once('/') {
        None => !is_all(network),
        Some((_, prefix)) => prefix.parse::<u8>().is_ok_and(|bits| bits >= 8),
    }
}

fn percent_decoded(text: &str) -> Vec<u8> {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let pair = (byte == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(value) => {
                decoded.push(value);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    decoded
}

#[cfg(test)]
mod tests;
