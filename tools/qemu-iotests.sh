#!/usr/bin/env bash
# Puts QEMU's own package for tests in Python (tests/qemu-iotests and python/qemu of its source) into a folder:
#
#   tools/qemu-iotests.sh SUITE FOLDER        SUITE: trixie, sid, ...
#
# It is only run, with `midstream export --as iotest --iotests FOLDER/tests/qemu-iotests`; nothing of it is part of midstream.
# Needs apt (no rights of root, no change of its settings) and some 50 MB. Whoever has QEMU's source has it already.
set -euo pipefail

[ $# -eq 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
suite=$1
mkdir -p "$2"
folder=$(cd "$2" && pwd)
mkdir -p "$folder"/apt/lists/partial "$folder"/apt/cache/archives/partial "$folder"/apt/parts
: >"$folder/apt/status"

mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    grep -E '^(URIs:|deb )' | grep -oE 'https?://[^ ]*/debian/?( |$)' | head -n 1 | tr -d ' ' || true)
[ -n "$mirror" ] || { echo "apt's sources name no mirror of Debian" >&2; exit 1; }
echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $suite main" >"$folder/apt/sources.list"

# An apt with lists, a cache and a state of its own.
own_apt() {
    apt-get -o Dir::Etc::SourceList="$folder/apt/sources.list" -o Dir::Etc::SourceParts="$folder/apt/parts" \
        -o Dir::State::Lists="$folder/apt/lists" -o Dir::State::status="$folder/apt/status" \
        -o Dir::Cache="$folder/apt/cache" -o APT::Sandbox::User="$(id -un)" "$@"
}
own_apt update -qq
(cd "$folder/apt" && own_apt source --download-only --tar-only -qq qemu)
tar --extract --file "$(find "$folder/apt" -name 'qemu_*.orig.tar.*' | head -n 1)" --directory "$folder" --strip-components 1 \
    --wildcards 'qemu-*/tests/qemu-iotests/*.py' 'qemu-*/python/qemu/*'
ls "$folder/tests/qemu-iotests/iotests.py"
