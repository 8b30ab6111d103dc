"""examples/score_with_ray.py on two workers: the bits of one process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from swiftdpo import scoring

EXAMPLE = Path(__file__).resolve().parents[4] / "examples" / "score_with_ray.py"
LOGPS = ("policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps", "ref_rejected_logps")


def test_two_workers_have_the_bits_of_one_process(tmp_path):
    paths = []
    for part, rows in enumerate([40_000, 3, 17_000]):  # several batches, hardly any, two
        rng = np.random.default_rng(part)
        columns = {name: -rng.uniform(1, 60, rows) for name in LOGPS}
        columns["policy_chosen_logps"][rows // 2] = np.nan
        paths.append(tmp_path / f"part-{part}.parquet")
        pq.write_table(pa.table(columns), paths[-1])
    command = [sys.executable, str(EXAMPLE), "scores", *map(str, paths), "--loss", "ipo", "--workers", "2"]
    environment = os.environ | {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1"}
    finished = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stderr

    job = scoring.Job(("ipo",), {"beta": 0.1})
    alone = [scoring.score_file(path, job, tmp_path / f"alone-{path.name}") for path in paths]
    assert json.loads(finished.stdout.splitlines()[-1]) == scoring.summary(alone)
    assert scoring.summary(alone)["faulty_rows"] == 3
    for number, path in enumerate(paths):
        theirs = (tmp_path / "scores" / f"{number:05}-{path.name}").read_bytes()
        assert theirs == (tmp_path / f"alone-{path.name}").read_bytes()
