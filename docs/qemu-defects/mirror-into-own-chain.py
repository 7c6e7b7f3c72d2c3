#!/usr/bin/env python3
# group: rw
#
# a mirror whose target, a writable layer, lies below its source is accepted if
# a backup of that layer, whose filter hid the link between the two, ends while
# the command waits.
# Right instead: it is refused: the target is the backing of the source.
# Seen on 10.0.2. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid = os.path.join(iotests.test_dir, 'mid.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
target = os.path.join(iotests.test_dir, 'target.qcow2')


class TestMirrorIntoOwnChain(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '4M')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid, '4M')
        qemu_img_create('-f', 'qcow2', '-b', mid, '-F', 'qcow2', top, '4M')
        qemu_img_create('-f', 'qcow2', target, '4M')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(mid)
        os.remove(top)
        os.remove(target)

    def test_mirror_into_own_chain(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=file,'
            f'file.filename={mid},node-name=mid',
            '--blockdev',
            f'backing=mid,driver=qcow2,file.driver=file,file.filename={top},'
            'node-name=top',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={target},'
            'node-name=target',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        result = self.qsd.qmp('blockdev-mirror', {'device': 'top',
            'job-id': 'j1', 'sync': 'full', 'target': 'mid'})
        self.assert_qmp(result, 'error/class', 'GenericError')
        self.qsd.cmd('blockdev-backup', {'device': 'mid', 'job-id': 'j0',
            'sync': 'full', 'target': 'target'})
        # What ought to be true:
        result = self.qsd.qmp('blockdev-mirror', {'device': 'top',
            'job-id': 'j1', 'sync': 'full', 'target': 'mid'})
        self.assertIn('error', result)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
