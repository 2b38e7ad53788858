//! An archive in a bucket of S3, or of a store that speaks S3.

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{ObjectStore, RetryConfig};

/// Tries of one request and the time that they may take together. The role that asks tries again by itself, and says so.
const RETRIES_MAX: usize = 3;
const RETRY_TIME_MAX: Duration = Duration::from_secs(20);

/// Opens `bucket/prefix`. Region, credentials and endpoint come from AWS' own variables (`AWS_REGION`, `AWS_ACCESS_KEY_ID`,
/// `AWS_ENDPOINT_URL` and so on), or from the machine's or the container's role.
///
/// # Errors
/// What is wrong with the name or with a variable, in words.
pub(crate) fn open(name: &str, environment: &[(OsString, OsString)]) -> Result<Arc<dyn ObjectStore>, String> {
    let (bucket, prefix) = name.split_once('/').unwrap_or((name, ""));
    if bucket.is_empty() {
        return Err("the bucket's name is missing: `s3://bucket/prefix`".to_owned());
    }
    let prefix = Path::parse(prefix.trim_end_matches('/')).map_err(|error| error.to_string())?;
    let builder = environment
        .iter()
        .filter_map(setting)
        .fold(AmazonS3Builder::new(), |builder, (key, value)| builder.with_config(key, value));
    // An endpoint that is named in plain HTTP is meant so: a store of the same machine or of a network of its own.
    let named = |key| builder.get_config_value(&key);
    let endpoint = named(AmazonS3ConfigKey::S3Endpoint).or_else(|| named(AmazonS3ConfigKey::Endpoint));
    let builder = match endpoint.is_some_and(|url| url.starts_with("http://")) {
        true => builder.with_allow_http(true),
        false => builder,
    };
    let store = builder
        .with_bucket_name(bucket)
        // That a flush's end is declared once rests on it, so no variable may switch it off.
        .with_conditional_put(S3ConditionalPut::ETagMatch)
        .with_retry(RetryConfig { max_retries: RETRIES_MAX, retry_timeout: RETRY_TIME_MAX, ..RetryConfig::default() })
        .build()
        .map_err(|error| error.to_string())?;
    Ok(Arc::new(PrefixStore::new(store, prefix)))
}

/// A variable that says something of S3.
fn setting((name, value): &(OsString, OsString)) -> Option<(AmazonS3ConfigKey, String)> {
    let name = name.to_str().filter(|name| name.starts_with("AWS_"))?;
    Some((name.to_ascii_lowercase().parse().ok()?, value.to_str()?.to_owned()))
}
