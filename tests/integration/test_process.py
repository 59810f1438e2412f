"""What is asked of the operating system, asked of a real one."""

from __future__ import annotations

import subprocess
import sys

import pytest

from waymark.process import available_cores

CHILD = """
import time
from waymark.process import die_with_parent
die_with_parent({"WAYMARK_DIE_WITH_PARENT": "1"})
print("ready", flush=True)
time.sleep(600)
"""
PARENT = f"""
import subprocess, sys
subprocess.run([sys.executable, "-c", {CHILD!r}])
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has it")
def test_a_process_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        # The child holds the other end of the pipe: it closes when the child is gone.
        assert parent.communicate(timeout=60)[0] == ""


def test_a_process_may_use_at_least_one_core() -> None:
    assert available_cores() >= 1
