"""The committed benchmarks are of one run: table and plots are those of results.json."""

import importlib
import sys
from typing import Any

import pytest
from pages import ROOT

FOLDER = ROOT / "benchmarks"


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return importlib.import_module("results")


def test_the_table_is_that_of_the_results(results: Any) -> None:
    figures = results.read(FOLDER)
    assert figures
    assert (FOLDER / "results.json").read_text() == results.to_json(figures)
    assert (FOLDER / "RESULTS.md").read_text() == results.to_markdown(figures)


def test_every_figure_has_its_plots(results: Any) -> None:
    expected = {f"{figure.name}.{kind}" for figure in results.read(FOLDER) for kind in ("png", "svg")}
    assert {plot.name for plot in (FOLDER / "plots").iterdir()} == expected


def test_every_figure_says_what_it_was_measured_on(results: Any) -> None:
    for figure in results.read(FOLDER):
        assert {"processor", "load_average", "versions"} <= figure.measured_on.keys(), figure.name
