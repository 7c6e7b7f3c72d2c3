#!/usr/bin/env python3
"""A campaign in parts on HyperQueue, by its Python package (`pip install hyperqueue`): a server, its workers, and the parts.

usage: on_hyperqueue.py MIDSTREAM PARTS RUNS FOLDER [FIRST-LAST [WORKERS]]

Without FIRST-LAST all parts, by two workers. The package has server and workers in one process: two machines have a server
each, with one range of the parts each, and one folder or two of results, which `midstream merge` puts together.
"""

import sys
from pathlib import Path

from hyperqueue import Job, LocalCluster
from hyperqueue.cluster import WorkerConfig

midstream, parts, runs, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3], Path(sys.argv[4]).absolute()
first, last = map(int, sys.argv[5].split("-")) if len(sys.argv) > 5 else (0, parts - 1)
workers = int(sys.argv[6]) if len(sys.argv) > 6 else 2

with LocalCluster() as cluster:
    for _ in range(workers):
        cluster.start_worker(WorkerConfig(cores=1))
    client = cluster.client()
    job = Job()
    for part in range(first, last + 1):
        job.program(
            [midstream, "fuzz", "--seed", "20260101", "--runs", runs, "--shard", f"{part}/{parts}", "--jobs", "1",
             "--out", str(folder / "traces"), "--result", str(folder / "campaign")],
            stdout=str(folder / f"{part}.out"),
            stderr=str(folder / f"{part}.err"),
        )
    submitted = client.submit(job)
    # A part that broke a law ends with 1, which HyperQueue calls a failure: its result is there all the same.
    client.wait_for_jobs([submitted], raise_on_error=False)
