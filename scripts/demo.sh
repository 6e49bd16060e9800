#!/usr/bin/env bash
# Installs what is missing, builds, serves two cameras and shows what they see.
#   bash scripts/demo.sh          until Ctrl-C
#   bash scripts/demo.sh --once   ten seconds of detections, then exit code 0, or not 0 if there were none
#   bash scripts/demo.sh --monitor   as without, beside a Prometheus with the alerts
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

once= monitor=
case "${1:-}" in
"") ;;
--once) once=1 ;;
--monitor) monitor=1 ;;
*) die "unknown argument $1; there are --once and --monitor" ;;
esac
[ -z "$monitor" ] || command -v prometheus >/dev/null || die "Prometheus is missing: apt-get install prometheus"

mkdir -p "$cache"
need_rust
need_packages "${build_packages[@]}" ca-certificates
need_fetchers
fetch_samples
fetch_clips

say "building (several minutes the first time)"
cd "$root"
cargo build --release --locked --bin centerx --example rtsp-camera
target=${CARGO_TARGET_DIR:-$root/target}
centerx=$target/release/centerx
pull_default "$centerx"

processes=()
stop() {
    trap - EXIT
    # The server first: it drains while its cameras still play.
    for process in "${processes[@]}"; do
        kill "$process" 2>/dev/null || true
        wait "$process" 2>/dev/null || true
    done
}
trap stop EXIT
trap 'exit 130' INT TERM

# wait_for FILE PATTERN PROCESS: until the pattern stands in the file or the process is gone.
wait_for() {
    grep -q -m 1 "$2" < <(tail -n +1 -F --pid="$3" "$1" 2>/dev/null) || {
        cat "$1" >&2
        die "see above"
    }
}

say "starting a camera: vtest.avi as an RTSP stream"
"$target/release/examples/rtsp-camera" --listen 127.0.0.1:0 --cache "$cache/rtsp" \
    "yard=$CENTERX_TEST_DATA/vtest.avi" >"$cache/camera.out" 2>"$(log camera)" &
camera=$!
processes=("$camera")
wait_for "$cache/camera.out" 'rtsp://' "$camera"
url=$(grep -o -m 1 'rtsp://[^ ]*' "$cache/camera.out")

cat >"$cache/demo.toml" <<TOML
data_dir = "$cache/demo-data"

[grpc]
listen = "${CENTERX_DEMO_GRPC:-127.0.0.1:50051}"

[http]
listen = "${CENTERX_DEMO_HTTP:-127.0.0.1:8080}"

[[camera]]
id = "yard"
url = "$url"

[[camera]]
id = "bikes"
url = "$CENTERX_TEST_DATA/bikes.mp4"
loop = true
max_fps = 5
TOML

say "starting the server"
"$centerx" serve --config "$cache/demo.toml" 2>"$(log server)" &
server=$!
processes=("$server" "$camera")
wait_for "$(log server)" ' ready ' "$server"
grpc=$(sed -n 's/.* grpc=\([^ ]*\).*/\1/p' "$(log server)" | head -n 1)
http=$(sed -n 's/.* http=\([^ ]*\).*/\1/p' "$(log server)" | head -n 1)
cat >&2 <<TEXT
    gRPC        $grpc
    page        $http/
    metrics     $http/metrics
    health      $http/healthz  $http/readyz
    camera      $url
    server log  $(log server)
TEXT

if [ -n "$monitor" ]; then
    prometheus=${CENTERX_DEMO_PROMETHEUS:-127.0.0.1:9090}
    sed -e "s#centerx:8080#${http#http://}#" -e "s#rules/\*#$root/docker/prometheus/rules/*#" \
        docker/prometheus/prometheus.yml >"$cache/demo-prometheus.yml"
    prometheus --config.file="$cache/demo-prometheus.yml" --storage.tsdb.path="$cache/demo-tsdb" \
        --web.listen-address="$prometheus" 2>"$(log prometheus)" &
    processes+=("$!")
    echo "    alerts      http://$prometheus/alerts" >&2
fi

if [ -n "$once" ]; then
    say "ten seconds of detections"
    "$centerx" watch --server "http://$grpc" --seconds 10
    say "done"
else
    say "detections, until Ctrl-C"
    "$centerx" watch --server "http://$grpc"
fi
