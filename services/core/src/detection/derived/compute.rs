//! Instances: which ones a call is about, and how large the ones it asks for are.

use serde_json::Value;

use super::texts;
use crate::activity::{Activity, PrincipalKind};
use crate::link::is_instance_id;
use crate::policy::each;
use crate::record::RecordView;

/// The instances a call names, in the order of its parameters.
pub(super) fn instances<'v>(view: &'v RecordView<'_>) -> Vec<&'v str> {
    let mut found: Vec<&str> = ["instanceId", "instanceIds", "target"]
        .into_iter()
        .flat_map(|key| texts(view, &format!("requestParameters.{key}")).collect::<Vec<_>>())
        .collect();
    if let Some(items) = view.value("requestParameters.instancesSet.items") {
        found.extend(each(items).iter().filter_map(|item| item.get("instanceId")?.as_str()));
    }
    found.retain(|id| is_instance_id(id));
    found.truncate(super::LIST_MAX);
    found
}

/// The instance whose credential acts, else the only one that the call names.
pub(super) fn instance<'v>(view: &'v RecordView<'_>, activity: &Activity<'v>) -> Option<&'v str> {
    if activity.principal_kind == PrincipalKind::Role && is_instance_id(activity.session_name) {
        return Some(activity.session_name);
    }
    match instances(view).as_slice() {
        [one] => Some(one),
        _ => None,
    }
}

/// Whether the call asks for accelerated, bare-metal or very large machines.
pub(super) fn is_large(view: &RecordView<'_>) -> bool {
    const PLACES: [&str; 6] = [
        "instanceType",
        "launchSpecification.instanceType",
        "launchTemplateData.instanceType",
        "resourceConfig.instanceType",
        "spotFleetRequestConfig.launchSpecifications",
        "instanceTypes",
    ];
    let Some(parameters) = view.value("requestParameters") else {
        return false;
    };
    PLACES.into_iter().any(|path| {
        let place = path.split('.').try_fold(parameters, |value, key| value.get(key));
        place.into_iter().flat_map(each).any(|value| type_name(value).is_some_and(is_large_type))
    })
}

fn type_name(value: &Value) -> Option<&str> {
    value.as_str().or_else(|| value.get("value")?.as_str()).or_else(|| value.get("instanceType")?.as_str())
}

/// `p4d.24xlarge`, `ml.g5.xlarge`, `m5.metal`, `c6i.8xlarge` and larger.
fn is_large_type(name: &str) -> bool {
    // A letter or word before the generation's digit: graphics and machine learning accelerators, FPGAs.
    const ACCELERATED: [&str; 9] = ["p", "g", "gr", "inf", "trn", "dl", "f", "vt", "u"];
    const MULTIPLE_MIN: u32 = 8;
    let name = name.strip_prefix("ml.").unwrap_or(name);
    let Some((family, size)) = name.split_once('.') else {
        return false;
    };
    let class = family.split(|letter: char| letter.is_ascii_digit() || letter == '-').next();
    let multiple = size.strip_suffix("xlarge").and_then(|number| number.parse::<u32>().ok());
    class.is_some_and(|class| ACCELERATED.contains(&class))
        || size.starts_with("metal")
        || multiple.is_some_and(|multiple| multiple >= MULTIPLE_MIN)
}

#[cfg(test)]
mod tests {
    use super::is_large_type;

    #[test]
    fn tells_large_machines() {
        for name in [
            "p2.xlarge",
            "p4d.24xlarge",
            "g5.xlarge",
            "gr6.4xlarge",
            "ml.p3.2xlarge",
            "inf2.xlarge",
            "m5.metal",
            "c7i.metal-24xl",
            "u-6tb1.56xlarge",
            "c5.9xlarge",
            "r6i.8xlarge",
        ] {
            assert!(is_large_type(name), "{name}");
        }
        for name in ["t3.micro", "t4g.large", "m5.xlarge", "c6g.4xlarge", "r5.2xlarge", "x", "", ".", "m5.xlargexlarge"]
        {
            assert!(!is_large_type(name), "{name}");
        }
    }
}
