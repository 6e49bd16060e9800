#!/usr/bin/env bash
# Builds the Debian package, target/debian/centerx_*.deb, for the release of Debian that this runs on.
#   bash scripts/package.sh
# shellcheck source=scripts/lib.sh
source "$(dirname "$0")/lib.sh"

version=3.8.0
tools=$cache/cargo-deb-$version
need_rust
need_packages "${build_packages[@]}" dpkg-dev help2man lintian xz-utils
if [ ! -x "$tools/bin/cargo-deb" ]; then
    say "building cargo-deb $version (once, some minutes)"
    # Without features it has Debian's own xz compress the package.
    cargo install -q --locked --no-default-features --root "$tools" "cargo-deb@$version"
fi

cd "$root"
target=${CARGO_TARGET_DIR:-$root/target}
say "building"
cargo build --locked --release --bin centerx
say "packing"
# The environment would show in the manual.
env -u CENTERX_HOME -u CENTERX_DATA_DIR help2man --no-info --name "streaming video detection server" \
    --output "$target/release/centerx.1" "$target/release/centerx"
gzip --force --best --no-name "$target/release/centerx.1"
# What Debian wants to know of a version; what changed is told by CHANGELOG.md.
number=$("$target/release/centerx" --version | cut -d' ' -f2)
maintainer=$(sed -n 's/^maintainer = "\(.*\)"$/\1/p' Cargo.toml)
printf 'centerx (%s-1) unstable; urgency=medium\n\n  * Version %s, see CHANGELOG.md.\n\n -- %s  %s\n' \
    "$number" "$number" "$maintainer" "$(date --utc --rfc-email --reference=CHANGELOG.md)" >"$target/release/changelog.Debian"
package=$("$tools/bin/cargo-deb" --no-build | tail -n 1)
lintian --tag-display-limit 0 --fail-on error "$package"
dpkg-deb --info "$package"
say "$package"
