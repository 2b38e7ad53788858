#!/usr/bin/env bash
# Puts Prometheus' own checker under target/servers/bin, from Debian's package, unpacked and not installed.
# Quick and silent when it is there. Where there is no apt the test that wants it says that it did not run.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$PWD/target/servers
[[ -x $folder/bin/promtool ]] && exit 0
if ! command -v apt-get >/dev/null; then
    echo "tests/install_promtool.sh: there is no apt-get, so the page of measures is not checked by promtool" >&2
    exit 0
fi
room=$(mktemp -d)
trap 'rm -rf "$room"' EXIT
cd "$room"
apt-get download prometheus >/dev/null 2>&1 || { apt-get update -qq && apt-get download prometheus >/dev/null; }
dpkg-deb --fsys-tarfile prometheus_*.deb | tar -x ./usr/bin/promtool
mkdir -p "$folder/bin"
mv usr/bin/promtool "$folder/bin/promtool"
"$folder/bin/promtool" --version >/dev/null 2>&1
