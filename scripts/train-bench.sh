#!/usr/bin/env bash
# Seconds a training step and peak memory of `centerx-train` and of PyTorch on the CPU: the same network (CenterNet of a
# ResNet-18 with transposed convolutions), input, batch and threads, in turns. Results go to standard output.
#   bash scripts/train-bench.sh [WIDTH [INPUT [BATCH [THREADS [STEPS]]]]]     default 0.25 192 8 2 20
# PyTorch comes into .cache/torch, its build for CPUs where that can be reached (about 200 MB), otherwise the one of PyPI
# (several GB, most of them for GPUs, which stay unused).
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

width=${1:-0.25}
input=${2:-192}
batch=${3:-8}
threads=${4:-2}
steps=${5:-20}
turns=3
torch=torch==2.15.0

mkdir -p "$cache"
need_rust
need_packages "${build_packages[@]}" ca-certificates python3-venv
if [ "$(cat "$cache/torch/installed" 2>/dev/null)" != "$torch" ]; then
    say "installing $torch"
    rm -rf "$cache/torch"
    python3 -m venv "$cache/torch"
    pip=("$cache/torch/bin/python" -m pip install -q)
    "${pip[@]}" --retries 0 --timeout 20 --index-url https://download.pytorch.org/whl/cpu "$torch" >"$(log torch)" 2>&1 ||
        "${pip[@]}" "$torch" >>"$(log torch)" 2>&1 ||
        die "PyTorch cannot be installed; is there a network, and space? See $(log torch)"
    echo "$torch" >"$cache/torch/installed"
fi
cd "$root"
say "building (several minutes the first time)"
cargo build --release --locked --package centerx-train
trainer=${CARGO_TARGET_DIR:-$root/target}/release/centerx-train
export RAYON_NUM_THREADS=$threads OMP_NUM_THREADS=$threads

results=$(mktemp "$cache/train-bench.XXXXXX")
trap 'rm -f "$results"' EXIT
for turn in $(seq "$turns"); do
    say "turn $turn of $turns: centerx-train, then PyTorch"
    "$trainer" bench --backbone resnet18 --neck transposed --width "$width" --classes 2 --head-channels 64 \
        --input "${input}x$input" --batch "$batch" --threads "$threads" --steps "$steps" | tee -a "$results"
    "$cache/torch/bin/python" training/bench/torch_step.py --width "$width" --classes 2 --head-channels 64 \
        --input "$input" "$input" --batch "$batch" --threads "$threads" --steps "$steps" | tee -a "$results"
done
"$cache/torch/bin/python" training/bench/compare.py "$results"
