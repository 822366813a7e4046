"""How several processes share the tests: see ``distribution``."""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent.parent
CONFTEST = """
import distribution

pytest_xdist_make_scheduler = distribution.scheduler
"""
TEST = """
import os
from pathlib import Path
import pytest

@pytest.mark.parametrize("number", range(9))
def test_tells_its_process(number):
    Path(__file__).with_name(f"{Path(__file__).stem}-{os.environ['PYTEST_XDIST_WORKER']}").touch()
"""


def test_a_file_stays_in_one_process_and_so_does_all_that_needs_npm(tmp_path):
    (tmp_path / "pytest.ini").write_text("[pytest]\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    for name in ("blackbox/test_one", "blackbox/test_two", "conformance/test_three", "unit/test_4"):
        path = tmp_path / "tests" / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEST)
    words = ["-p", "xdist", "-p", "no:cacheprovider", "-n", "2", "-q"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONPATH": str(HERE)},
        check=False,
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stdout
    told = dict(path.name.split("-") for path in tmp_path.glob("tests/*/*-gw*"))
    assert len(list(tmp_path.glob("tests/*/*-gw*"))) == len(told) == 4
    assert told["test_one"] == told["test_two"] == told["test_three"] != told["test_4"]
