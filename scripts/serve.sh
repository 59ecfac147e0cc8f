#!/usr/bin/env bash
# MONAI Label over a trained bundle, for 3D Slicer and OHIF (docs/monai_label.md). Makes its environment when it is first
# called. The studies are never written.
#   bash scripts/serve.sh --studies FOLDER [--port 8000] [--model models/demo]
set -euo pipefail
called_from="$PWD"
source "$(dirname "${BASH_SOURCE[0]}")/setup_label.sh"

unset MALLOC_MMAP_THRESHOLD_ MALLOC_TRIM_THRESHOLD_  # a server gives freed memory back
cd "$called_from"
# nothing that lies where the server is started, or runs, is imported
PYTHONSAFEPATH=1 PYTHONPATH="$root" exec "$LABEL_PYTHON" -m bundle.label.serve "$@"
