#!/usr/bin/env bash
# Builds everything once, in the profile that the demo and the benches use too, and runs every test.
# Needs Rust and Python, nothing else. Arguments go to the test programs: `./tests/run.sh bomb` runs what is named so.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '\n== %s\n' "$*" >&2; }

if ! command -v cargo >/dev/null; then
    echo "tests/run.sh: there is no cargo; install Rust from https://rustup.rs" >&2
    exit 2
fi

say "fetching what Cargo.lock names, for every platform, so that every licence is looked at"
cargo fetch --locked || echo "tests/run.sh: could not fetch; going on with what is here" >&2

say "the servers that tests talk to"
./tests/install_servers.sh
./tests/install_promtool.sh

say "the model that tests ask"
./tests/install_model.sh

say "building the workspace, its tests and benches"
cargo build --locked --release --workspace --all-targets

if [[ ! -d ../shared/data ]]; then
    say "../shared/data is absent: tests that need it will say that they did not run"
fi

say "running every test"
exec cargo test --locked --release --workspace --no-fail-fast -- "$@"
