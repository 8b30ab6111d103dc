import json

import pytest

import fit_rankings


@pytest.fixture
def run(monkeypatch, tmp_path):
    def run(folder):
        monkeypatch.setattr("sys.argv", ["fit_rankings.py", "--output-dir", str(tmp_path / folder)])
        return fit_rankings.main(), tmp_path / folder

    return run


def test_reaches_the_maximum_each_time_with_the_same_files(run):
    status, folder = run("once")
    assert status == 0
    result = json.loads((folder / "nascar2002.json").read_text())
    assert result["log_likelihood"] == pytest.approx(-4191.0972845972577, rel=1e-9)
    assert len(result["worths"]) == 83
    assert max(result["worths"], key=result["worths"].get) == "PJ Jones"
    _, again = run("again")
    for name in "nascar2002.json", "nascar2002.png":
        assert (folder / name).read_bytes() == (again / name).read_bytes()


def test_another_maximum_is_a_failure(run, monkeypatch, capsys):
    monkeypatch.setattr(fit_rankings, "MAXIMUM", fit_rankings.MAXIMUM * (1 + 1e-8))
    status, _ = run("once")
    assert status == 1
    assert "FAILED  log-likelihood" in capsys.readouterr().out


def test_who_is_always_last_is_left_out():
    drivers, races, dropped = fit_rankings.drop_hopeless(["a", "b", "c"], [[2, 0, 1], [0, 2], [2, 1]])
    assert drivers == ["a", "c"] and dropped == ["b"]
    assert [race.tolist() for race in races] == [[1, 0], [0, 1], [1]]
