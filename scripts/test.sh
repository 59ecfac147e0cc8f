#!/usr/bin/env bash
# The gate: format, lint, types, tests. Arguments go to pytest (and then the other checks are left out):
#   bash scripts/test.sh                      everything
#   bash scripts/test.sh tests/test_grid.py   these tests only
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
unset PYTHONWARNINGS

if [ $# -eq 0 ]; then
  "$PYTHON" -m ruff format --check .
  "$PYTHON" -m ruff check .
  "$PYTHON" -m mypy
  "$PYTHON" -m scripts.format_json --check
fi
exec "$PYTHON" -m pytest "$@"
