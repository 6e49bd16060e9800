#!/bin/sh
# Copies files, the libraries that they need, and what Debian's package database says of both, into an empty root.
#   collect.sh ROOT FILE...
# For files.sh beside it. The notes under var/lib/dpkg/status.d are how scanners for vulnerabilities learn what is in an image
# without a package manager.
set -eu

root=$1
shift
list=$(mktemp)

ldd "$@" >"$list.ldd"
if grep 'not found' "$list.ldd" >&2; then exit 1; fi
# Paths without links among their folders: /lib is one.
{
    printf '%s\n' "$@"
    sed -n 's/.*=> \(\/[^ ]*\) (.*/\1/p; s/^\t\(\/[^ ]*\) (.*/\1/p' "$list.ldd"
} | sort -u | while read -r file; do
    echo "$(realpath "$(dirname "$file")")/$(basename "$file")"
done | sed "s:^/::" | sort -u >"$list"
# Each under the name that it is asked for, and not where links of versions and alternatives lead.
tar --create --dereference --directory=/ --files-from="$list" | tar --extract --directory="$root"

# dpkg knows a file by the path it was packed with, which may begin with the link /lib.
mkdir -p "$root/var/lib/dpkg/status.d"
while read -r file; do
    real=$(realpath "/$file")
    dpkg-query --search "$real" 2>/dev/null || dpkg-query --search "${real#/usr}" 2>/dev/null || true
done <"$list" | cut -d: -f1 | sort -u | while read -r package; do
    dpkg-query --status "$package" >"$root/var/lib/dpkg/status.d/$package"
    # The terms under which it is passed on; slim images leave them out.
    mkdir -p "$root/usr/share/doc/$package"
    cp "/usr/share/doc/$package/copyright" "$root/usr/share/doc/$package/" 2>/dev/null || true
done
rm "$list" "$list.ldd"
