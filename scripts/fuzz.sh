#!/usr/bin/env bash
# Fuzzes the parsers of foreign bytes: one target or all of them, one after the other, each for so many minutes.
#   bash scripts/fuzz.sh [TARGET|all] [MINUTES]
# What is found lies in artifacts/TARGET, the corpus in corpus/TARGET, both under tests/fuzz, or training/fuzz for the
# trainer's.
set -euo pipefail
cd "$(dirname "$0")/.."

targets=(settings camera_url store request frame picture onnx import tfjs annotations plan labels)
target=${1:-all}
minutes=${2:-30}
if [ "$target" != all ]; then
  [[ " ${targets[*]} " == *" $target "* ]] || { echo "no target $target; there are: ${targets[*]}" >&2; exit 2; }
  targets=("$target")
fi
command -v cargo-fuzz > /dev/null || { echo "run: cargo install cargo-fuzz" >&2; exit 3; }

# Lets a stable compiler take the sanitizer's flags; a nightly one does not need it.
export RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
failed=0
for name in "${targets[@]}"; do
  fuzz=tests/fuzz
  [ "$name" != labels ] || fuzz=training/fuzz
  build=(--fuzz-dir "$fuzz" --codegen-units 16)
  mkdir -p "$fuzz/corpus/$name"
  cp -n "$fuzz/seeds/$name"/* "$fuzz/corpus/$name/" 2> /dev/null || true
  options=(-max_total_time=$((minutes * 60)) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1)
  case $name in
    # Whole documents, and bytes that matter in the middle.
    settings | store | plan) options+=(-max_len=4096) ;;
    camera_url) options+=(-max_len=512) ;;
    frame | request | labels) options+=(-max_len=2048) ;;
  esac
  dictionary=$fuzz/seeds/$name.dict
  [ -f "$dictionary" ] && options+=("-dict=$dictionary")
  echo "==> $name, $minutes min"
  nice -n 19 cargo fuzz run "${build[@]}" "$name" -- "${options[@]}" || failed=1
  # Only what reaches something new is worth keeping.
  [ $failed = 1 ] || nice -n 19 cargo fuzz cmin "${build[@]}" "$name" > /dev/null 2>&1 || true
done
exit $failed
