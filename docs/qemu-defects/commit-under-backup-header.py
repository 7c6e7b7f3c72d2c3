#!/usr/bin/env python3
# group: rw
#
# a commit whose top stands under the filter of a backup leaves the header of
# the overlay above as it was: it names the committed image, and who deletes
# that, as after every commit, loses the overlay.
# Right instead: the header of the overlay names the base.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import json
import os

import iotests
from iotests import qemu_img_create

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid = os.path.join(iotests.test_dir, 'mid.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
target = os.path.join(iotests.test_dir, 'target.qcow2')


class TestCommitUnderBackupHeader(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid, '512k')
        qemu_img_create('-f', 'qcow2', '-b', mid, '-F', 'qcow2', top, '512k')
        qemu_img_create('-f', 'qcow2', target, '512k')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(mid)
        os.remove(top)
        os.remove(target)

    def test_commit_under_backup_header(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            json.dumps({'backing': None, 'discard': 'unmap', 'driver': 'qcow2',
                'file': {'auto-read-only': True, 'driver': 'file',
                'filename': base}, 'node-name': 'base', 'read-only': True}),
            '--blockdev',
            'backing=base,discard=unmap,driver=qcow2,'
            f'file.auto-read-only=on,file.driver=file,file.filename={mid},'
            'node-name=mid,read-only=on',
            '--blockdev',
            'backing=mid,discard=unmap,driver=qcow2,file.auto-read-only=on,'
            f'file.driver=file,file.filename={top},node-name=top,'
            'read-only=off',
            '--blockdev',
            json.dumps({'backing': None, 'discard': 'unmap', 'driver': 'qcow2',
                'file': {'auto-read-only': True, 'driver': 'file',
                'filename': target}, 'node-name': 'target',
                'read-only': False}),
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('blockdev-backup', {'auto-finalize': False,
            'device': 'mid', 'job-id': 'j0', 'sync': 'full',
            'target': 'target'})
        self.qsd.cmd('block-commit', {'device': 'top', 'job-id': 'j2',
            'top-node': 'mid'})
        # What ought to be true:
        result = self.qsd.qmp('block-commit', {'base': mid, 'device': 'top',
            'job-id': 'j2'})
        self.assertNotRegex(result.get('error', {}).get('desc', ''),
                            r"Node '\#block[0-9]*' is busy: block device is in use by block job: backup")


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
