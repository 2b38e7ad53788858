# What people type. Each recipe is one command that also works without just.

# The recipes there are
default:
    @just --list --unsorted

# Scan the incident that ships with the repository, write its report
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

# Throughput on repeated data, stage by stage
bench *arguments:
    cargo run --locked --release -p trailwarden-tests --bin bench -- {{arguments}}
