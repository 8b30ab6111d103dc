from pathlib import Path

import pytest
from installed import make_install


@pytest.fixture(scope="session")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installed tree, moved after installation to where its files do not say it is."""
    stage = tmp_path_factory.mktemp("stage")
    make_install("PREFIX=/opt/some where", f"DESTDIR={stage}")
    moved = tmp_path_factory.mktemp("moved") / "tree"
    (stage / "opt/some where").rename(moved)
    assert [path for path in stage.rglob("*") if not path.is_dir()] == []
    return moved
