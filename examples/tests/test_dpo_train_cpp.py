"""cpp/dpo_train.cpp trains as train_dpo.py does: the same start, the same numbers but for rounding."""

import json
import re
import subprocess
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from export_start import start_of
from pairs import DATA, DEVELOPMENT, Preferences
from train_dpo import Settings, train

ROOT = Path(__file__).resolve().parents[2]
SMALL = Settings(folds=(DEVELOPMENT,), supervised_epochs=2, preference_epochs=3, kl_responses=1, kl_bytes=1)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    built = tmp_path_factory.mktemp("program") / "dpo_train"
    library = ROOT / ".build/release"
    strict = ["-std=c++20", "-O3", "-Wall", "-Wextra", "-Wpedantic", "-Werror", f"-I{ROOT / 'include'}"]
    link = [f"-L{library}", f"-Wl,-rpath,{library}", "-lswiftdpo"]
    subprocess.run(["c++", *strict, ROOT / "examples/cpp/dpo_train.cpp", *link, "-o", built], check=True)
    return built


def test_the_same_numbers(program, tmp_path):
    """In single precision, in which sums run in another order here and there, after 32 steps of Adam."""
    pairs = tmp_path / "pairs.jsonl"
    with DATA.open(encoding="utf-8") as lines:
        pairs.write_text("".join(islice(lines, 0, None, 12)), encoding="utf-8")
    data = Preferences(pairs)
    start = tmp_path / "start.json"
    start.write_text(json.dumps(start_of(data, DEVELOPMENT, SMALL)))
    run = subprocess.run([program, pairs, start], check=True, capture_output=True, text=True)

    [fold] = train(data, SMALL, workers=1)
    number = r"(-?[0-9.]+)"
    side = rf"loss {number} margin {number} accuracy {number}"
    lines = re.findall(rf"^epoch \d+  train {side}  validation {side}$", run.stdout, re.MULTILINE)
    assert len(lines) == len(fold.history) == 4
    for line, epoch in zip(lines, fold.history, strict=True):
        metrics = [epoch[side].metrics(data) for side in ("train", "validation")]
        expected = [m[name] for m in metrics for name in ("loss", "margin", "accuracy")]
        np.testing.assert_allclose(np.array(line, float), expected, rtol=0, atol=2e-5)
    assert float(lines[-1][1]) > 0.05  # and it has learnt something


def test_it_says_what_is_wrong(program, tmp_path):
    run = subprocess.run([program, tmp_path / "nothing", tmp_path], capture_output=True, text=True)
    assert run.returncode == 1 and "no pairs in" in run.stderr
