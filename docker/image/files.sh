#!/bin/sh
# Lays out the files of the image in a folder: all that the server needs to run, from the machine this runs on.
#   files.sh ROOT
# For docker/Dockerfile; runs on Debian with the packages installed that are named there, the programs in /usr/bin, and
# models and runtime in /usr/share/centerx/home.
set -eu

root=$1
libraries=$(dirname "$(ldconfig -p | sed -n 's/.*=> //p' | grep -m 1 'libgstreamer-1.0')")

# What pipelines are made of: sources, containers, parsers and decoders; and what the demo's camera encodes with.
plugins="coreelements app playback typefindfunctions videoconvertscale videorate videotestsrc
    rtsp rtp rtpmanager udp tcp srtp soup multipart hls video4linux2
    avi flv isomp4 matroska mpegtsdemux audioparsers videoparsersbad jpegformat
    libav jpeg png vpx x264"

# Plugins, what they open, TLS for them and the runtime are named by no program until it runs.
set -- /usr/bin/centerx /usr/bin/rtsp-camera /usr/bin/gst-inspect-1.0 /usr/share/centerx/home/runtime/*/libonnxruntime.so.*
for plugin in $plugins; do
    set -- "$@" "$libraries/gstreamer-1.0/libgst$plugin.so"
done
set -- "$@" "$libraries/gstreamer1.0/gstreamer-1.0/gst-plugin-scanner" "$libraries/gio/modules/libgiognutls.so"
for name in libsoup-3.0.so.0 libsoup-2.4.so.1; do
    [ ! -e "$libraries/$name" ] || set -- "$@" "$libraries/$name"
done

mkdir -p "$root/usr/bin" "$root/usr/lib" "$root/usr/lib64" "$root/usr/sbin" "$root/etc/ssl/certs" /empty
for name in bin lib lib64 sbin; do ln -sfn "usr/$name" "$root/$name"; done
sh "$(dirname "$0")/collect.sh" "$root" "$@"
# For the libraries behind it only: the demo's image adds it.
rm "$root/usr/bin/rtsp-camera"

cp /usr/lib/os-release "$root/usr/lib/"
ln -sf ../usr/lib/os-release "$root/etc/os-release"
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/"
echo "hosts: files dns" >"$root/etc/nsswitch.conf"
echo "centerx:x:10001:10001::/var/lib/centerx:/nonexistent" >"$root/etc/passwd"
echo "centerx:x:10001:" >"$root/etc/group"
mkdir -p "$root/var/lib/centerx" "$root/tmp"
chmod 1777 "$root/tmp"
cp -r /usr/share/centerx "$root/usr/share/"

# Looks at every plugin, and fails if one cannot be loaded.
export GST_REGISTRY=/usr/share/centerx/gstreamer-registry.bin CENTERX_HOME=/usr/share/centerx/home ORT_DISABLE_TELEMETRY=1
chroot "$root" /usr/bin/gst-inspect-1.0 >"$root/tmp/plugins"
if ! grep '^Total count: .* plugins, ' "$root/tmp/plugins"; then
    echo "error: not every plugin can be loaded; see above" >&2
    exit 1
fi
rm "$root/tmp/plugins"
# Loads runtime and models.
chroot "$root" /usr/bin/centerx serve --check
