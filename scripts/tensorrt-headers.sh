#!/usr/bin/env bash
# Fetches TensorRT's public headers into .cache/tensorrt-headers, where the build of feature `tensorrt` finds them.
# They come out of the crates.io package trtx-sys, by cargo.
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

version=0.9.1
folders=(TRT-Enterprise-11.4 TRT-RTX-1.7)
headers_sum=693bb814a7e9b9d09c5c5f823fb596c08b71b9732b89564468c2163c4310985f
target=$cache/tensorrt-headers

# One number over all headers: their names and contents.
sum_of() {
    (cd "$1" && find "${folders[@]}" -type f -print0 2>/dev/null | LC_ALL=C sort -z | xargs -0r sha256sum | sha256sum | cut -d' ' -f1)
}

[ -d "$target" ] && [ "$(sum_of "$target")" = $headers_sum ] && exit

need_rust
say "fetching TensorRT's headers (Rust package trtx-sys $version)"
mkdir -p "$cache"
scratch=$(mktemp -d "$cache/fetch.XXXXXX")
trap 'rm -rf "$scratch"' EXIT
mkdir "$scratch/src"
touch "$scratch/src/lib.rs"
cat >"$scratch/Cargo.toml" <<TOML
[package]
name = "headers"
version = "0.0.0"
edition = "2024"
[dependencies]
trtx-sys = "=$version"
[workspace]
TOML
cargo vendor --manifest-path "$scratch/Cargo.toml" "$scratch/vendor" >"$(log tensorrt-headers)" 2>&1 ||
    die "the package trtx-sys cannot be fetched; is there a network? See $(log tensorrt-headers)"
fetched=$scratch/vendor/trtx-sys/TensorRT-Headers
[ "$(sum_of "$fetched")" = $headers_sum ] || die "the headers of this trtx-sys are not the ones expected"
rm -rf "$target"
mkdir "$target"
cp -r "${folders[@]/#/$fetched/}" "$target/"
