#!/usr/bin/env bash
# Measures what needs an NVIDIA GPU, within some ten minutes on one card, what matters most first; goes on after a failure.
#   benchmarks/gpu.sh OUT [DATASET]
# OUT gets the card's name, the logs, the figures, and with DATASET, the output of preprocess by recipe catalog, a generator.
set -uo pipefail
out=$(mkdir -p "$1" && cd "$1" && pwd) dataset=${2:+$(cd "$2" && pwd)}
cd "$(dirname "$0")/.."
python=${PYTHON:-.venv/bin/python}
export COLORIZE_WORKSPACE=$out/workspace

part() {  # part NAME SECONDS COMMAND...
  local name=$1 limit=$2 began=$SECONDS
  shift 2
  timeout "$limit" "$@" > "$out/$name.log" 2>&1
  echo "$name: status $?, $((SECONDS - began)) s" | tee -a "$out/parts.txt"
}

nvidia-smi --query-gpu=name,memory.total,driver_version --format=csv,noheader | tee "$out/card.txt" || exit 1
part tests 150 "$python" -m pytest -x tests/model/training tests/components/train/test_torchrun.py
part train_step 150 "$python" -m benchmarks train_step --out "$out"
part reading 60 "$python" -m benchmarks reading --result "$out/reading.json"
if [ -n "$dataset" ]; then
  part train 300 "$python" -m pipeline.cli.main step train --recipe catalog --dataset "$dataset" --out "$out/generator"
fi
