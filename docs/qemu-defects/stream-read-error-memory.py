#!/usr/bin/env python3
# group: rw
#
# while a stream runs, whoever reads what the tables of the target would show
# and they cannot be read, a guest or another job, gets success and whatever
# was in the daemon's memory: a backup completes with it.
# Right instead: the read fails with the error that the file gave.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import json
import os

import iotests
from iotests import qemu_img_create, qemu_io

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid = os.path.join(iotests.test_dir, 'mid.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')
target = os.path.join(iotests.test_dir, 'target.qcow2')


class TestStreamReadErrorMemory(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '1M')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid, '1M')
        qemu_io('-f', 'qcow2', '-c', 'write -P 2 0 1M', mid)
        qemu_img_create('-f', 'qcow2', '-b', mid, '-F', 'qcow2', top, '1M')
        qemu_img_create('-f', 'qcow2', target, '1M')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(mid)
        os.remove(top)
        os.remove(target)

    def settle(self) -> None:
        def is_busy(job) -> bool:
            if job['status'] in ('running', 'ready'):
                return job['busy'] or job['offset'] < job['len']
            return job['status'] in ('created', 'aborting')

        with iotests.Timeout(10, 'a job is at work without end'):
            while any(is_busy(job) and not job['speed']
                      for job in self.qsd.cmd('query-block-jobs')):
                pass

    def test_stream_read_error_memory(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={base},'
            'node-name=base',
            '--blockdev',
            'backing=base,driver=qcow2,file.driver=blkdebug,'
            f'file.image.driver=file,file.image.filename={mid},'
            'file.inject-error.0.event=l2_load,'
            'file.inject-error.0.iotype=read,file.inject-error.0.once=off,'
            'node-name=mid',
            '--blockdev',
            f'backing=mid,driver=qcow2,file.driver=file,file.filename={top},'
            'node-name=top',
            '--blockdev',
            f'driver=qcow2,file.driver=file,file.filename={target},'
            'node-name=target',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('block-stream', {'device': 'mid', 'job-id': 'j0',
            'on-error': 'stop'})
        self.qsd.cmd('blockdev-backup', {'device': 'top', 'job-id': 'j1',
            'sync': 'full', 'target': 'target'})
        self.settle()
        # What ought to be true:
        for event in self.qsd.get_qmp().get_events():
            self.assertNotRegex(
                json.dumps(event),
                r'"offset": 1048576, "speed": 0, "type": "backup"')


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
