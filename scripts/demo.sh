#!/usr/bin/env bash
# Patch-CLIP from nothing to a FROC curve and a real DICOM radiograph: simulated training images, training, evaluation
# against saliency maps and a detector, inference. Leaves eval/demo/ (metrics.json, comparison.json, report.html, rg1/)
# and models/demo/ (a self-contained bundle). What is done already is skipped; to begin anew, move or delete data/demo,
# models/ and eval/.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"
export GLIBC_TUNABLES="${GLIBC_TUNABLES:-glibc.malloc.hugetlb=1}"  # huge pages: a training step on CPU takes a tenth less

started=0  # the set-up counts
say() { printf '\n== %s (minute %d)\n' "$1" $(((SECONDS - started) / 60)); }
bundle() { "$PYTHON" -m monai.bundle run "$@"; }

# networks of other data must not be compared with each other
if ! grep -qs '"more_training": 2400' data/demo/datalist.json; then
  found=()
  for each in data/demo/datalist.json {models,eval}/{demo,detector} models/image_labels_only; do
    [ ! -e "$each" ] || found+=("$each")
  done
  if [ ${#found[@]} -gt 0 ]; then
    echo "demo.sh: found ${found[*]}, but in data/demo no datalist of today's 6,400 radiographs: an earlier version made" \
      "them, or data/demo is gone. To begin anew, move or delete data/demo, models/ and eval/." >&2
    exit 1
  fi
  say "Simulating 6,400 chest radiographs from one CT"
  "$PYTHON" -m scripts.make_demo_radiographs --output data/demo --images 4000 --more_training 2400 --seed 0
fi

cached=(--canvas_cache#folder data/demo/canvases)
ours="'configs/train.json','configs/demo.json'"
compared="$ours,'configs/evaluate.json','configs/compare.json'"
rivals=()
[ -f models/image_labels_only/.trained ] || rivals+=(without_boxes)
[ -f eval/detector/metrics.json ] || rivals+=(detector)

if [ ! -f models/demo/.trained ] || [ ${#rivals[@]} -gt 0 ]; then
  say "Checking and decoding the radiographs once for all trainings"
  "$PYTHON" -m scripts.build_cache --config_file "[$ours]" "${cached[@]}" --check true --prune true
fi

train() {
  bundle training "${cached[@]}" --config_file "$@"
}

if [ ! -f models/demo/.trained ]; then
  say "Training Patch-CLIP on boxes"
  train "[$ours]" --tracking configs/tracking_mlflow.json
  touch models/demo/.trained
fi

# with its network all is there that is planned; the detector trains on
without_boxes() {
  train "[$ours,'configs/image_labels_only.json']"
  touch models/image_labels_only/.trained
  bundle freezing --cache_rate 0 --config_file "[$compared]"  # a plan that fits is kept, another refused at once
}

detector() {
  train "[$ours,'configs/detector.json']"
  bundle evaluating --replicates 0 --gallery 0 --config_file "[$ours,'configs/detector.json','configs/evaluate.json']"
}

# what is stopped writes on while it saves
prefixed() {
  trap '' TERM
  exec sed -u "s/^/$1/"
}

# end what runs beside a training that failed, and wait until it has saved
stop() {
  local groups
  groups="$(jobs -p)"
  for group in $groups; do kill -- "-$group" || true; done
  for group in $groups; do while kill -0 -- "-$group"; do sleep 0.2; done; done
} 2> /dev/null

# two trainings with half of the cores each end sooner than one after the other with all
if [ ${#rivals[@]} -gt 0 ]; then
  say "Training for comparison, side by side with $(nproc) cores: ${rivals[*]}"
  threads=$(($(nproc) / ${#rivals[@]}))
  set -m  # each in a process group of its own
  trap stop EXIT
  for rival in "${rivals[@]}"; do
    OMP_NUM_THREADS=$((threads > 0 ? threads : 1)) "$rival" > >(prefixed "$rival: ") 2>&1 &
  done
  for _ in "${rivals[@]}"; do wait -n; done
  set +m
  trap - EXIT
fi

if [ ! -f eval/demo/metrics.json ]; then
  say "Judging all methods on the test section, by the plan of the validation section"
  bundle evaluating --tracking configs/tracking_mlflow.json --config_file "[$compared]"
fi

if [ ! -f models/demo/models/model.pt ] || [ models/demo/plan.json -nt models/demo/models/model.pt ]; then
  say "Packaging models/demo as a self-contained bundle"
  "$PYTHON" -m scripts.package_bundle --config_file "[$ours]" --output models/demo
fi

if [ ! -f eval/demo/rg1/RG1_UNCR.json ]; then
  say "Looking at a real radiograph, RG1 of pydicom-data"
  "$PYTHON" -m scripts.copy_rg1 --output eval/demo/input
  bundle inferring --config_file models/demo/configs/inference.json --bundle_root "$root/models/demo" \
    --dataset_dir "$root/eval/demo/input" --output_dir "$root/eval/demo/rg1" --dicom true
fi

say "Done"
"$PYTHON" -m scripts.show_metrics eval/demo/metrics.json
"$PYTHON" -m scripts.show_comparison eval/demo
echo "Report: eval/demo/report.html   Overlay of the real radiograph: eval/demo/rg1/RG1_UNCR_overlay.png"
