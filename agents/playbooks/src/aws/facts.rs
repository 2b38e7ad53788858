//! How operations go over the wire, as `derive_operations.py` wrote it down.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::AwsError;

#[derive(Debug, Deserialize)]
pub(super) struct Table {
    services: BTreeMap<String, Service>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Service {
    pub(super) protocol: Protocol,
    pub(super) version: String,
    /// What `X-Amz-Target` begins with.
    #[serde(default)]
    pub(super) target: String,
    #[serde(default)]
    pub(super) namespace: String,
    operations: BTreeMap<String, Operation>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Protocol {
    Query,
    Ec2,
    Json,
    RestJson,
    RestXml,
}

#[derive(Debug, Deserialize)]
pub(super) struct Operation {
    /// Method and path with `{Member}` places; `POST /` where it says nothing.
    pub(super) http: Option<(String, String)>,
    pub(super) request: Shape,
    /// The member that is the whole body.
    pub(super) request_payload: Option<String>,
    pub(super) answer: Option<Shape>,
    pub(super) answer_payload: Option<String>,
    /// The element around a query answer's members.
    pub(super) wrapper: Option<String>,
    /// Whether S3 wants a digest of the body.
    #[serde(default)]
    pub(super) checksum: bool,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Shape {
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
pub(super) enum Scalar {
    #[serde(rename = "s")]
    Text,
    #[serde(rename = "i")]
    Integer,
    #[serde(rename = "b")]
    Boolean,
}

#[derive(Debug, Deserialize)]
pub(super) struct Member {
    #[serde(rename = "n", default)]
    name: Option<String>,
    #[serde(rename = "s")]
    pub(super) shape: Shape,
    #[serde(rename = "in", default)]
    pub(super) place: Option<Place>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Place {
    Uri,
    Querystring,
    Header,
    Attribute,
}

impl Member {
    pub(super) fn wire_name<'a>(&'a self, own: &'a str) -> &'a str {
        self.name.as_deref().unwrap_or(own)
    }
}

impl Table {
    /// The table that is compiled in; a test holds it to be whole.
    pub(super) fn compiled_in() -> Result<Self, AwsError> {
        serde_json::from_str(include_str!("../../data/protocols.json"))
            .map_err(|error| AwsError::invalid(format!("the table of operations: {error}")))
    }

    pub(super) fn operation(&self, service: &str, operation: &str) -> Result<(&Service, &Operation), AwsError> {
        let unknown = || AwsError::invalid(format!("no operation {service} {operation} is known"));
        let service = self.services.get(service).ok_or_else(unknown)?;
        Ok((service, service.operations.get(operation).ok_or_else(unknown)?))
    }
}
