//! Which AWS APIs exist, under the names CloudTrail gives them, and what each can do.

use rustc_hash::FxHashMap;

/// What an API can do, as AWS's service authorization reference classes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AccessLevel {
    List,
    Read,
    Tagging,
    Write,
    PermissionsManagement,
}

impl AccessLevel {
    pub const ALL: &'static [AccessLevel] =
        &[Self::List, Self::Read, Self::Tagging, Self::Write, Self::PermissionsManagement];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::List => "list",
            Self::Read => "read",
            Self::Tagging => "tagging",
            Self::Write => "write",
            Self::PermissionsManagement => "permissions_management",
        }
    }

    const fn from_letter(letter: u8) -> Option<Self> {
        Some(match letter.to_ascii_uppercase() {
            b'L' => Self::List,
            b'R' => Self::Read,
            b'T' => Self::Tagging,
            b'W' => Self::Write,
            b'P' => Self::PermissionsManagement,
            _ => return None,
        })
    }
}

/// The table that `derive_aws_apis.py` derives; its header describes the form.
const TABLE: &str = include_str!("../../data/aws_apis.tsv");

/// Room for the built-in calls without growing on the way; a test holds it to the table.
const CALLS_EXPECTED: usize = 24 * 1024;

#[derive(Clone, Copy, Debug)]
struct Fact {
    level: AccessLevel,
    by_verb: bool,
}

/// The APIs that exist, with their access level. Names are matched exactly: CloudTrail spells them one way.
///
/// Parsing costs a few milliseconds and 1.5 MB, so one is built at the start and shared by reference.
#[derive(Debug, Default)]
pub struct Vocabulary {
    facts: FxHashMap<(&'static str, &'static str), Fact>,
    services: Vec<&'static str>,
}

impl Vocabulary {
    /// The vocabulary that is compiled in.
    pub fn builtin() -> Self {
        let mut vocabulary = Self {
            facts: FxHashMap::with_capacity_and_hasher(CALLS_EXPECTED, Default::default()),
            services: Vec::new(),
        };
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            vocabulary.add_line(line);
        }
        vocabulary
    }

    /// Takes `iam<TAB>R:GetUser,ListUsers<TAB>w:...`; what has another form is no fact and is left out
    /// (a test holds the built-in table to have none).
    fn add_line(&mut self, line: &'static str) {
        let mut fields = line.split('\t');
        let Some(service) = fields.next().filter(|service| !service.is_empty()) else {
            return;
        };
        self.services.push(service);
        for field in fields {
            let Some((letter, calls)) = field.split_once(':') else {
                continue;
            };
            let &[letter] = letter.as_bytes() else { continue };
            let Some(level) = AccessLevel::from_letter(letter) else {
                continue;
            };
            let by_verb = letter.is_ascii_lowercase();
            for call in calls.split(',') {
                self.facts.insert((service, call), Fact { level, by_verb });
            }
        }
    }

    /// The access level of `iam`, `CreateUser`; `None` when there is no such API. `service` is CloudTrail's
    /// `eventSource` without `.amazonaws.com` (`monitoring` for CloudWatch), `call` its `eventName` after
    /// [`strip_version`].
    pub fn access_level(&self, service: &str, call: &str) -> Option<AccessLevel> {
        self.facts.get(&(service, call)).map(|fact| fact.level)
    }

    /// Whether there is such an API.
    pub fn contains(&self, service: &str, call: &str) -> bool {
        self.facts.contains_key(&(service, call))
    }

    /// Whether AWS publishes no level for this API, so that its verb had to tell.
    pub fn is_level_by_verb(&self, service: &str, call: &str) -> bool {
        self.facts.get(&(service, call)).is_some_and(|fact| fact.by_verb)
    }

    /// Every service, in alphabetical order.
    pub fn services(&self) -> &[&'static str] {
        &self.services
    }

    /// How many (service, call) pairs are known.
    pub fn calls_count(&self) -> usize {
        self.facts.len()
    }
}

/// The call without the API version that Lambda and CloudFront put behind it: `UpdateFunctionCode20150331v2`
/// and `CreateFunction2020_05_31` lose it, every other name (`ListObjectsV2`, `Foo2015`) stays whole.
///
/// A version is a date of this century, `20150331` or `2015_03_31`, perhaps behind an underscore, then perhaps `v` and one or two digits.
pub fn strip_version(event_name: &str) -> &str {
    let bytes = event_name.as_bytes();
    let without_revision = trim_revision(bytes);
    [8, 10]
        .into_iter()
        .filter_map(|length| without_revision.len().checked_sub(length))
        .filter(|&at| is_date(&without_revision[at..]))
        .map(|at| at - usize::from(bytes[..at].ends_with(b"_")))
        // The byte before and all from `end` on are ASCII, so `end` is a character boundary.
        .find(|&end| end > 0 && bytes[end - 1].is_ascii_alphabetic())
        .map_or(event_name, |end| &event_name[..end])
}

/// `...v2` without its `v2`; all of it when that is not how it ends.
fn trim_revision(bytes: &[u8]) -> &[u8] {
    match bytes {
        [head @ .., b'v', d] if d.is_ascii_digit() => head,
        [head @ .., b'v', d, e] if d.is_ascii_digit() && e.is_ascii_digit() => head,
        _ => bytes,
    }
}

fn is_date(bytes: &[u8]) -> bool {
    let (year, month, day) = match bytes {
        [a, b, c, d, b'_', e, f, b'_', g, h] => ([a, b, c, d], [e, f], [g, h]),
        [a, b, c, d, e, f, g, h] => ([a, b, c, d], [e, f], [g, h]),
        _ => return false,
    };
    let number =
        |digits: &[&u8]| digits.iter().try_fold(0u32, |sum, digit| Some(sum * 10 + char::from(**digit).to_digit(10)?));
    number(&year).is_some_and(|year| (2000..2100).contains(&year))
        && number(&month).is_some_and(|month| (1..=12).contains(&month))
        && number(&day).is_some_and(|day| (1..=31).contains(&day))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::path::Path;

    use proptest::prelude::*;
    use serde_json::Value;

    use super::AccessLevel::*;
    use super::*;

    #[test]
    fn spot_facts() {
        let vocabulary = Vocabulary::builtin();
        for (service, call, level) in [
            ("iam", "CreateUser", Some(PermissionsManagement)),
            ("iam", "CreateAccessKey", Some(PermissionsManagement)),
            ("iam", "AttachUserPolicy", Some(PermissionsManagement)),
            ("iam", "TagUser", Some(Tagging)),
            ("iam", "ListUsers", Some(List)),
            ("iam", "GetAccountAuthorizationDetails", Some(Read)),
            ("sts", "AssumeRole", Some(Write)),
            ("sts", "GetCallerIdentity", Some(Read)),
            ("cloudtrail", "StopLogging", Some(Write)),
            ("cloudtrail", "LookupEvents", Some(Read)),
            ("monitoring", "DescribeAlarms", Some(Read)),
            ("monitoring", "PutMetricAlarm", Some(Write)),
            ("s3", "GetObject", Some(Read)),
            ("s3", "ListObjects", Some(List)),
            ("s3", "ListBuckets", Some(List)),
            ("s3", "PutBucketPolicy", Some(PermissionsManagement)),
            ("s3", "DeleteBucketPublicAccessBlock", Some(PermissionsManagement)),
            ("s3", "DeleteObjects", Some(Write)),
            ("lambda", "Invoke", Some(Write)),
            ("lambda", "AddPermission", Some(PermissionsManagement)),
            ("lambda", "UpdateFunctionCode", Some(Write)),
            ("ec2", "DescribeInstances", Some(List)),
            ("ec2", "ModifySnapshotAttribute", Some(PermissionsManagement)),
            ("ec2-instance-connect", "SendSerialConsoleSSHPublicKey", Some(Write)),
            ("secretsmanager", "GetSecretValue", Some(Read)),
            ("kms", "GenerateDataKey", Some(Write)),
            ("bedrock", "InvokeModel", Some(Read)),
            ("bedrock", "Converse", Some(Read)),
            ("signin", "ConsoleLogin", Some(Write)),
            ("signin", "SwitchRole", Some(Write)),
            ("rolesanywhere", "CreateSession", Some(Write)),
            ("organizations", "LeaveOrganization", Some(Write)),
            ("health", "DescribeEvents", Some(Read)),
            ("cloudshell", "CreateEnvironment", Some(Write)),
            ("elasticfilesystem", "DeleteFileSystem", Some(Write)),
            ("cloudwatch", "createuser", None),
            ("iam", "createuser", None),
            ("iam", "PutBucketPolicy", None),
            ("s3", "REST.GET.OBJECT", None),
            ("s3", "", None),
            ("", "", None),
        ] {
            assert_eq!(vocabulary.access_level(service, call), level, "{service}:{call}");
            assert_eq!(vocabulary.contains(service, call), level.is_some(), "{service}:{call}");
        }
        assert!(vocabulary.is_level_by_verb("apigateway", "GetRestApis"));
        assert!(!vocabulary.is_level_by_verb("iam", "CreateUser"));
    }

    #[test]
    fn the_table_is_whole() {
        let vocabulary = Vocabulary::builtin();
        assert!(vocabulary.services().is_sorted());
        assert!((20_000..CALLS_EXPECTED).contains(&vocabulary.calls_count()));
        assert!(TABLE.is_ascii() && TABLE.len() < 500_000);
        let header = format!("# {} services, {} calls.", vocabulary.services().len(), vocabulary.calls_count());
        assert!(TABLE.lines().any(|line| line == header), "{header}");
        for line in TABLE.lines().filter(|line| !line.starts_with('#')) {
            for field in line.split('\t').skip(1) {
                let (letter, calls) = field.split_once(':').expect("level:calls");
                assert!("LRTWPlrtwp".contains(letter) && letter.len() == 1, "{field}");
                assert!(calls.split(',').all(|call| !call.is_empty()), "{field}");
            }
        }
    }

    #[test]
    fn versions_are_stripped_and_nothing_else() {
        for (name, expect) in [
            ("UpdateFunctionCode20150331v2", "UpdateFunctionCode"),
            ("ListFunctions20150331", "ListFunctions"),
            ("TagResource20170331v12", "TagResource"),
            ("CreateDistribution2017_10_30", "CreateDistribution"),
            ("CreateFunction2020_05_31", "CreateFunction"),
            ("CreateDistribution_2017_10_30", "CreateDistribution"),
            ("_20150331", "_20150331"),
            ("Foo__20150331", "Foo__20150331"),
            ("GetSendQuotaV2", "GetSendQuotaV2"),
            ("Describe12345678", "Describe12345678"),
            ("Route53", "Route53"),
            ("v2", "v2"),
            ("GetAccountSettings20160819", "GetAccountSettings"),
            ("ListObjectsV2", "ListObjectsV2"),
            ("ListObjectsv2", "ListObjectsv2"),
            ("Foo20151331", "Foo20151331"),
            ("Foo20150300", "Foo20150300"),
            ("Foo19991231", "Foo19991231"),
            ("Foo2017_1030", "Foo2017_1030"),
            ("Foo120150331", "Foo120150331"),
            ("Foo20150331v", "Foo20150331v"),
            ("Foo20150331v123", "Foo20150331v123"),
            ("Foo20150331x2", "Foo20150331x2"),
            ("20150331", "20150331"),
            ("20150331v2", "20150331v2"),
            ("é20150331", "é20150331"),
            ("REST.GET.OBJECT", "REST.GET.OBJECT"),
            ("", ""),
        ] {
            assert_eq!(strip_version(name), expect);
        }
    }

    /// Names in the development data that look like APIs and are none: authored test records put calls under
    /// another service's name, use a permission's name for a call, or redact.
    const NOT_APIS: &[(&str, &str)] = &[
        ("cloudtrail", "EnableRegion"),
        ("ec2", "DeleteBucketEncryption"),
        ("ec2", "DeleteBucketPublicAccessBlock"),
        ("ec2", "DeleteBucketReplication"),
        ("ec2", "PutBucketVersioning"),
        ("iam", "DescribePolicy"),
        ("iam", "DetachUserGroup"),
        ("s3", "CreateServiceLinkedRole"),
        ("s3", "ListAllMyBuckets"),
        ("s3", "ListBucket"),
        ("s3", "SetQueueAttributes"),
        ("signin", "AssumeRole"),
    ];

    #[test]
    fn every_real_call_of_the_development_data_is_known() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/cloudtrail");
        let Ok(entries) = std::fs::read_dir(&folder) else {
            eprintln!("did not run: {} is absent", folder.display());
            return;
        };
        let vocabulary = Vocabulary::builtin();
        let (mut seen, mut unknown) = (BTreeSet::new(), BTreeSet::new());
        for path in entries.map(|entry| entry.expect("readable").path()) {
            if path.extension().is_none_or(|extension| extension != "jsonl") {
                continue;
            }
            #[expect(clippy::disallowed_methods, reason = "reads the data set that it is about")]
            let text = std::fs::read_to_string(&path);
            for line in text.expect("readable").lines() {
                let row: Value = serde_json::from_str(line).expect("JSON");
                let text = |field: &str| row["event"][field].as_str().map(str::to_owned);
                let (Some(source), Some(name)) = (text("eventSource"), text("eventName")) else {
                    continue;
                };
                let service = source.trim_end_matches(".amazonaws.com").to_owned();
                let call = strip_version(&name).to_owned();
                if service == "..." || name.contains('.') {
                    continue;
                }
                if !vocabulary.contains(&service, &call) && !NOT_APIS.contains(&(&service, &call)) {
                    unknown.insert((service.clone(), call.clone()));
                }
                seen.insert((service, call));
            }
        }
        assert!(seen.len() > 500, "{}", seen.len());
        assert!(unknown.is_empty(), "{unknown:?}");
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(name in any::<String>(), stem in "[A-Za-z]{1,40}", tail in "[0-9_v]{0,14}") {
            prop_assert!(name.starts_with(strip_version(&name)));
            let versioned = format!("{stem}{tail}");
            prop_assert!(strip_version(&versioned).len() >= stem.len());
            let dated = format!("{stem}20150331v2");
            prop_assert_eq!(strip_version(&dated), stem.as_str());
        }
    }
}
