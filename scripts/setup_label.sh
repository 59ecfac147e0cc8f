#!/usr/bin/env bash
# Make .venv-label, MONAI Label's packages over those of .venv, if it is missing or older than its requirements. Sourced
# by serve.sh; leaves LABEL_PYTHON, its interpreter.
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

LABEL_PYTHON="$root/.venv-label/bin/python"
label_stamp="$root/.venv-label/.installed"
label_wanted="$(cat requirements-label.txt bundle/label/shims.py scripts/setup_label.sh | sha256sum) $root"
if [ ! -f "$label_stamp" ] || [ "$(cat "$label_stamp")" != "$label_wanted" ]; then
  echo "Setting up .venv-label (MONAI Label's packages, about 400 MB; a minute)"
  "$PYTHON" -m venv --clear .venv-label
  "$LABEL_PYTHON" -m pip install --quiet --no-compile --disable-pip-version-check --no-deps -r requirements-label.txt
  site="$("$LABEL_PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
  cp bundle/label/shims.py "$site/monailabel_shims.py"
  # a .pth line that starts with import is run by every interpreter of this environment
  { "$PYTHON" -c 'import sysconfig; print(sysconfig.get_path("purelib"))'; echo "import monailabel_shims"; } > "$site/over_main.pth"
  echo "$label_wanted" > "$label_stamp"
fi
