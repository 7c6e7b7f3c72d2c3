#!/usr/bin/env python3
# group: rw
#
# where nodes change threads, as when an export in an iothread is made or taken
# back while jobs run, the daemon waits in a drain for what can go on only
# afterwards: a command is never answered, or the export never goes.
# Right instead: the command is answered, the export goes when its client has
# gone, and the jobs run on.
# Seen on 10.0.2, 10.0.13. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
target = os.path.join(iotests.test_dir, 'target.qcow2')
target2 = os.path.join(iotests.test_dir, 'target2.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


class TestIothreadDrainHang(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2',
            '-o', 'cluster_size=512', top, '512k')
        qemu_io('-f', 'qcow2', '-c', 'write -P 0 430k 43k', top)
        qemu_img_create('-f', 'qcow2', target, '512k')
        qemu_img_create('-f', 'qcow2', target2, '512k')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(top)
        os.remove(target)
        os.remove(target2)

    def test_iothread_drain_hang(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=file,'
            f'file.filename={top},node-name=top',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={target},'
            'node-name=target',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={target2},'
            'node-name=target2',
            qmp=True)
        self.qsd.cmd('object-add', {'id': 'io0', 'qom-type': 'iothread'})
        self.qsd.cmd('transaction', {'actions': [{'data': {
            'auto-finalize': False, 'device': 'top', 'job-id': 'j1',
            'speed': 1, 'sync': 'top', 'target': 'target'},
            'type': 'blockdev-backup'}, {'data': {'auto-finalize': False,
            'device': 'top', 'job-id': 'j6', 'sync': 'top',
            'target': 'target2'}, 'type': 'blockdev-backup'}], 'properties': {
            }})
        # What ought to be true:
        self.qsd.cmd('block-export-add', {'id': 'g0', 'iothread': 'io0',
            'node-name': 'top', 'type': 'nbd'})
        with iotests.Timeout(10, 'the daemon does not end'):
            self.qsd.stop()


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
