#!/usr/bin/env python3
# group: rw
#
# block-stream of the node of a file that is refused leaves that node read-only
# for good, whatever its auto-read-only says: jobs that are to write the image
# in it fail.
# Right instead: a command that is refused has done nothing.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import json
import os

import iotests
from iotests import qemu_img_create

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid1 = os.path.join(iotests.test_dir, 'mid1.qcow2')


class TestRefusedStreamReadOnly(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid1, '512k')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(mid1)

    def test_refused_stream_read_only(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            json.dumps({'backing': None, 'discard': 'unmap', 'driver': 'qcow2',
                'file': {'auto-read-only': True, 'driver': 'file',
                'filename': base, 'node-name': 'base-file'},
                'node-name': 'base', 'read-only': True}),
            '--blockdev',
            'backing=base,discard=unmap,driver=qcow2,'
            f'file.auto-read-only=on,file.driver=file,file.filename={mid1},'
            'file.node-name=mid1-file,node-name=mid1,read-only=on',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        result = self.qsd.qmp('block-job-pause', {'device': 'j0'})
        self.assert_qmp(result, 'error/class', 'DeviceNotActive')
        result = self.qsd.qmp('block-stream', {'device': 'mid1-file'})
        self.assert_qmp(result, 'error/class', 'GenericError')
        # What ought to be true:
        result = self.qsd.qmp('block-stream', {'auto-finalize': False,
            'device': 'mid1', 'job-id': 'j0', 'on-error': 'enospc'})
        self.assertNotRegex(result.get('error', {}).get('desc', ''),
                            r"Block node is read\-only")


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
