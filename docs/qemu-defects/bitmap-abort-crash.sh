#!/bin/sh
# a transaction that enables or disables a dirty bitmap which does not exist ends the daemon with signal 11: undoing the action, it takes the bitmap for granted.
# Right instead: the transaction is refused, and nothing has happened.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"transaction","arguments":{"actions":[{"data":{"name":"b0","node":"base"},"type":"block-dirty-bitmap-enable"}]}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m
[ $? -lt 128 ]
