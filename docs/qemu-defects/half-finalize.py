#!/usr/bin/env python3
# group: rw
#
# a header write that fails at the end of a stream leaves the chain in memory
# changed, and the header on disk as it was.
# Right instead: the graph changes only after the header is written and
# flushed.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import os

import iotests
from iotests import qemu_img_create

base = os.path.join(iotests.test_dir, 'base.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')


class TestHalfFinalize(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
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

    def test_half_finalize(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=blkdebug,'
            f'file.image.driver=file,file.image.filename={top},'
            'file.inject-error.0.event=none,'
            'file.inject-error.0.iotype=write,node-name=top',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        result = self.qsd.qmp('blockdev-del', {'node-name': 'base'})
        self.assert_qmp(result, 'error/class', 'GenericError')
        self.qsd.cmd('block-stream', {'device': 'top', 'job-id': 'j0'})
        self.settle()
        # What ought to be true:
        result = self.qsd.qmp('blockdev-del', {'node-name': 'base'})
        self.assertIn('error', result)


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
