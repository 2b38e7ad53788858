//! Nothing is built in whose licence or name deny.toml does not allow. cargo-deny reads the same file; it is not needed.
#![allow(clippy::unwrap_used, reason = "a test that cannot be set up fails")]

use spdx::expression::ExpressionReq;
use spdx::{Expression, Licensee, ParseMode};
use toml::Table;
use trailwarden_tests::packages::metadata;
use trailwarden_tests::repository::{root, text};

struct Policy {
    allowed: Vec<Licensee>,
    banned: Vec<String>,
}

fn policy() -> Policy {
    let table: Table = text("deny.toml").unwrap().parse().unwrap();
    let list = |section: &str, key: &str| table[section][key].as_array().unwrap().clone();
    Policy {
        allowed: list("licenses", "allow")
            .iter()
            .map(|licence| Licensee::parse(licence.as_str().unwrap()).unwrap())
            .collect(),
        banned: list("bans", "deny").iter().map(|ban| ban["crate"].as_str().unwrap().to_owned()).collect(),
    }
}

/// Packages that name a file instead of a licence, with what that file says: it was read, for this version.
const READ: &[(&str, &str, &str)] = &[("forust-ml", "0.8.0", "Apache-2.0")];

/// Why a package with this licence may not be built in; `None` when it may.
fn objection(allowed: &[Licensee], licence: Option<&str>) -> Option<String> {
    let Some(licence) = licence else {
        return Some("states no licence".to_owned());
    };
    // Old manifests write `MIT/Apache-2.0`, which is no SPDX but means either.
    match Expression::parse_mode(licence, ParseMode::LAX) {
        Err(error) => Some(format!("{licence}: {}", error.reason)),
        Ok(expression) => {
            let refused = expression.evaluate_with_failures(|wanted| allowed.iter().any(|ours| ours.satisfies(wanted)));
            refused.err().map(|refused| {
                let names: Vec<String> = refused.iter().map(|ExpressionReq { req, .. }| req.to_string()).collect();
                format!("{licence}: {} not allowed", names.join(", "))
            })
        }
    }
}

#[test]
fn every_third_party_has_an_allowed_licence_and_none_is_banned() {
    let policy = policy();
    let metadata = metadata();
    let mut refused = Vec::new();
    let mut seen = 0;
    for package in metadata.packages.iter().filter(|package| package.source.is_some()) {
        seen += 1;
        let version = package.version.to_string();
        let read = READ.iter().find(|(name, of, _)| package.name.as_str() == *name && version == *of);
        let licence = package.license.as_deref().or(read.map(|(.., licence)| *licence));
        if let Some(why) = objection(&policy.allowed, licence) {
            refused.push(format!("{} {}: {why}", package.name, package.version));
        }
        if policy.banned.iter().any(|banned| package.name.as_str() == banned) {
            refused.push(format!("{} {}: banned by deny.toml", package.name, package.version));
        }
        if !package.source.as_ref().is_some_and(|source| source.is_crates_io()) {
            refused.push(format!("{} {}: not from crates.io", package.name, package.version));
        }
    }
    assert!(seen > 20, "only {seen} third parties were seen, so nothing was checked");
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn expressions_are_judged_as_spdx_means_them() {
    let allowed = policy().allowed;
    for (licence, fits) in [
        ("MIT", true),
        ("MIT/Apache-2.0", true),
        ("GPL-3.0-only", false),
        ("GPL-2.0-or-later OR MIT", true),
        ("(Apache-2.0 OR MIT) AND Unicode-3.0", true),
        ("MIT AND GPL-3.0-only", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("GPL-2.0-only WITH Classpath-exception-2.0", false),
        ("AGPL-3.0-only", false),
        ("Unlicense", false),
        ("SSPL-1.0", false),
        ("my own terms", false),
    ] {
        assert_eq!(objection(&allowed, Some(licence)).is_none(), fits, "{licence}");
    }
    assert!(objection(&allowed, None).is_some());
}

#[test]
fn our_own_crates_carry_the_licence_that_the_repository_holds() {
    let licence = text("LICENSE").unwrap();
    assert!(licence.contains("Apache License") && licence.contains("Copyright 2026 The Trailwarden Authors"));
    for package in metadata().workspace_packages() {
        assert_eq!(package.license.as_deref(), Some("Apache-2.0"), "{}", package.name);
        assert!(package.manifest_path.starts_with(root()), "{}", package.name);
    }
}
