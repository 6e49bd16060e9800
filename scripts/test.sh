#!/usr/bin/env bash
# Installs what is missing and runs every test. Arguments go to `cargo test`.
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

mkdir -p "$cache"
need_rust
need_packages "${build_packages[@]}" ca-certificates chromium fonts-dejavu-core prometheus python3-venv valgrind
need_fetchers
fetch_samples
fetch_clips
# TensorRT's headers, its libraries for RTX and CUDA's compiler, which work without a GPU as far as the tests go.
bash "$root/scripts/tensorrt-headers.sh"
bash "$root/scripts/tensorrt-rtx.sh"
bash "$root/scripts/nvrtc.sh"

# The foreign programs of the tests: Python's gRPC, COCO's own metric, ONNX's own checker, Grafana's own schema,
# OpenCV's reader of Caffe models.
requirements=("$root"/{docs/clients/python,tests/support/python,docker/grafana/source,training/tests/python}/requirements.txt)
if ! cat "${requirements[@]}" | cmp -s - "$cache/venv/requirements.txt"; then
    say "making a Python environment for the foreign clients"
    rm -rf "$cache/venv"
    python3 -m venv "$cache/venv"
    "$cache/venv/bin/python" -m pip install -q "${requirements[@]/#/--requirement=}" >"$(log venv)" 2>&1 ||
        die "the Python packages cannot be installed; is there a network? See $(log venv)"
    cat "${requirements[@]}" >"$cache/venv/requirements.txt"
fi
export CENTERX_TEST_PYTHON=$cache/venv/bin/python

# What drives Chromium in the tests of the live page, and what looks for obstacles to screen readers there.
browser_packages=(playwright-core@1.64.1 axe-core@4.14.1)
if [ "$(cat "$cache/browser/packages" 2>/dev/null)" != "${browser_packages[*]}" ]; then
    say "fetching ${browser_packages[*]}"
    mkdir -p "$cache/browser"
    npm install --prefix "$cache/browser" --no-save --no-package-lock --no-audit --no-fund "${browser_packages[@]}" \
        >"$(log browser)" 2>&1 || die "the npm packages cannot be installed; is there a network? See $(log browser)"
    echo "${browser_packages[*]}" >"$cache/browser/packages"
fi
export CENTERX_TEST_BROWSER=$cache/browser

cd "$root"
say "building (several minutes the first time)"
# The tests bring the binary along. Building it by itself first would build half of the dependencies twice.
cargo test --locked --workspace --no-run
centerx=${CARGO_TARGET_DIR:-$root/target}/debug/centerx
pull_default "$centerx"
# What they are made of stays, and the tests make more out of it.
"$centerx" model pull pose
"$centerx" model pull face

say "testing"
cargo test --locked --workspace "$@"

# What has arguments is after something else.
if [ $# -eq 0 ]; then
    say "testing what is built on demand: NVIDIA GPUs, traces"
    # The whole workspace here, too: without its other member dependencies have other features, and are all built anew.
    cargo test --locked --workspace --features tensorrt,otlp --lib -- engine:: app:: cli:: model::plan otlp:: trace::
    say "who owns what of TensorRT, under valgrind"
    host=$(rustc -vV | sed -n 's/^host: //p')
    valgrind="'valgrind','--quiet','--error-exitcode=9','--leak-check=full'"
    valgrind+=",'--errors-for-leak-kinds=definite','--show-leak-kinds=definite'"
    cargo test --locked --workspace --features tensorrt,otlp --lib --config "target.$host.runner=[$valgrind]" -- --test-threads=1 \
        engine::tensorrt::tests engine::tensorrt::log
    cargo test --locked --workspace --features tensorrt,otlp --test tensorrt --test gpu_preprocess --test gpu_engine
    cargo test --locked --workspace --features tensorrt,otlp --test beside traces::
fi
