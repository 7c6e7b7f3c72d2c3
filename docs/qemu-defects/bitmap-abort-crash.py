#!/usr/bin/env python3
# group: rw
#
# a transaction that enables or disables a dirty bitmap which does not exist
# ends the daemon with signal 11: undoing the action, it takes the bitmap for
# granted.
# Right instead: the transaction is refused, and nothing has happened.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import iotests


class TestBitmapAbortCrash(iotests.QMPTestCase):
    qsd: iotests.QemuStorageDaemon

    def settle(self) -> None:
        def is_busy(job) -> bool:
            if job['status'] in ('running', 'ready'):
                return job['busy'] or job['offset'] < job['len']
            return job['status'] in ('created', 'aborting')

        with iotests.Timeout(10, 'a job is at work without end'):
            while any(is_busy(job) and not job['speed']
                      for job in self.qsd.cmd('query-block-jobs')):
                pass

    def test_bitmap_abort_crash(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        # What ought to be true:
        self.qsd.qmp('transaction', {'actions': [{'data': {'name': 'b0',
            'node': 'base'}, 'type': 'block-dirty-bitmap-enable'}]})
        self.settle()
        self.qsd.cmd('query-version')


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
