//! How operations go over the wire, as `derive_operations.py` wrote it down.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::AwsError;

#[derive(Debug, Deserialize)]
pub(crate) struct Table {
    #[serde(borrow)]
    services: BTreeMap<&'static str, Service>,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Service {
    pub(crate) protocol: Protocol,
    pub(crate) version: String,
    /// What `X-Amz-Target` begins with.
    #[serde(default)]
    pub(crate) target: String,
    #[serde(default)]
    pub(crate) namespace: String,
    #[serde(borrow)]
    operations: BTreeMap<&'static str, Operation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Protocol {
    Query,
    Ec2,
    Json,
    RestJson,
    RestXml,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Operation {
    /// Method and path with `{Member}` places; `POST /` where it says nothing.
    pub(crate) http: Option<(String, String)>,
    pub(crate) request: Shape,
    /// The member that is the whole body.
    pub(crate) request_payload: Option<String>,
    pub(crate) answer: Option<Shape>,
    pub(crate) answer_payload: Option<String>,
    /// The element around a query answer's members.
    pub(crate) wrapper: Option<String>,
    /// Whether S3 wants a digest of the body.
    #[serde(default)]
    pub(crate) checksum: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(crate) enum Shape {
    Scalar(Scalar),
    List {
        #[serde(rename = "l")]
        item: Box<Shape>,
        /// Name of an item's element; `None` where items stand without one around them.
        #[serde(rename = "n", default)]
        name: Option<String>,
    },
    Structure {
        #[serde(rename = "m")]
        members: BTreeMap<String, Member>,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub(crate) enum Scalar {
    #[serde(rename = "s")]
    Text,
    #[serde(rename = "i")]
    Integer,
    #[serde(rename = "b")]
    Boolean,
}

#[derive(Debug, Deserialize)]
pub(crate) struct Member {
    #[serde(rename = "n", default)]
    name: Option<String>,
    #[serde(rename = "s")]
    pub(crate) shape: Shape,
    #[serde(rename = "in", default)]
    pub(crate) place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Place {
    Uri,
    Querystring,
    Header,
    Attribute,
}

impl Member {
    pub(crate) fn wire_name<'a>(&'a self, own: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(own)
    }
}

impl Table {
    /// The table that is compiled in; a test holds it to be whole.
    pub(crate) fn compiled_in() -> Result<Self, AwsError> {
        serde_json::from_str(include_str!("../../data/protocols.json"))
            .map_err(|error| AwsError::invalid(format!("the table of operations: {error}")))
    }

    pub(crate) fn operation(&self, service: &str, operation: &str) -> Result<(&Service, &Operation), AwsError> {
        let unknown = || AwsError::invalid(format!("no operation {service} {operation} is known"));
        let service = self.services.get(service).ok_or_else(unknown)?;
        Ok((service, service.operations.get(operation).ok_or_else(unknown)?))
    }

    /// An operation by the names that the table has for it.
    pub(crate) fn named(&self, service: &str, operation: &str) -> Option<(&'static str, &'static str, &Operation)> {
        let (service, known) = self.services.get_key_value(service)?;
        let (operation, facts) = known.operations.get_key_value(operation)?;
        Some((service, operation, facts))
    }

    /// Every operation.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &'static str)> + '_ {
        self.services
            .iter()
            .flat_map(|(service, known)| known.operations.keys().map(|operation| (*service, *operation)))
    }
}
