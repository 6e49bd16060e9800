#!/usr/bin/env bash
# Fetches TensorRT-RTX into .cache/tensorrt-rtx, which builds plans without a GPU, and for a test of what happens
# without a driver the lean runtime of TensorRT into .cache/tensorrt-lean. Both are NVIDIA's own, under its licence
# (LICENSE.txt beside them): for your own use, not for passing on.
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

# fetch FOLDER PACKAGE VERSION WHEEL_SUM: the libraries of a Python wheel.
fetch() {
    local folder=$cache/$1 package=$2 version=$3 sum=$4
    [ "$(cat "$folder/wheel.sha256" 2>/dev/null || true)" = "$sum" ] && return
    say "fetching $package $version"
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3 python3-pip
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    python3 -m pip download -q --no-deps --only-binary=:all: --platform manylinux_2_28_x86_64 -d "$scratch" "$package==$version" \
        >"$(log "$1")" 2>&1 || die "the package $package cannot be downloaded; is there a network? See $(log "$1")"
    local wheel
    wheel=$(echo "$scratch"/*.whl)
    check_sum "$wheel" "$sum" || die "$package $version has another checksum than expected"
    python3 -m zipfile -e "$wheel" "$scratch/unpacked"
    rm -rf "$folder"
    mkdir "$folder"
    mv "$scratch"/unpacked/*_libs/*.so.* "$scratch"/unpacked/*.dist-info/licenses/LICENSE.txt "$folder/"
    # Last, so that what is cut short is fetched again.
    echo "$sum" >"$folder/wheel.sha256"
    rm -rf "$scratch"
}

fetch tensorrt-rtx tensorrt-rtx-cu12-libs 1.7.1.116 68c2615fef1556e7721235682f460f3d78ab89df320a3f34a416367b144817a8
fetch tensorrt-lean tensorrt-lean-cu13-libs 11.4.0.106 e022b8d0e21f19258657aec6760e1de8b454ed176f76217e3f7ec2036c5a9410
