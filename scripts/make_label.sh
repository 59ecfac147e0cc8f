#!/usr/bin/env bash
# Make an environment with MONAI Label's packages over those of another; run in the repository's root.
#   bash scripts/make_label.sh .venv/bin/python .venv-label
set -euo pipefail
python="$1" folder="$2"

"$python" -m venv --clear "$folder"
"$folder/bin/python" -m pip install --quiet --no-compile --disable-pip-version-check --no-deps -r requirements-label.txt
site="$("$folder/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
cp bundle/label/shims.py "$site/monailabel_shims.py"
# a .pth line that starts with import is run by every interpreter of this environment
{ "$python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; echo "import monailabel_shims"; } > "$site/over_main.pth"
