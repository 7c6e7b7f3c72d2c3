#!/usr/bin/env python3
# group: rw
#
# an inactive node that cannot be made active by block-export-add refuses it;
# asked again, the daemon answers that the export is there, and it is not.
# Right instead: a command that was refused leaves nothing behind, and one that
# succeeds has done what it says.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create

top = os.path.join(iotests.test_dir, 'top.qcow2')
nbd_sock = os.path.join(iotests.sock_dir, 'nbd.sock')


class TestInactiveExport(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', top, '512k')

    def tearDown(self) -> None:
        os.remove(top)

    def test_inactive_export(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--nbd-server', f'addr.type=unix,addr.path={nbd_sock}',
            '--blockdev',
            'active=off,driver=qcow2,file.driver=blkdebug,'
            f'file.image.driver=file,file.image.filename={top},'
            'file.inject-error.0.event=reftable_load,'
            'file.inject-error.0.iotype=read,file.inject-error.0.once=off,'
            'file.inject-error.0.state=2,'
            'file.set-state.0.event=reftable_load,'
            'file.set-state.0.new_state=2,node-name=top',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        result = self.qsd.qmp('block-export-add', {'id': 'g0',
            'node-name': 'top', 'type': 'nbd', 'writable': True})
        self.assert_qmp(result, 'error/class', 'GenericError')
        # What ought to be true:
        result = self.qsd.qmp('block-export-add', {'id': 'g0',
            'node-name': 'top', 'type': 'nbd', 'writable': True})
        self.assertIn('error', result)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
