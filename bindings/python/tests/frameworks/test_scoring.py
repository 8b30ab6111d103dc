"""Scores of data sets: a row's results whatever its batch, sums in a fixed order, faulty rows by name."""

from __future__ import annotations

import json
import math
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import swiftdpo
from swiftdpo import __main__, scoring

LOGPS = ("policy_chosen_logps", "policy_rejected_logps", "ref_chosen_logps", "ref_rejected_logps")


def pair_table(count, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    return {name: (-rng.uniform(1, 60, count)).astype(dtype) for name in LOGPS}


def written(path, columns, **options):
    pq.write_table(pa.table(columns), path, **options)
    return path


def run(*arguments):
    """(exit status, output, errors) of a command line."""
    command = [sys.executable, "-m", "swiftdpo", *map(str, arguments)]
    finished = subprocess.run(command, capture_output=True, text=True)
    return finished.returncode, finished.stdout, finished.stderr


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("loss", ["ipo", "hinge", "nca_pair"])
def test_rows_have_the_bits_of_one_call(tmp_path, monkeypatch, dtype, loss):
    columns = pair_table(1000, dtype=dtype)
    path = written(tmp_path / "pairs.parquet", columns, row_group_size=130)
    monkeypatch.setattr(scoring, "BATCH_ROWS", 77)
    out = tmp_path / "scores.parquet"
    file = scoring.score_file(path, scoring.Job((loss,), {"beta": 0.3}), out)
    scores = pq.read_table(out)
    expected = swiftdpo.dpo_loss(*columns.values(), beta=0.3, loss_type=loss, more=True)
    assert np.array_equal(scores["loss"].to_numpy().astype(dtype), expected.losses)
    assert np.array_equal(scores["chosen_reward"].to_numpy().astype(dtype), expected.chosen_rewards)
    assert np.array_equal(scores["row"].to_numpy(), np.arange(1000))
    assert scores["fault"].null_count == 1000
    sums = scoring.total([file])
    assert (sums.num_pairs, sums.num_correct) == (1000, expected.metrics.num_correct)
    assert math.isclose(sums.losses, math.fsum(expected.losses.astype(float)), rel_tol=np.finfo(dtype).eps)


def test_faulty_rows_are_named_and_left_out(tmp_path):
    columns = pair_table(500)
    columns["policy_chosen_logps"][[3, 400]] = np.nan, np.inf
    columns["weights"] = np.ones(500)
    columns["weights"][7] = -1
    ref = columns["ref_rejected_logps"].tolist()
    ref[250] = None
    columns["ref_rejected_logps"] = ref
    path = written(tmp_path / "pairs.parquet", columns)
    out = tmp_path / "scores.parquet"
    file = scoring.score_file(path, scoring.Job(), out)
    assert [fault.row for fault in file.faults] == [3, 7, 250, 400] and file.num_faults == 4
    assert file.faults[0].reason.startswith("policy_chosen_logps: ") and "finite" in file.faults[0].reason
    assert file.faults[1].reason.startswith("weights: ")
    assert file.faults[2].reason == "ref_rejected_logps is null"
    scores = pq.read_table(out)
    assert np.flatnonzero(np.isnan(scores["loss"])).tolist() == [3, 7, 250, 400]
    assert [row for row, fault in enumerate(scores["fault"].to_pylist()) if fault] == [3, 7, 250, 400]
    sound = np.setdiff1d(np.arange(500), [3, 7, 250, 400])
    arrays = [np.asarray(columns[name], float)[sound] for name in LOGPS]
    assert np.array_equal(scores["loss"].to_numpy()[sound], swiftdpo.dpo_loss(*arrays).losses)
    assert scoring.total([file]).num_pairs == 496


def test_tokens_are_summed_and_counted(tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    tokens = {
        name: [(-rng.uniform(0, 3, rng.integers(0, 300))).tolist() for _ in range(50)] for name in LOGPS
    }
    path = written(tmp_path / "tokens.parquet", tokens)
    job = scoring.Job(("ipo_norm",), {"beta": 0.2})
    [whole] = scoring.batches(path, job)
    monkeypatch.setattr(scoring, "BATCH_ROWS", 3)
    pieces = pa.concat_tables([scores.table for scores in scoring.batches(path, job)])
    assert pieces.equals(whole.table)  # a response's sum does not depend on its batch
    sums = [np.array([math.fsum(row) for row in tokens[name]]) for name in LOGPS]
    chosen, rejected = ([len(row) for row in tokens[name]] for name in LOGPS[:2])
    expected = swiftdpo.dpo_loss(
        *sums, beta=0.2, loss_type="ipo_norm", chosen_lengths=chosen, rejected_lengths=rejected
    )
    np.testing.assert_allclose(whole.table["loss"].to_numpy(), expected.losses, rtol=1e-10)


def test_rankings(tmp_path):
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 7, 40)
    columns = {
        "policy_logps": [(-rng.uniform(1, 9, size)).tolist() for size in sizes],
        "order": [rng.permutation(size).tolist() for size in sizes],
    }
    columns["order"][11] = [0] * sizes[11]
    columns["policy_logps"][11] = [-1.0] * sizes[11]
    columns["order"][30] = columns["order"][30] + [9]
    path = written(tmp_path / "rankings.parquet", columns)
    job = scoring.Job(("plackett_luce",), {"beta": 0.5}, {"rankings": "order"})
    [scores] = scoring.batches(path, job)
    faulty = [fault.row for fault in scores.faults]
    assert faulty == [row for row in (11, 30) if row == 30 or sizes[row] > 1]
    assert "as long as" in scores.faults[-1].reason
    for row in set(range(40)) - set(faulty):
        single = {name: np.array(columns[name][row]) for name in columns}
        expected = swiftdpo.plackett_luce_loss(single["policy_logps"], None, 0.5, single["order"])
        assert scores.table["loss"][row].as_py() == expected.losses
        assert scores.table["rewards"][row].as_py() == expected.rewards.tolist()
    assert scores.table["rewards"][30].as_py() == []


@pytest.mark.parametrize(
    "loss, options",
    [
        ("kto", {"kl": 0.3, "desirable_weight": 1.5}),
        ("apo_zero_unpaired", {"beta": 0.4}),
        ("bco", {"delta": -0.2, "undesirable_weight": 0.5}),
    ],
)
def test_single_responses(tmp_path, monkeypatch, loss, options):
    rng = np.random.default_rng(4)
    columns = {"policy_logps": -rng.uniform(1, 60, 300), "ref_logps": -rng.uniform(1, 60, 300)}
    columns["desirable"] = rng.random(300) < 0.4
    columns["policy_logps"][[5, 200]] = np.nan, np.inf
    path = written(tmp_path / "responses.parquet", columns)
    monkeypatch.setattr(scoring, "BATCH_ROWS", 77)
    file = scoring.score_file(path, scoring.Job((loss,), options), tmp_path / "scores.parquet")
    assert [fault.row for fault in file.faults] == [5, 200]
    assert file.faults[0].reason.startswith("policy_logps: ")
    sound = np.setdiff1d(np.arange(300), [5, 200])
    arrays = [column[sound] for column in columns.values()]
    function = swiftdpo.bco_loss if loss == "bco" else swiftdpo.kto_loss
    more = {} if loss == "bco" else {"loss_type": loss}
    expected = function(*arrays, **options, **more)
    scores = pq.read_table(tmp_path / "scores.parquet")
    assert np.array_equal(scores["loss"].to_numpy()[sound], expected.losses)
    assert np.array_equal(scores["reward"].to_numpy()[sound], expected.rewards)
    summary = scoring.summary([file])
    assert summary["desirable_rows"] == columns["desirable"][sound].sum()
    assert math.isclose(summary["loss"], expected.loss, rel_tol=1e-12)
    assert math.isclose(summary["reward_margin"], expected.metrics.reward_margin, rel_tol=1e-12)


@pytest.mark.parametrize(
    "job, message",
    [
        (scoring.Job(("aot",)), "couples the rows"),
        (scoring.Job(("dpo",)), "expected one of plackett_luce, kto, "),
        (scoring.Job(options={"beta": -1.0}), "beta"),
        (scoring.Job(columns={"logps": "x"}), "logps is no argument"),
        (scoring.Job(("plackett_luce",), {"top": -1}), "top"),
    ],
)
def test_jobs_are_checked_before_any_work(job, message):
    with pytest.raises(ValueError, match=message):
        job.check()


@pytest.mark.parametrize("loss", sorted(set(scoring.LOSS_TYPES) - {"aot", "aot_unpaired", "sft"}))
def test_every_other_loss_passes_the_check(loss):
    scoring.Job((loss,)).check()


def test_memory_is_that_of_a_batch(tmp_path):
    """NumPy's part of it; a file of 64 batches takes what one of 4 takes."""

    def peak(batches):
        path = written(tmp_path / f"{batches}.parquet", pair_table(batches << 14), row_group_size=1 << 14)
        tracemalloc.start()
        scoring.score_file(path, scoring.Job(), tmp_path / "scores.parquet")
        high = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return high

    assert peak(64) < 1.2 * peak(4)


def test_the_command_scores_files_and_folders(tmp_path):
    folder = tmp_path / "parts"
    folder.mkdir()
    for part in range(3):
        columns = pair_table(200, part)
        columns["logp_w"] = columns.pop("policy_chosen_logps")
        if part == 1:
            columns["logp_w"][5] = np.nan
        written(folder / f"{part}.parquet", columns)
    options = ["--loss", "ipo", "--beta", "0.5", "--column", "policy_chosen_logps=logp_w", "--json"]
    status, output, errors = run("score", folder, *options, "--out", tmp_path / "scores")
    assert status == 1
    assert errors == f"{folder / '1.parquet'}: row 5: policy_chosen_logps: values must be finite, " + (
        "neither NaN nor infinite\n"
    )
    summary = json.loads(output)
    assert (summary["rows"], summary["faulty_rows"]) == (600, 1)
    scores = pa.concat_tables([pq.read_table(path) for path in sorted((tmp_path / "scores").iterdir())])
    losses = scores["loss"].to_numpy()
    assert math.isclose(summary["loss"], np.nansum(losses) / 599, rel_tol=1e-12)
    right = scores["chosen_reward"].to_numpy() > scores["rejected_reward"].to_numpy()
    assert summary["accuracy"] == right.sum() / 599


def test_the_command_says_what_is_wrong_with_it(tmp_path):
    path = written(tmp_path / "pairs.parquet", {"policy_chosen_logps": [1.0], "policy_rejected_logps": [1.0]})
    assert run("score", path)[::2] == (
        2,
        "swiftdpo score: there is no column 'ref_chosen_logps' for ref_chosen_logps\n",
    )
    status, output, _ = run("score", path, "--reference-free")
    assert status == 0 and "accuracy           0.5\n" in output
    responses = {"policy_logps": [[-1.0, -2.0], [-3.0]], "desirable": [True, False]}
    single = written(tmp_path / "responses.parquet", responses)
    status, output, _ = run("score", single, "--loss", "kto", "--reference-free", "--kl", "0.5")
    assert status == 0 and "undesirable_rows   1\n" in output
    assert "--delta is no option of kto" in run("score", single, "--loss", "kto", "--delta", "1")[2]
    assert "--top is no option of sigmoid" in run("score", path, "--top", "1")[2]
    (tmp_path / "empty").mkdir()
    assert "no Parquet files" in run("score", tmp_path / "empty")[2]


def test_info_says_what_the_library_is(capsys):
    assert __main__.main(["info"]) == 0
    lines = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines() if " set" not in line)
    assert lines["version"] == swiftdpo.__version__
    assert lines["threads"] == str(swiftdpo.num_threads())
    assert Path(lines["library"]).is_file()
