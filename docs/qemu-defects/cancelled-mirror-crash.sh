#!/bin/sh
# a mirror with `copy-mode: write-blocking` that is cancelled while a guest's write is on its way to the target changes memory that it has freed, which ends the daemon soon after.
# Right instead: what guests' writes still need stays until the last of them is done.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 top.qcow2 65536M
qemu-img create -q -f qcow2 target.qcow2 65536M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"object-add","arguments":{"id":"slow","limits":{"iops-write":1},"qom-type":"throttle-group"}}
{"execute":"blockdev-add","arguments":{"driver":"throttle","file":"target","node-name":"slow","throttle-group":"slow"}}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true}}
{"execute":"blockdev-mirror","arguments":{"copy-mode":"write-blocking","device":"top","granularity":512,"job-id":"j0","sync":"none","target":"slow"}}
QMP
sleep 0.5; qemu-io -f raw -c 'aio_write 0 4k' -c 'aio_write 64k 4k' -c 'aio_write 128k 4k' -c 'sleep 20000' 'nbd+unix:///top?socket=nbd.sock' >/dev/null &
sleep 0.5
cat <<'QMP'
{"execute":"job-cancel","arguments":{"id":"j0"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev driver=qcow2,file.driver=file,file.filename=target.qcow2,node-name=target
[ $? -lt 128 ]
