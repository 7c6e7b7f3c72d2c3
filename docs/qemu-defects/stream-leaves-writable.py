#!/usr/bin/env python3
# group: rw
#
# a stream whose target was read-only leaves it writable when it has ended: its
# image stays open and locked for writing, and whoever asks may write below its
# overlays.
# Right instead: what a stream made writable for itself is read-only again when
# it has ended.
# Seen on 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create

base = os.path.join(iotests.test_dir, 'base.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


class TestStreamLeavesWritable(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')

    def tearDown(self) -> None:
        os.remove(base)

    def test_stream_leaves_writable(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base,read-only=on',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        result = self.qsd.qmp('block-export-add', {'id': 'g1',
            'node-name': 'base', 'type': 'nbd', 'writable': True})
        self.assert_qmp(result, 'error/class', 'GenericError')
        self.qsd.cmd('block-stream', {'device': 'base', 'job-id': 'j0'})
        # What ought to be true:
        result = self.qsd.qmp('block-export-add', {'id': 'g1',
            'node-name': 'base', 'type': 'nbd', 'writable': True})
        self.assertIn('error', result)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
