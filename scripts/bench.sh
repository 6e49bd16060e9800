#!/usr/bin/env bash
# Measures this machine: the engine, then real RTSP cameras end to end. Results go to standard output.
#   bash scripts/bench.sh [SECONDS]      seconds a phase, default 30; use 300 to see that memory stays flat
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

seconds=${1:-30}
mkdir -p "$cache"
need_rust
need_packages "${build_packages[@]}" ca-certificates
need_fetchers
fetch_samples
cd "$root"
cargo build --release --locked --bin centerx --example rtsp-camera
target=${CARGO_TARGET_DIR:-$root/target}
centerx=$target/release/centerx
pull_default "$centerx"
export CENTERX_LOG=${CENTERX_LOG:-warn}

processes=()
trap 'kill "${processes[@]}" 2>/dev/null || true' EXIT

# cameras NAME COUNT [ARGUMENT...]: plays the sample as COUNT cameras; leaves their URLs in `urls`, the process
# in `player`.
cameras() {
    local name=$1 count=$2 number mounts=()
    shift 2
    for number in $(seq 1 "$count"); do mounts+=("camera$number=$CENTERX_TEST_DATA/vtest.avi"); done
    "$target/release/examples/rtsp-camera" --listen 127.0.0.1:0 --cache "$cache/rtsp" "$@" "${mounts[@]}" \
        >"$cache/bench-$name.out" &
    player=$!
    processes+=("$player")
    grep -q -m 1 "camera$count\$" < <(tail -n +1 -F --pid=$player "$cache/bench-$name.out" 2>/dev/null) ||
        die "the cameras did not start"
    mapfile -t urls < <(grep -o 'rtsp://[^ ]*' "$cache/bench-$name.out")
}

# pipeline COUNT [ARGUMENT...]: the whole server on the first COUNT cameras.
pipeline() {
    local count=$1 arguments=() url
    shift
    for url in "${urls[@]:0:$count}"; do arguments+=(--camera "$url"); done
    "$centerx" bench pipeline --camera-pid "$player" --seconds "$seconds" "${arguments[@]}" "$@"
}

say "the engine against the bare runtime"
"$centerx" bench engine
say "the decode in the graph"
"$centerx" model pull coco@512x384
"$centerx" bench decode
"$centerx" bench decode --model coco@512x384
cameras usual 16
for count in 1 2 3 4; do
    say "$count cameras at 768x576, 10 frames/s"
    pipeline "$count"
done
say "overload: 16 cameras at 768x576, 10 frames/s"
pipeline 16
cameras fast 4 --fps 30
say "4 cameras at 768x576, 30 frames/s, and a plain loop of one that reads a file as fast as it can"
pipeline 4 --plain "$CENTERX_TEST_DATA/vtest.avi"
