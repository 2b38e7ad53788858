//! Credentials: those that the process has, and those of the role that is assumed for one action.

use std::collections::BTreeMap;

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::Value;
use trailwarden_core::time::{MINUTE_MS, Timestamp};
use trailwarden_runtime::secret::Secret;
use trailwarden_runtime::sigv4::Credentials;
use trailwarden_runtime::transport::{Answer, Outgoing, Transport};

use super::AwsError;

/// Credentials with their end.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) credentials: Credentials,
    /// `None` for those that do not end.
    expires_at: Option<Timestamp>,
}

/// Credentials that end sooner than this are fetched anew.
const MARGIN_MS: i64 = 5 * MINUTE_MS;

impl Kept {
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
    Container(String, Option<Secret>),
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
    secret_access_key: Secret,
    token: Option<Secret>,
    expiration: Option<String>,
}

impl BaseCredentials {
    /// # Errors
    /// [`AwsError::Invalid`] when the environment names half of a key, a way that is not built, or an address that keys must
    /// not go to.
    pub fn from_environment(environment: &BTreeMap<String, String>) -> Result<Self, AwsError> {
        let of = |name: &str| environment.get(name).filter(|value| !value.is_empty()).cloned();
        match (of("AWS_ACCESS_KEY_ID"), of("AWS_SECRET_ACCESS_KEY")) {
            (Some(access_key_id), Some(secret_access_key)) => {
                return Ok(Self::Given(Credentials {
                    access_key_id,
                    secret_access_key: Secret::new(secret_access_key),
                    session_token: of("AWS_SESSION_TOKEN").map(Secret::new),
                }));
            }
            (None, None) => {}
            _ => return Err(AwsError::invalid("AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together")),
        }
        // Passed over, the instance's role would act where another one was meant.
        let unbuilt = ["AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE"];
        if let Some(name) = unbuilt.into_iter().find(|name| of(name).is_some()) {
            return Err(AwsError::invalid(format!("credentials by {name} are not built yet; give keys, or unset it")));
        }
        if let Some(path) = of("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI") {
            return match path.starts_with('/') {
                true => Ok(Self::Container(format!("{CONTAINER}{path}"), None)),
                false => Err(AwsError::invalid("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI is no path")),
            };
        }
        if let Some(address) = of("AWS_CONTAINER_CREDENTIALS_FULL_URI") {
            let host = Url::parse(&address).ok().and_then(|url| url.host_str().map(str::to_owned));
            let allowed = ["127.0.0.1", "localhost", "[::1]", "169.254.170.2", "169.254.170.23", "[fd00:ec2::23]"];
            return match host.is_some_and(|host| allowed.contains(&host.as_str())) || address.starts_with("https://") {
                true => Ok(Self::Container(address, of("AWS_CONTAINER_AUTHORIZATION_TOKEN").map(Secret::new))),
                false => Err(AwsError::invalid("AWS_CONTAINER_CREDENTIALS_FULL_URI is not of this machine")),
            };
        }
        Ok(Self::Instance(of("AWS_EC2_METADATA_SERVICE_ENDPOINT").unwrap_or_else(|| INSTANCE.to_owned())))
    }

    pub(super) async fn fetch(&self, transport: &Transport) -> Result<Kept, AwsError> {
        match self {
            Self::Given(credentials) => Ok(Kept { credentials: credentials.clone(), expires_at: None }),
            Self::Container(address, authorization) => {
                let own = authorization.as_ref().map(|own| ("authorization", own.reveal()));
                told(&text(transport, Method::GET, address, own).await?)
            }
            Self::Instance(base) => {
                let base = base.trim_end_matches('/');
                let lasts = Some(("x-aws-ec2-metadata-token-ttl-seconds", TOKEN_SECONDS));
                let token = text(transport, Method::PUT, &format!("{base}/latest/api/token"), lasts).await?;
                let own = Some(("x-aws-ec2-metadata-token", token.trim()));
                let folder = format!("{base}/latest/meta-data/iam/security-credentials/");
                let role = text(transport, Method::GET, &folder, own).await?;
                let role = role.lines().next().unwrap_or_default().trim();
                told(&text(transport, Method::GET, &format!("{folder}{role}"), own).await?)
            }
        }
    }
}

async fn text(
    transport: &Transport,
    method: Method,
    address: &str,
    header: Option<(&'static str, &str)>,
) -> Result<String, AwsError> {
    let url = Url::parse(address).map_err(|_| AwsError::invalid("the service of credentials has no address"))?;
    let mut headers = HeaderMap::new();
    if let Some((name, value)) = header {
        let mut value = HeaderValue::try_from(value)
            .map_err(|_| AwsError::invalid(format!("a header cannot hold what {name} needs")))?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static(name), value);
    }
    let answered = transport.exchange(method, Outgoing { url, headers, body: Vec::new(), answer: Answer::Any }).await?;
    if answered.status != 200 {
        return Err(AwsError::answered(answered.status, "NoCredentials", "the service of credentials refuses"));
    }
    Ok(String::from_utf8_lossy(&answered.body).into_owned())
}

fn told(text: &str) -> Result<Kept, AwsError> {
    let told: Told = serde_json::from_str(text)
        .map_err(|_| AwsError::Unanswered { message: "the service of credentials does not give any".to_owned() })?;
    let Told { access_key_id, secret_access_key, token, expiration } = told;
    let credentials = Credentials { access_key_id, secret_access_key, session_token: token };
    Ok(Kept { credentials, expires_at: expiration.as_deref().and_then(Timestamp::parse) })
}

/// What `AssumeRole` answered.
pub(super) fn assumed(answer: &Value) -> Result<Kept, AwsError> {
    let of = |name: &str| answer.pointer(&format!("/Credentials/{name}")).and_then(Value::as_str).map(str::to_owned);
    match (of("AccessKeyId"), of("SecretAccessKey"), of("SessionToken")) {
        (Some(access_key_id), Some(secret_access_key), Some(token)) => Ok(Kept {
            credentials: Credentials {
                access_key_id,
                secret_access_key: Secret::new(secret_access_key),
                session_token: Some(Secret::new(token)),
            },
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
        let token_file = ("AWS_WEB_IDENTITY_TOKEN_FILE", "/var/run/token");
        assert!(from(&[token_file]).is_err());
        assert!(matches!(from(&[own[0], own[1], token_file]), Ok(BaseCredentials::Given(_))));
        assert!(from(&[("AWS_CONTAINER_CREDENTIALS_FULL_URI", "http://evil.example/")]).is_err());
        assert!(!format!("{:?}", from(&own)).contains("\"S\""));
    }
}
