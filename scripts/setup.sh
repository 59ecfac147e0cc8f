#!/usr/bin/env bash
# Make .venv with the pinned packages, if it is missing or older than the requirements. Sourced by demo.sh and test.sh;
# leaves PYTHON, the environment's interpreter. Needs Python 3.11 as python3.11 or python3.
set -euo pipefail

root="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
cd "$root"
PYTHON="$root/.venv/bin/python"

stamp="$root/.venv/.installed"
wanted="$(cat requirements{,-reading,-onnx,-inference,-tracking,-dev,-data}.txt constraints.txt | sha256sum)"
if [ ! -f "$stamp" ] || [ "$(cat "$stamp")" != "$wanted" ]; then
  base="$(command -v python3.11 || command -v python3 || true)"
  if [ -z "$base" ] || ! "$base" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))'; then
    echo "Python 3.11 is needed, as python3.11 or python3; found: $("${base:-false}" --version 2>&1 || echo none)" >&2
    exit 1
  fi
  echo "Setting up .venv (pinned packages, about 4 GB; minutes)"
  "$base" -m venv .venv
  # --no-compile: only what is imported is compiled, when it is; saves minutes
  pip=("$PYTHON" -m pip install --quiet --no-compile --disable-pip-version-check --no-warn-script-location)
  "${pip[@]}" -c constraints.txt -r requirements-dev.txt
  "${pip[@]}" --no-deps -r requirements-data.txt
  echo "$wanted" > "$stamp"
fi
export PYTHONWARNINGS="${PYTHONWARNINGS:-ignore::DeprecationWarning}" HF_HUB_OFFLINE="${HF_HUB_OFFLINE:-1}" MLFLOW_DISABLE_TELEMETRY=true
# freed memory is kept for the next step: a training step on CPU is about a fifth faster
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=4294967296
unset PYTHONDONTWRITEBYTECODE  # what pip did not compile, the first import does, once
