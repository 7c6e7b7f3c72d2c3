#!/bin/sh
# query-named-block-nodes kills the daemon while a stream is concluded and not dismissed.
# Right instead: the query is answered at all times.
# Seen on 10.0.2. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 base.qcow2 512k
qemu-img create -q -f qcow2 -b base.qcow2 -F qcow2 top.qcow2 512k
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"block-stream","arguments":{"auto-dismiss":false,"device":"top","job-id":"j2"}}
QMP
sleep 0.5
cat <<'QMP'
{"execute":"query-named-block-nodes"}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=base.qcow2,node-name=base \
  --blockdev backing=base,driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top
[ $? -lt 128 ]
