"""The gallery of broken plugins, installed as if they were packages."""

import sys
from pathlib import Path

import pytest

GALLERY = Path(__file__).parent / "broken"
NAMES = sorted(path.stem for path in GALLERY.glob("*.py"))


@pytest.fixture
def gallery(tmp_path, monkeypatch):
    """Install every broken plugin under the name of its file; return the folders for the path."""
    info = tmp_path / "mcpserve_broken-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mcpserve-broken\nVersion: 1.0\n")
    lines = "".join(f"{name} = {name}\n" for name in NAMES)
    (info / "entry_points.txt").write_text(f"[mcpserve]\n{lines}")
    folders = [str(tmp_path), str(GALLERY)]
    for folder in folders:
        monkeypatch.syspath_prepend(folder)
    yield folders
    for name in NAMES:
        sys.modules.pop(name, None)
