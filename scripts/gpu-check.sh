#!/usr/bin/env bash
# Runs all that needs an NVIDIA GPU: plans of the pulled models compiled for it, detections compared with the CPU's,
# speed by batch size with and without CUDA graphs, reloads. Results go to standard output, and belong in docs/gpu.md
# with the name of the GPU.
#   bash scripts/gpu-check.sh [RELOADS]      default 1000
# TENSORRT_LIBRARY_DIR names the folder of TensorRT's libraries; without it, the system's are taken, or TensorRT for RTX
# is fetched, which does not run on every GPU (docs/gpu.md).
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

reloads=${1:-1000}
mkdir -p "$cache"
command -v nvidia-smi >/dev/null || die "there is no nvidia-smi: this needs a machine with an NVIDIA GPU and its driver"
nvidia-smi --query-gpu=index,name,compute_cap,driver_version,memory.total --format=csv ||
    die "nvidia-smi shows no GPU"
need_rust
need_packages "${build_packages[@]}" ca-certificates
need_fetchers
fetch_samples
cd "$root"
bash scripts/tensorrt-headers.sh
bash scripts/nvrtc.sh
export NVRTC_LIBRARY_DIR=${NVRTC_LIBRARY_DIR:-$cache/nvrtc}
if [ -z "${TENSORRT_LIBRARY_DIR:-}" ] && ! ldconfig -p | grep -q 'libnvinfer\.so'; then
    bash scripts/tensorrt-rtx.sh
    export TENSORRT_LIBRARY_DIR=$cache/tensorrt-rtx
fi
cargo build --release --locked --features tensorrt --bin centerx
centerx=${CARGO_TARGET_DIR:-$root/target}/release/centerx
pull_default "$centerx"
"$centerx" model pull face
export CENTERX_LOG=${CENTERX_LOG:-warn}

# What fails is told at the end, so that the rest is measured all the same.
failed=()
# check WORDS COMMAND...: runs a part.
check() {
    local words=$1
    shift
    say "$words"
    "$@" || failed+=("$words")
}

video=$CENTERX_TEST_DATA/vtest.avi
check "coco as it is: parity and speed" \
    "$centerx" bench gpu --model coco --parity "$video" --min-iou 0.99 --max-score 0.01
check "coco in float16: parity and speed" bash -c "
    '$centerx' model quantize coco --precision fp16 -o '$cache/coco-fp16.onnx' --force &&
    '$centerx' bench gpu --model '$cache/coco-fp16.onnx' --parity '$video' --min-iou 0.99 --max-score 0.01"
check "coco in int8: speed" bash -c "
    '$centerx' model quantize coco --precision int8 --calibrate '$CENTERX_TEST_DATA' -o '$cache/coco-int8.onnx' --force &&
    '$centerx' bench gpu --model '$cache/coco-int8.onnx'"
# A level of 255 more or less in the input moves a score by more than float16 does.
check "coco with preprocessing on the GPU: parity" \
    "$centerx" bench gpu --model coco --preprocess gpu --parity "$video" --min-iou 0.95 --max-score 0.05 --batches 8
check "$reloads reloads" "$centerx" bench gpu --model coco --batches 8 --seconds 1 --reloads "$reloads"
check "a second start from the plan cache" bash -c "
    time timeout 60 '$centerx' serve --engine tensorrt --check"
check "memory, streams, graphs, the kernel and lost contexts, without TensorRT" \
    cargo test --locked --features tensorrt --test gpu_hardware -- --test-threads=1 --nocapture
check "the tests that find a GPU use it" cargo test --locked --features tensorrt --test tensorrt --test gpu_preprocess --test gpu_engine

[ ${#failed[@]} -eq 0 ] || die "failed: $(printf '%s; ' "${failed[@]}")"
say "all that needs a GPU holds on this one"
