#!/bin/sh
# query-block-jobs reports a mirror's offset past its len, where its granularity is finer than the clusters of the target.
# Right instead: the offset never passes the len.
# Seen on 10.0.2, 10.0.13, 11.1.3. Ends with 1 if the defect shows.
cd "$(mktemp -d)" || exit 2
qemu-img create -q -f qcow2 -o cluster_size=4k top.qcow2 1M
qemu-io -f qcow2 -c 'write -P 1 0 4k' top.qcow2 >/dev/null
qemu-img create -q -f qcow2 -b top.qcow2 -F qcow2 target.qcow2 1M
{ cat <<'QMP'
{"execute":"qmp_capabilities"}
{"execute":"blockdev-mirror","arguments":{"device":"top","granularity":512,"job-id":"j0","speed":1,"sync":"top","target":"target"}}
QMP
sleep 0.5
cat <<'QMP'
{"execute":"query-block-jobs"}
QMP
sleep 0.5; echo '{"execute":"quit"}'; } |
qemu-storage-daemon --chardev stdio,id=m --monitor m \
  --blockdev driver=qcow2,file.driver=file,file.filename=top.qcow2,node-name=top \
  --blockdev '{"backing":null,"driver":"qcow2","file":{"driver":"file","filename":"target.qcow2"},"node-name":"target"}' | tee said.txt
! grep -e '"len": 4096, "offset": 65536' said.txt
