#!/bin/sh
# job-finalize of a stream or a backup while another job over the same chain has just ended kills the daemon by an assertion about drained nodes.
# Right instead: the job is finalized.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 128k
qemu-io -f qcow2 -c 'write -P 1 0 128k' base.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 -o cluster_size=16k mid.qcow2 128k
qemu-io -f qcow2 -c 'write -P 2 16k 16k' mid.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b mid.qcow2 -F qcow2 top.qcow2 128k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"auto-finalize":false,"base-node":"mid","device":"top","job-id":"j1"}}
{"execute":"block-stream","arguments":{"device":"mid","job-id":"j2","speed":1}}
QMP
sleep 0.5
cat <<'QMP'
{"execute":"block-job-set-speed","arguments":{"device":"j2","speed":0}}
{"execute":"job-finalize","arguments":{"id":"j1"}}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=mid.qcow2,node-name=mid \
  --blockdev backing=mid,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 128 ]
