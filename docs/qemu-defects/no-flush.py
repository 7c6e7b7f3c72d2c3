#!/usr/bin/env python3
# group: rw
#
# a stream rewrites the header without a flush of what it copied, so a kill
# loses data that was durable before; since 10.0.13 a flush follows when the
# job is dismissed, after the header.
# Right instead: data and metadata are flushed before the header, and the
# header before completion is reported.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')


class TestNoFlush(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_io('-f', 'qcow2', '-c', 'write -P 1 0 512k', base)
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', top, '512k')

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

    def test_no_flush(self) -> None:
        qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 0x1 0 64k', top)
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=file,'
            f'file.filename={top},node-name=top',
            qmp=True)
        self.qsd.cmd('block-stream', {'auto-dismiss': False, 'device': 'top',
            'job-id': 'j0'})
        self.settle()
        self.qsd.stop(kill_signal=9)
        # What ought to be true:
        result = qemu_io('-r', '-f', 'qcow2', '-c', 'read -P 0x1 0 64k', top,
            check=False)
        self.assertNotIn('failed', result.stdout)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
