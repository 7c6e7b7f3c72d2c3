#!/usr/bin/env bash
# Puts QEMU's block tools of another Debian suite into a folder, with the libraries they need, and installs nothing:
#
#   tools/qemu-of-suite.sh SUITE FOLDER        SUITE: sid, trixie, ...
#
# FOLDER/run then has qemu-storage-daemon, qemu-img, qemu-io and qemu-nbd, each a script that becomes the program, so that the
# number of the process is the program's. Needs apt (no rights of root, no change of its settings) and some 100 MB.
# `midstream fuzz --target qemu:FOLDER/run/qemu-storage-daemon` drives it; scripts find it with PATH=FOLDER/run:$PATH.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 2; }
suite=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
mkdir -p "$folder"/packages "$folder"/root "$folder"/run "$folder"/apt/lists/partial "$folder"/apt/cache/archives/partial "$folder"/apt/parts
: >"$folder/apt/status"

mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -E '^(URIs:|deb )' | grep -oE 'https?://[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
[ -n "$mirror" ] || { echo "apt's sources name no mirror of Debian" >&2; exit 1; }
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/apt/sources.list"

# An apt with lists, a cache and a state of its own, which knows of no installed package.
own_apt() {
    apt-get -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts="$folder/apt/parts" \
        -o Dir::State::Lists="$folder/apt/lists" -o Dir::State::status="$folder/apt/status" \
        -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}
own_apt update -qq
mapfile -t packages < <(
    own_apt install --simulate --yes --no-install-recommends qemu-utils qemu-system-common | awk '/^Inst/ { print $2 }'
)
(cd "$folder/packages" && own_apt download "${packages[@]}" >/dev/null)
for package in "$folder"/packages/*.deb; do dpkg --extract "$package" "$folder/root"; done

loader=$(find "$folder/root" -name 'ld-linux-*.so.*' -type f | head -n 1)
libraries=$(find "$folder/root" -type d -path '*/lib/*-linux-gnu' | paste -sd:)
for tool in qemu-storage-daemon qemu-img qemu-io qemu-nbd; do
    program=$folder/root/usr/bin/$tool
    [ -f "$program" ] || continue
    printf '#!/bin/sh\nexec %s --library-path %s --argv0 %s %s "$@"\n' "$loader" "$libraries" "$tool" "$program" \
        >"$folder/run/$tool"
    chmod +x "$folder/run/$tool"
done
"$folder/run/qemu-storage-daemon" --version | head -n 1
