#!/usr/bin/env bash
# Make .venv in an image, with the pinned packages that pip is told of; VARIANT is cpu or cuda (torch as PyPI has it).
set -euo pipefail
python3 -m venv .venv
pip=(.venv/bin/pip install --no-cache-dir --disable-pip-version-check)
case "$VARIANT" in
  cpu) "${pip[@]}" --no-deps --index-url "$CPU_WHEELS" "$(grep ^torch== constraints.txt)" ;;
  cuda) ;;
  *) echo "VARIANT: found '$VARIANT'; wanted cpu or cuda" >&2; exit 1 ;;
esac
"${pip[@]}" -c constraints.txt "$@"
