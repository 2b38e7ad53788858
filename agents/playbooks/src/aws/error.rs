//! What AWS, or the way to it, said instead of an answer.

use trailwarden_runtime::quoted::quoted;

/// Why a call failed, by what helps.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AwsError {
    /// AWS's or the network's; the same call later may do.
    #[error("not now: {code}: {message}")]
    Throttled { code: String, message: String },
    /// The operator's: the executor's role may not do this, or its credentials are wrong.
    #[error("denied: {code}: {message}")]
    Denied { code: String, message: String },
    /// The target, or what hangs on it, is not there.
    #[error("not there: {code}: {message}")]
    Gone { code: String, message: String },
    /// The target's state or a quota is in the way.
    #[error("in the way: {code}: {message}")]
    Conflict { code: String, message: String },
    /// Nobody knows whether the call arrived: whoever repeats it reads first.
    #[error("no answer: {message}")]
    Unanswered { message: String },
    /// Ours: a call that cannot be made as it stands.
    #[error("cannot be called: {message}")]
    Invalid { message: String },
    #[error("refused: {code}: {message}")]
    Refused { code: String, message: String },
}

impl AwsError {
    /// Sorts an answer that is an error. Codes come as services write them: `Throttling`, `NoSuchEntity`,
    /// `com.amazonaws.kms#NotFoundException`, `InvalidInstanceID.NotFound`.
    pub(super) fn answered(status: u16, code: &str, message: &str) -> Self {
        let mut code: String = code.rsplit('#').next().unwrap_or(code).chars().take(120).collect();
        if code.is_empty() {
            code = format!("HTTP {status}");
        }
        let message = quoted(message);
        let bare = code.trim_end_matches("Exception");
        if status == 429 || status >= 500 || is_throttle(bare) {
            return Self::Throttled { code, message };
        }
        if status == 401
            || ["AccessDenied", "UnauthorizedOperation", "AuthFailure", "InvalidClientTokenId", "ExpiredToken"]
                .contains(&bare)
            || ["SignatureDoesNotMatch", "UnrecognizedClient", "InvalidAccessKeyId", "InvalidSignature"].contains(&bare)
        {
            return Self::Denied { code, message };
        }
        // EC2 says `InvalidGroup.NotFound`, IAM `NoSuchEntity`, S3 `NoSuchBucket`, JSON services `ResourceNotFoundException`.
        if bare.starts_with("NoSuch") || bare.contains("NotFound") || bare == "NotFound" || status == 404 {
            return Self::Gone { code, message };
        }
        if bare.contains("LimitExceeded") || bare.contains("Conflict") || bare.contains("InvalidState") {
            return Self::Conflict { code, message };
        }
        if status == 403 {
            return Self::Denied { code, message };
        }
        Self::Refused { code, message }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Invalid { message: message.into() }
    }

    /// The service's own word for it; empty where no service answered.
    pub fn code(&self) -> &str {
        match self {
            Self::Throttled { code, .. }
            | Self::Denied { code, .. }
            | Self::Gone { code, .. }
            | Self::Conflict { code, .. }
            | Self::Refused { code, .. } => code,
            Self::Unanswered { .. } | Self::Invalid { .. } => "",
        }
    }

    /// Whether the same call may do later.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled { .. } | Self::Unanswered { .. })
    }
}

fn is_throttle(code: &str) -> bool {
    ["Throttling", "Throttled", "ThrottledRequests", "TooManyRequests", "RequestLimitExceeded", "SlowDown"]
        .contains(&code)
        || ["RequestThrottled", "PriorRequestNotComplete", "ServiceUnavailable", "InternalFailure"].contains(&code)
        || ["InternalError", "InternalServiceError", "ConcurrentModification", "ServiceFailure"].contains(&code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_sorted_by_what_helps() {
        let kind = |status, code: &str| match AwsError::answered(status, code, "") {
            AwsError::Throttled { .. } => "later",
            AwsError::Denied { .. } => "denied",
            AwsError::Gone { .. } => "gone",
            AwsError::Conflict { .. } => "conflict",
            _ => "refused",
        };
        for (status, code, expect) in [
            (400, "Throttling", "later"),
            (400, "ThrottlingException", "later"),
            (503, "SlowDown", "later"),
            (500, "InternalFailure", "later"),
            (403, "AccessDenied", "denied"),
            (400, "AccessDeniedException", "denied"),
            (403, "UnauthorizedOperation", "denied"),
            (404, "NoSuchEntity", "gone"),
            (400, "InvalidInstanceID.NotFound", "gone"),
            (400, "com.amazonaws.kms#NotFoundException", "gone"),
            (404, "NoSuchPublicAccessBlockConfiguration", "gone"),
            (409, "LimitExceeded", "conflict"),
            (400, "KMSInvalidStateException", "conflict"),
            (409, "DeleteConflict", "conflict"),
            (400, "MalformedPolicyDocument", "refused"),
            (400, "", "refused"),
        ] {
            assert_eq!(kind(status, code), expect, "{status} {code}");
        }
        assert_eq!(AwsError::answered(400, "a#B", "x\u{1b}[2Jy").to_string(), "refused: B: x [2Jy");
    }
}
