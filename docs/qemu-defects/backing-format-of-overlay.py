#!/usr/bin/env python3
# group: rw
#
# change-backing-file writes into the header that the backing file has the
# format of the overlay; where it is a raw file, neither the image nor what
# stands on it can be opened again.
# Right instead: the header names the format of the backing file.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img, qemu_img_create

base = os.path.join(iotests.test_dir, 'base.raw')
top = os.path.join(iotests.test_dir, 'top.qcow2')


class TestBackingFormatOfOverlay(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'raw', base, '512k')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'raw', top, '512k')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(top)

    def settle(self) -> None:
        def is_busy(job) -> bool:
            if job['status'] in ('running', 'ready'):
                return job['busy'] or job['offset'] < job['len']
            return job['status'] in ('created', 'aborting')

        with iotests.Timeout(10, 'a job is at work without end'):
            while any(is_busy(job) and not job['speed']
                      for job in self.qsd.cmd('query-block-jobs')):
                pass

    def test_backing_format_of_overlay(self) -> None:
        qemu_img('check', top)
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            f'driver=raw,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=file,'
            f'file.filename={top},node-name=top',
            qmp=True)
        self.qsd.cmd('change-backing-file', {'backing-file': base,
            'device': 'top', 'image-node-name': 'top'})
        self.settle()
        self.qsd.stop()
        # What ought to be true:
        result = qemu_img('check', top, check=False)
        self.assertEqual(result.returncode, 0, result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
