//! One API call as CloudTrail will record it.

use serde_json::Value;

/// What is called, with what, and how it ends. Who calls, and when, is the [`Script`](super::script::Script)'s.
#[derive(Clone, Debug)]
pub struct Call {
    /// First label of the event source: `s3`, `iam`, `monitoring`.
    pub service: &'static str,
    pub name: &'static str,
    pub is_read: bool,
    pub parameters: Value,
    pub response: Value,
    pub outcome: Outcome,
    pub is_data: bool,
    pub region: Option<&'static str>,
    /// (type, ARN)
    pub resources: Vec<(&'static str, String)>,
    /// `additionalEventData`
    pub additional: Value,
    /// `eventType`; `AwsApiCall` unless said otherwise.
    pub event_type: &'static str,
    /// The same event stands in another account's trail too.
    pub shared_id: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Success,
    /// Refused by policy; code and message are the service's usual ones.
    Denied,
    Failed(&'static str, String),
}

impl Call {
    fn new(service: &'static str, name: &'static str, is_read: bool) -> Self {
        Self {
            service,
            name,
            is_read,
            parameters: Value::Null,
            response: Value::Null,
            outcome: Outcome::Success,
            is_data: false,
            region: None,
            resources: Vec::new(),
            additional: Value::Null,
            event_type: "AwsApiCall",
            shared_id: None,
        }
    }

    /// A call that changes nothing.
    pub fn read(service: &'static str, name: &'static str) -> Self {
        Self::new(service, name, true)
    }

    pub fn write(service: &'static str, name: &'static str) -> Self {
        Self::new(service, name, false)
    }

    /// `requestParameters`
    #[must_use]
    pub fn with(mut self, parameters: Value) -> Self {
        self.parameters = parameters;
        self
    }

    /// `responseElements`; written for calls that succeed.
    #[must_use]
    pub fn returning(mut self, response: Value) -> Self {
        self.response = response;
        self
    }

    #[must_use]
    pub fn denied(mut self) -> Self {
        self.outcome = Outcome::Denied;
        self
    }

    #[must_use]
    pub fn failed(mut self, code: &'static str, message: impl Into<String>) -> Self {
        self.outcome = Outcome::Failed(code, message.into());
        self
    }

    /// A data event.
    #[must_use]
    pub fn data(mut self) -> Self {
        self.is_data = true;
        self
    }

    /// In another region than the session's. Global services stay where they are.
    #[must_use]
    pub fn in_region(mut self, region: &'static str) -> Self {
        self.region = Some(region);
        self
    }

    /// A resource that the record names.
    #[must_use]
    pub fn on(mut self, kind: &'static str, arn: impl Into<String>) -> Self {
        self.resources.push((kind, arn.into()));
        self
    }

    #[must_use]
    pub fn additional(mut self, data: Value) -> Self {
        self.additional = data;
        self
    }

    #[must_use]
    pub fn of_type(mut self, event_type: &'static str) -> Self {
        self.event_type = event_type;
        self
    }

    #[must_use]
    pub fn shared(mut self, id: String) -> Self {
        self.shared_id = Some(id);
        self
    }
}

/// Services whose events stand in us-east-1 wherever the caller sits.
pub fn is_global(service: &str) -> bool {
    matches!(
        service,
        "iam"
            | "organizations"
            | "route53"
            | "cloudfront"
            | "support"
            | "account"
            | "budgets"
            | "ce"
            | "signin"
            | "health"
            | "billing"
    )
}
