#!/bin/sh
# while a stream runs, whoever reads past the end of a layer directly below its target, a guest or another job, gets success and whatever was in the daemon's memory; a write of part of a cluster makes that lasting.
# Right instead: what lies past the end of a short layer reads as zeroes, before, during and after the stream.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 1M
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o cluster_size=4k mid.qcow2 2M
qemu-io -f qcow2 -c 'write -P 2 0 64k' -c 'write -P 2 1M 4k' mid.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 2M
qemu-io -r -f qcow2 -c 'read -P 0 1028k 32k' top.qcow2 | grep failed && exit 2
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"auto-finalize":false,"device":"mid","job-id":"j0"}}
{"execute":"block-export-add","arguments":{"id":"g0","node-name":"top","type":"nbd","writable":true}}
QMP
sleep 0.5; qemu-io -f raw -c 'write -P 3 60k 4k' -c 'write -P 3 1084k 4k' 'nbd+unix:///top?socket=nbd.sock' >/dev/null
sleep 0.5; qemu-io -r -f raw -c 'read -P 0 1028k 32k' 'nbd+unix:///top?socket=nbd.sock' >read.txt
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m --nbd-server addr.type=unix,addr.path=nbd.sock \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid.qcow2,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
! grep 'Pattern verification failed' read.txt
