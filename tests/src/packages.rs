//! The workspace's packages and what they are built from, as cargo sees them.

use std::collections::{BTreeMap, BTreeSet};

use cargo_metadata::{CargoOpt, DependencyKind, Metadata, MetadataCommand, Package, PackageId};

use crate::repository::root;

/// All packages of all platforms, without the network; where those of other platforms were never downloaded
/// (`cargo fetch` does), this platform's alone, and it is said.
///
/// # Panics
/// When cargo cannot tell, or would change Cargo.lock.
pub fn metadata() -> Metadata {
    let command = |extra: &[&str]| {
        let options = ["--locked", "--offline"].iter().chain(extra).map(|text| (*text).to_owned());
        MetadataCommand::new()
            .manifest_path(root().join("Cargo.toml"))
            .features(CargoOpt::AllFeatures)
            .other_options(options.collect::<Vec<String>>())
            .exec()
    };
    command(&[]).unwrap_or_else(|error| {
        eprintln!("only this platform's packages were looked at; `cargo fetch` brings the others: {error}");
        let platform = host();
        command(&["--filter-platform", &platform]).unwrap_or_else(|error| panic!("{error}"))
    })
}

/// Names of the workspace's packages that `package` names directly, of every kind of dependency.
pub fn ours_named_by<'a>(metadata: &'a Metadata, package: &'a Package) -> BTreeSet<&'a str> {
    let ours: BTreeSet<&str> = metadata.workspace_packages().iter().map(|ours| ours.name.as_str()).collect();
    named_by(package).filter(|name| ours.contains(name)).collect()
}

/// Names of other people's packages that `package` names directly, of every kind of dependency.
pub fn third_parties_named_by<'a>(metadata: &'a Metadata, package: &'a Package) -> BTreeSet<&'a str> {
    let ours = ours_named_by(metadata, package);
    named_by(package).filter(|name| !ours.contains(name)).collect()
}

fn named_by(package: &Package) -> impl Iterator<Item = &str> {
    package.dependencies.iter().map(|dependency| dependency.name.as_str())
}

/// What `package` is linked with, directly or through others: name, and the packages on a way to it.
pub fn reached_by(metadata: &Metadata, package: &Package) -> BTreeMap<String, Vec<String>> {
    let resolve = metadata.resolve.as_ref().expect("asked for with dependencies");
    let nodes: BTreeMap<&PackageId, _> = resolve.nodes.iter().map(|node| (&node.id, node)).collect();
    let mut reached = BTreeMap::new();
    // By id, since two versions of one package reach different ones.
    let mut seen = BTreeSet::new();
    let mut ahead = vec![(&package.id, vec![package.name.to_string()])];
    while let Some((id, way)) = ahead.pop() {
        let linked = nodes[id].deps.iter().filter(|dependency| {
            let kinds = &dependency.dep_kinds;
            kinds.iter().any(|kind| kind.kind == DependencyKind::Normal)
        });
        for dependency in linked {
            let name = metadata[&dependency.pkg].name.to_string();
            if seen.insert(&dependency.pkg) {
                let mut way = way.clone();
                way.push(name.clone());
                reached.entry(name).or_insert_with(|| way.clone());
                ahead.push((&dependency.pkg, way));
            }
        }
    }
    reached
}

fn host() -> String {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let output = std::process::Command::new(cargo).arg("-vV").output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.expect("cargo names the platform it runs on").to_owned()
}
