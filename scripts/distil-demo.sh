#!/usr/bin/env bash
# Distils two teachers into one small student, without a label, from real pictures: people in a courtyard, cyclists in
# a street, a face in a car. Shows how well it agrees with them on frames it never saw, and how much faster it is.
#   bash scripts/distil-demo.sh                one student of two teachers: 17 minutes on two cores after building
#   bash scripts/distil-demo.sh --table        the students of docs/training.md's table as well, one after the other
# CENTERX_DISTIL_STEPS (1500, 400 for the table's) makes it shorter.
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

table=
case "${1:-}" in
"") ;;
--table) table=1 ;;
*) die "unknown argument $1; there is --table" ;;
esac

mkdir -p "$cache"
need_rust
need_packages "${build_packages[@]}" ca-certificates
need_fetchers
fetch_samples
fetch_clips

say "building (ten minutes and more the first time)"
cd "$root"
cargo build --release --locked -p centerx-train -p centerx --bin centerx-train --bin centerx
target=${CARGO_TARGET_DIR:-$root/target}
centerx=$target/release/centerx
trainer=$target/release/centerx-train
pull_default "$centerx"
"$centerx" model pull face
folder=$cache/distil
mkdir -p "$folder"

pictures="
[[data]]
paths = [\"$CENTERX_TEST_DATA/vtest.avi\"]
every = 3

[[data]]
paths = [\"$CENTERX_TEST_DATA/bikes.mp4\"]
every = 2

[[data]]
paths = [\"$CENTERX_TEST_DATA/carphone_pristine.mp4\"]
every = 2
repeat = 2 # the only face in motion

[[data]]
paths = [\"$CENTERX_TEST_DATA/messi5.jpg\", \"$CENTERX_TEST_DATA/basketball1.png\", \"$CENTERX_TEST_DATA/home.jpg\"]
"

# recipe NAME BALANCE STEPS DATA TEACHER...: all are alike but for these.
recipe() {
    local name=$1 balance=$2 steps=$3 data=$4 teacher classes='"person", "car", "face"'
    shift 4
    [[ "$name" != one-* ]] || classes='"person", "car"'
    cat >"$folder/$name.toml" <<TOML
name = "$name"
classes = [$classes]
input = "320x256"
output = "$name"
hold-out = 0.15
balance = "$balance"
$data
[network]
backbone = "resnet18"
neck = "resize"
width = 0.25
head-channels = 32

[train]
steps = $steps
evaluate-every = $((steps / 4))
score = 0.25

[optimiser]
rate = 0.002

[augment]
variants = 2
scale = [0.85, 1.2] # cameras that do not move
mosaic = 0.0
TOML
    for teacher in "$@"; do
        printf '\n[[teacher]]\nmodel = "%s"\n' "$teacher" >>"$folder/$name.toml"
        # It has one face in six pictures to tell of.
        [ "$teacher" != face ] || echo 'weight = 0.25' >>"$folder/$name.toml"
    done
}

# train NAME: or what it came to the last time.
train() {
    if [ -f "$folder/$1.txt" ] && cmp -s "$folder/$1.toml" "$folder/$1.done"; then
        say "$1 was trained before, by the same recipe; without $folder/$1.done it is trained anew"
        return
    fi
    say "training $1; its folder is $folder/$1"
    "$trainer" train "$folder/$1.toml" --force >"$folder/$1.new"
    mv "$folder/$1.new" "$folder/$1.txt"
    cp "$folder/$1.toml" "$folder/$1.done"
}

# rate MODEL: pictures a second of one core.
rate() {
    "$centerx" --log warn bench engine --model "$1" --lanes 1 --rounds 3 --seconds 3 --json 2>/dev/null |
        sed -n 's/.*"with_letterbox_per_second":\([0-9.]*\).*/\1/p'
}

recipe two-teachers communism "${CENTERX_DISTIL_STEPS:-1500}" "$pictures" coco face
train two-teachers
student=$folder/two-teachers/two-teachers.onnx
say "the student against its teachers, on frames that it never saw"
cat "$folder/two-teachers.txt"
say "pictures a second of one core"
coco=$(rate coco) face=$(rate face) small=$(rate "$student")
awk -v c="$coco" -v f="$face" -v s="$small" 'BEGIN {
    both = 1 / (1 / c + 1 / f)
    printf "coco %.1f, face %.1f, both after each other %.1f; the student %.1f, which is %.1f times as fast\n", c, f, both, s, s / both
}'
say "what it sees: $folder/look.jpg"
"$centerx" --log warn detect --model "$student" "$CENTERX_TEST_DATA/messi5.jpg" --output "$folder/look.jpg"
echo "to serve it:  $centerx serve --model $student --camera yard=$CENTERX_TEST_DATA/vtest.avi" >&2

[ -n "$table" ] || exit 0
steps=${CENTERX_DISTIL_STEPS:-400}
for balance in communism static; do
    recipe "two-$balance" "$balance" "$steps" "$pictures" coco face
    recipe "one-$balance" "$balance" "$steps" "$pictures" coco
    recipe "labels-$balance" "$balance" "$steps" "
[[data]]
kind = \"coco\"
paths = [\"/\"]
annotations = \"labels.json\"
" # no teacher: it learns from what both found, as labels
    [ -f "$folder/labels.json" ] || "$trainer" label "$folder/two-teachers.toml" --labels "$folder/labels.json"
    for student in two one labels; do train "$student-$balance"; done
done
say "all of them against both teachers, on the same frames"
for student in {two,one,labels}-{communism,static}; do
    echo "$student: $("$trainer" evaluate "$folder/two-teachers.toml" --model "$folder/$student/$student.onnx" 2>/dev/null)"
done
