#!/usr/bin/env python3
# group: rw
#
# a commit that cannot write the new length of its base leaves the base longer
# in memory alone; the next commit does not write the length either, and what
# it committed past the old end is gone when the image is opened again.
# Right instead: the length in memory is the one on disk.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
other = os.path.join(iotests.test_dir, 'other.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')


class TestFailedResizeForgotten(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', other, '1M')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', top, '1M')
        qemu_io('-f', 'qcow2', '-c', 'write -P 2 0 1M', top)

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(other)
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

    def test_failed_resize_forgotten(self) -> None:
        qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 2 512k 64k', top)
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            'driver=qcow2,file.driver=blkdebug,file.image.driver=file,'
            f'file.image.filename={base},file.inject-error.0.event=none,'
            'file.inject-error.0.iotype=write,file.inject-error.0.once=on,'
            'node-name=base,read-only=on',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=file,'
            f'file.filename={top},node-name=top',
            qmp=True)
        self.qsd.cmd('block-commit', {'device': 'top', 'job-id': 'j0'})
        self.settle()
        self.qsd.cmd('block-commit', {'device': 'top', 'job-id': 'j1'})
        self.settle()
        self.qsd.stop()
        # What ought to be true:
        result = qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 2 512k 64k',
            other, check=False)
        self.assertNotIn('failed', result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
