#!/usr/bin/env bash
# The benchmark on NIH ChestX-ray14 (docs/benchmark_nih.md): trains and evaluates five folds, then pools them into
# eval/nih/metrics.json. Arguments go to every training and evaluation; OVERLAYS names further configs, with spaces:
#   bash scripts/cross_validate.sh --image_dir /path/to/images --pretrained /path/to/clip-vit-large-patch14
# Stopped? Start it again: what is done is skipped. Delete models/nih and eval/nih to begin anew.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

train="'configs/train.json'"
for overlay in ${OVERLAYS:-}; do train+=",'$overlay'"; done
train+=",'configs/benchmark_nih.json'"

for fold in 0 1 2 3 4; do
  printf '\n== Fold %d\n' "$fold"
  "$PYTHON" -m monai.bundle run training --config_file "[$train]" --fold "$fold" "$@"
  # evaluated before the weights last changed: a training that went on
  if [ ! "eval/nih/fold_$fold/metrics.json" -nt "models/nih/fold_$fold/model.pt" ]; then
    "$PYTHON" -m monai.bundle run evaluating --config_file "[$train,'configs/evaluate.json']" --fold "$fold" "$@"
  fi
done
"$PYTHON" -m scripts.pool_folds eval/nih
"$PYTHON" -m scripts.show_metrics eval/nih/metrics.json
