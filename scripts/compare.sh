#!/usr/bin/env bash
# After demo.sh: Patch-CLIP against saliency maps of itself and of the same network trained without boxes, and against a
# detector on the same boxes. Two more trainings, then a plan on validation and one look at the test section. Leaves
# eval/comparison/ (comparison.json, metrics.json, report.html). What is done already is skipped.
set -euo pipefail
bash "$(dirname "${BASH_SOURCE[0]}")/demo.sh"
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

say() { printf '\n== %s (minute %d)\n' "$1" $((SECONDS / 60)); }
bundle() { "$PYTHON" -m monai.bundle run "$@"; }

if [ ! -f models/image_labels_only/.trained ]; then
  say "Training the same network without boxes"
  bundle training --config_file "['configs/train.json','configs/demo.json','configs/image_labels_only.json']"
  touch models/image_labels_only/.trained
fi

if [ ! -f eval/detector/metrics.json ]; then
  say "Training and judging a detector on the same boxes"
  bundle training --config_file "['configs/train.json','configs/demo.json','configs/detector.json']"
  bundle evaluating --replicates 0 --gallery 0 \
    --config_file "['configs/train.json','configs/demo.json','configs/detector.json','configs/evaluate.json']"
fi

if [ ! -f eval/comparison/metrics.json ]; then
  say "Planning on validation, comparing on the test section"
  bundle evaluating --output_dir "$root/eval/comparison" \
    --config_file "['configs/train.json','configs/demo.json','configs/evaluate.json','configs/compare.json']"
fi

say "Done"
"$PYTHON" -m scripts.show_comparison eval/comparison
echo "Report: eval/comparison/report.html"
