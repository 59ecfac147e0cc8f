#!/usr/bin/env bash
# The gate: format, lint, types, tests. Arguments go to pytest (and then the other checks are left out):
#   bash scripts/test.sh                      everything, the tests in one process more than there are cores, up to four
#   bash scripts/test.sh tests/test_grid.py   these tests only
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
unset PYTHONWARNINGS

if [ $# -eq 0 ]; then
  "$PYTHON" -m ruff format --check .
  "$PYTHON" -m ruff check .
  "$PYTHON" -m mypy
  "$PYTHON" -m scripts.format_json --check
  (source scripts/setup_label.sh)  # once, before several processes want it
  cores="$(nproc)"
  export OMP_NUM_THREADS=1
  set -- -n "$((cores < 3 ? cores + 1 : 4))" --no-loadscope-reorder  # tests wait for servers: one process more than cores
fi
exec "$PYTHON" -m pytest "$@"
