//! Where a service answers, and for which region its calls are signed.

use trailwarden_runtime::quoted::quoted;

use super::AwsError;

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// Without a path: `https://iam.amazonaws.com`.
    pub(super) base: String,
    pub(super) signing_region: String,
}

/// The endpoint of a service. `place` is a region; services without regions answer for its partition.
pub(super) fn endpoint(service: &str, place: &str, instead: Option<&str>) -> Result<Endpoint, AwsError> {
    let is_region = !place.is_empty()
        && place.len() <= 32
        && place.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-');
    if !is_region {
        return Err(AwsError::invalid(format!("{:?} is no region", quoted(place))));
    }
    let (suffix, home, global_host) = match place {
        place if place.starts_with("cn-") => ("amazonaws.com.cn", "cn-north-1", "cn-north-1.amazonaws.com.cn"),
        place if place.starts_with("us-gov-") => ("amazonaws.com", "us-gov-west-1", "us-gov.amazonaws.com"),
        _ => ("amazonaws.com", "us-east-1", "amazonaws.com"),
    };
    let (host, signing_region) = match service {
        "iam" => (format!("iam.{global_host}"), home),
        "organizations" => (format!("organizations.{home}.{suffix}"), home),
        regional => (format!("{regional}.{place}.{suffix}"), place),
    };
    let base = instead.map_or_else(|| format!("https://{host}"), |own| own.trim_end_matches('/').to_owned());
    Ok(Endpoint { base, signing_region: signing_region.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_answer_where_aws_says() {
        for (service, place, base, signing) in [
            ("iam", "eu-west-1", "https://iam.amazonaws.com", "us-east-1"),
            ("iam", "cn-northwest-1", "https://iam.cn-north-1.amazonaws.com.cn", "cn-north-1"),
            ("iam", "us-gov-east-1", "https://iam.us-gov.amazonaws.com", "us-gov-west-1"),
            ("organizations", "eu-west-1", "https://organizations.us-east-1.amazonaws.com", "us-east-1"),
            ("s3", "eu-west-1", "https://s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("kms", "cn-north-1", "https://kms.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        ] {
            let expect = Endpoint { base: base.to_owned(), signing_region: signing.to_owned() };
            assert_eq!(endpoint(service, place, None), Ok(expect));
        }
        for place in ["", "evil.example/", "EU", "a@b"] {
            assert!(endpoint("kms", place, None).is_err(), "{place}");
        }
        assert_eq!(endpoint("kms", "eu-west-1", Some("http://h:1/")).unwrap().base, "http://h:1");
    }
}
