#!/usr/bin/env python3
# group: rw
#
# a commit fails at its end with an I/O error that nobody met, while a stream
# of another overlay onto its top, begun after it, holds its filter.
# Right instead: the stream's hold of the filter does not stand in the way: the
# commit succeeds, or the stream is refused.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import json
import os

import iotests
from iotests import qemu_img_create

base = os.path.join(iotests.test_dir, 'base.qcow2')
mid1 = os.path.join(iotests.test_dir, 'mid1.qcow2')
mid2 = os.path.join(iotests.test_dir, 'mid2.qcow2')
top = os.path.join(iotests.test_dir, 'top.qcow2')


class TestCommitBehindAStream(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def setUp(self) -> None:
        qemu_img_create('-f', 'qcow2', base, '512k')
        qemu_img_create('-f', 'qcow2', '-b', base, '-F', 'qcow2', mid1, '512k')
        qemu_img_create('-f', 'qcow2', '-b', mid1, '-F', 'qcow2', mid2, '512k')
        qemu_img_create('-f', 'qcow2', '-b', mid1, '-F', 'qcow2', top, '512k')

    def tearDown(self) -> None:
        os.remove(base)
        os.remove(mid1)
        os.remove(mid2)
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

    def test_commit_behind_a_stream(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            '--blockdev',
            json.dumps({'backing': None, 'discard': 'unmap', 'driver': 'qcow2',
                'file': {'auto-read-only': True, 'driver': 'file',
                'filename': base}, 'node-name': 'base', 'read-only': True}),
            '--blockdev',
            'backing=base,discard=unmap,driver=qcow2,'
            f'file.auto-read-only=on,file.driver=file,file.filename={mid1},'
            'node-name=mid1,read-only=on',
            '--blockdev',
            'backing=mid1,discard=unmap,driver=qcow2,'
            f'file.auto-read-only=on,file.driver=file,file.filename={mid2},'
            'node-name=mid2,read-only=off',
            '--blockdev',
            'backing=mid1,discard=unmap,driver=qcow2,'
            f'file.auto-read-only=on,file.driver=file,file.filename={top},'
            'node-name=top,read-only=off',
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        self.qsd.cmd('block-commit', {'auto-finalize': False, 'device': 'top',
            'job-id': 'j2', 'top-node': 'mid1'})
        self.qsd.cmd('block-stream', {'auto-finalize': False,
            'base-node': 'mid1', 'device': 'mid2', 'job-id': 'j0'})
        self.qsd.cmd('block-job-finalize', {'id': 'j2'})
        self.settle()
        # What ought to be true:
        for event in self.qsd.get_qmp().get_events():
            self.assertNotEqual(event['event'], 'BLOCK_JOB_ERROR')
            self.assertNotIn('error', event.get('data', {}))


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
