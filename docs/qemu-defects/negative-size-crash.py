#!/usr/bin/env python3
# group: rw
#
# an option that is a size and is given as a negative number ends the daemon:
# the error has nobody who takes it.
# Right instead: the command is refused.
# Seen on 10.0.2, 10.0.13, 11.1.3. Fails where the defect is.

import iotests


class TestNegativeSizeCrash(iotests.QMPTestCase):
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

    def test_negative_size_crash(self) -> None:
        self.qsd = iotests.QemuStorageDaemon(
            qmp=True)
        self.addCleanup(self.qsd.stop, kill_signal=9)
        result = self.qsd.qmp('block-job-pause')
        self.assert_qmp(result, 'error/class', 'GenericError')
        # What ought to be true:
        self.qsd.qmp('blockdev-create', {'job-id': 'x0', 'options': {
            'driver': 'qcow', 'file': {'driver': 'null-aio', 'size': -1},
            'size': 64}})
        self.settle()
        self.qsd.cmd('query-version')


if __name__ == '__main__':
    iotests.main(supported_fmts=['qcow2'], supported_protocols=['file'])
