#!/usr/bin/env bash
# Make .venv-label, MONAI Label's packages over those of .venv, if it is missing or older than its requirements. Sourced
# by serve.sh; leaves LABEL_PYTHON, its interpreter.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

LABEL_PYTHON="$root/.venv-label/bin/python"
label_stamp="$root/.venv-label/.installed"
label_wanted="$(cat requirements-label.txt bundle/label/shims.py scripts/make_label.sh | sha256sum) $root"
if [ ! -f "$label_stamp" ] || [ "$(cat "$label_stamp")" != "$label_wanted" ]; then
  echo "Setting up .venv-label (MONAI Label's packages, about 400 MB; a minute)"
  bash scripts/make_label.sh "$PYTHON" "$root/.venv-label"
  echo "$label_wanted" > "$label_stamp"
fi
