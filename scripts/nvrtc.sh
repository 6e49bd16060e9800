#!/usr/bin/env bash
# Fetches NVRTC, which compiles the GPU's preprocessing at run time, into .cache/nvrtc: for the tests, and for
# machines that have a driver but no CUDA toolkit. Prints the folder.
# It is NVIDIA's, under NVIDIA's licence, which is put beside it.
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

version=12.9.86
case "$(uname -sm)" in
"Linux x86_64") sum=210cf05005a447e29214e9ce50851e83fc5f4358df8b453155d5e1918094dcb4 ;;
"Linux aarch64") sum=096d4de6bda726415dfaf3198d4f5c522b8e70139c97feef5cd2ca6d4cd9cead ;;
*) die "NVIDIA makes no NVRTC for $(uname -sm)" ;;
esac

folder=$cache/nvrtc
# The sum of what was unpacked is written last, so that a folder with it is whole.
if [ "$(cat "$folder/sum" 2>/dev/null || true)" != "$sum" ]; then
    python3 -m pip --version >/dev/null 2>&1 || need_packages python3 python3-pip
    say "fetching NVRTC $version (Python package nvidia-cuda-nvrtc-cu12, 90 MB)"
    mkdir -p "$cache"
    scratch=$(mktemp -d "$cache/fetch.XXXXXX")
    trap 'rm -rf "$scratch"' EXIT
    python3 -m pip download -q --no-deps --only-binary=:all: -d "$scratch" "nvidia-cuda-nvrtc-cu12==$version" >"$(log nvrtc)" 2>&1 ||
        die "the package nvidia-cuda-nvrtc-cu12 cannot be downloaded; is there a network? See $(log nvrtc)"
    wheels=("$scratch"/*.whl)
    check_sum "${wheels[0]}" "$sum" || die "nvidia-cuda-nvrtc-cu12 $version has another checksum than expected"
    python3 -m zipfile -e "${wheels[0]}" "$scratch/unpacked"
    rm -rf "$folder"
    mkdir "$folder"
    mv "$scratch"/unpacked/nvidia/cuda_nvrtc/lib/libnvrtc{.so.12,-builtins.so.12.9} "$folder/"
    mv "$scratch"/unpacked/*.dist-info/licenses/License.txt "$folder/"
    echo "$sum" >"$folder/sum"
fi
echo "$folder"
