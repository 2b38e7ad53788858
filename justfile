# What people type. Each recipe is one command that also works without just.

# The recipes there are
default:
    @just --list --unsorted

# Generate an organisation, plant attacks, find them, write a report
demo *arguments:
    cargo run --release -- demo {{arguments}}

# Scan files or folders of CloudTrail and write target/report.html
report +paths:
    cargo run --release -- scan {{paths}} --report target/report.html

# Build everything once and run every test
test *names:
    ./tests/run.sh {{names}}

# All that must hold before a change is taken
ci:
    ./.ci/run

# Format all code
fmt:
    cargo fmt --all

# Lints as in CI: a warning is a failure
lint:
    cargo clippy --locked --release --workspace --all-targets -- -D warnings

# Detection figures on ../shared/data: what was missed and what was false, by name
detections *arguments:
    cargo run --locked --release -p trailwarden-tests --bin detections -- {{arguments}}

# Write the logs of an invented organisation with attacks in them, and the truth about them: `just generate target/logs`
generate out *arguments:
    cargo run --release -- lab generate --out {{out}} {{arguments}}

# Train the model that ships, from nothing
train:
    cargo run --release -- lab train --out services/scorer/bundle/default.bundle

# Measure every detector by the published protocol; writes target/evaluation.md and .html
evaluate *arguments:
    cargo run --release -- lab evaluate --markdown target/evaluation.md --report target/evaluation.html {{arguments}}

# Throughput on generated logs (or on files, repeated), stage by stage
bench *arguments:
    cargo run --locked --release -p trailwarden-tests --bin bench -- {{arguments}}

# Throughput, latency, CPU and memory of all roles on a real broker and store of this machine
bench-cluster *arguments: (build)
    cargo run --locked --release -p trailwarden-tests --bin bench_cluster -- {{arguments}}

# From an order to its applied step, without what AWS takes of it
bench-response *arguments:
    ./tests/install_servers.sh
    cargo run --locked --release -p trailwarden-tests --bin bench_response -- {{arguments}}

# Faults chosen by a seed, several at once, round after round: `just chaos 50 1`
chaos *arguments: (build)
    cargo run --locked --release -p trailwarden-tests --bin chaos -- {{arguments}}

[private]
build:
    ./tests/install_servers.sh
    cargo build --locked --release
