//! Credentials: those that the process has, and those of the role that is assumed for one action.

use std::collections::BTreeMap;
use std::fmt;

use reqwest::Client;
use serde::Deserialize;
use serde_json::Value;
use trailwarden_core::time::{MINUTE_MS, Timestamp};

use super::{AwsError, client};

/// What a request is signed with.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    pub access_key_id: String,
    pub secret_access_key: String,
    pub session_token: Option<String>,
    /// `None` for those that do not end.
    pub expires_at: Option<Timestamp>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Credentials that end sooner than this are fetched anew.
const MARGIN_MS: i64 = 5 * MINUTE_MS;

impl Credentials {
    pub(super) fn is_good(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|end| end.since_ms(now) > MARGIN_MS)
    }
}

/// Where the process's own credentials come from, in the usual order: the environment, the container's service, the
/// instance's.
#[derive(Clone, Debug)]
pub enum BaseCredentials {
    Given(Credentials),
    /// Address, and what its `Authorization` is to say.
    Container(String, Option<String>),
    /// Address of the instance's metadata service.
    Instance(String),
}

const CONTAINER: &str = "http://169.254.170.2";
const INSTANCE: &str = "http://169.254.169.254";
const TOKEN_SECONDS: &str = "300";

/// As the container's and the instance's service answer.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Told {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

impl BaseCredentials {
    /// # Errors
    /// [`AwsError::Invalid`] when the environment names half of a key, or an address that keys must not go to.
    pub fn from_environment(environment: &BTreeMap<String, String>) -> Result<Self, AwsError> {
        let of = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        match (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key_id), Some(secret_access_key)) => {
                let session_token = of("AWS_SESSION_TOKEN");
                return Ok(Self::Given(Credentials {
                    access_key_id,
                    secret_access_key,
                    session_token,
                    expires_at: None,
                }));
            }
            (None, None) => {}
            _ => return Err(AwsError::invalid("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together")),
        }
        if let Some(path) = of("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return match path.starts_with('/') {
                true => Ok(Self::Container(format!("{CONTAINER}{path}"), None)),
                false => Err(AwsError::invalid("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path")),
            };
        }
        if let Some(address) = of("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let host = reqwest::Url::parse(&address).ok().and_then(|url| url.host_str().map(str::to_owned));
            let allowed = ["127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
            return match host.is_some_and(|host| allowed.contains(&host.as_str())) || address.starts_with("https://") {
                true => Ok(Self::Container(address, of("AWS_CONTAINER_AUTHORIZATION_TOKEN"))),
                false => Err(AwsError::invalid("AWS_CONTAINER_CREDENTIALS_FULL_URI is not of this machine")),
            };
        }
        Ok(Self::Instance(of("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned())))
    }

    pub(super) async fn fetch(&self, http: &Client) -> Result<Credentials, AwsError> {
        match self {
            Self::Given(credentials) => Ok(credentials.clone()),
            Self::Container(address, authorization) => {
                let request = http.get(address);
                told(
                    &text(match authorization {
                        Some(own) => request.header("authorization", own),
                        None => request,
                    })
                    .await?,
                )
            }
            Self::Instance(base) => {
                let base = base.trim_end_matches('/');
                let token = http
                    .put(format!("{base}/latest/api/token"))
                    .header("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS);
                let token = text(token).await?;
                let of = |path: String| text(http.get(path).header("x-aws-ec2-metadata-token", token.trim()));
                let folder = format!("{base}/latest/meta-data/iam/security-credentials/");
                let role = of(folder.clone()).await?;
                told(&of(format!("{folder}{}", role.lines().next().unwrap_or_default().trim())).await?)
            }
        }
    }
}

async fn text(request: reqwest::RequestBuilder) -> Result<String, AwsError> {
    let (status, _, body) = client::exchange(request).await?;
    if status != 200 {
        return Err(AwsError::answered(status, "NoCredentials", "the service of credentials refuses"));
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn told(text: &str) -> Result<Credentials, AwsError> {
    let told: Told = serde_json::from_str(text)
        .map_err(|_| AwsError::Unanswered { message: "the service of credentials does not give any".to_owned() })?;
    Ok(Credentials {
        access_key_id: told.access_key_id,
        secret_access_key: told.secret_access_key,
        session_token: told.token,
        expires_at: told.expiration.as_deref().and_then(Timestamp::parse),
    })
}

/// What `AssumeRole` answered.
pub(super) fn assumed(answer: &Value) -> Result<Credentials, AwsError> {
    let of = |name: &str| answer.pointer(&format!("/Credentials/{name}")).and_then(Value::as_str).map(str::to_owned);
    match (of("AccessKeyId"), of("SecretAccessKey"), of("SessionToken")) {
        (Some(access_key_id), Some(secret_access_key), Some(token)) => Ok(Credentials {
            access_key_id,
            secret_access_key,
            session_token: Some(token),
            // Without a time that can be read it is good for the one call.
            expires_at: of("Expiration").as_deref().and_then(Timestamp::parse).or(Some(Timestamp::from_millis(0))),
        }),
        _ => Err(AwsError::Unanswered { message: "the role's credentials are not in the answer".to_owned() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(pairs: &[(&str, &str)]) -> Result<BaseCredentials, AwsError> {
        let environment = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        BaseCredentials::from_environment(&environment)
    }

    #[test]
    fn the_usual_order() {
        let own = [
            ("AWS_ACCESS_KEY_ID", "A"),
            ("AWS_SECRET_ACCESS_KEY", "S"),
            ("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "/x"),
        ];
        assert!(matches!(from(&own), Ok(BaseCredentials::Given(_))));
        let Ok(BaseCredentials::Container(address, None)) = from(&own[2..]) else { panic!("a container's") };
        assert_eq!(address, "http://169.254.170.2/x");
        assert!(matches!(from(&[]), Ok(BaseCredentials::Instance(_))));
        assert!(from(&own[..1]).is_err());
        assert!(from(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/")]).is_err());
        assert!(!format!("{:?}", from(&own)).contains("\"S\""));
    }
}
