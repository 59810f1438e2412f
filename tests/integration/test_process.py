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

THREADS = """
import os, threading
from waymark.process import put_main_thread_first

def niceness():
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

told, found = threading.Event(), []
def compute():
    told.wait()
    later = threading.Thread(target=lambda: found.append(niceness()))
    later.start()
    later.join()
    found.append(niceness())
earlier = threading.Thread(target=compute)
earlier.start()
put_main_thread_first()
told.set()
earlier.join()
assert min(found) > niceness(), (found, niceness())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has it")
def test_a_process_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        # The child holds the other end of the pipe: it closes when the child is gone.
        assert parent.communicate(timeout=60)[0] == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has it")
def test_threads_and_those_that_they_start_later_give_way_to_the_main_thread() -> None:
    subprocess.run([sys.executable, "-c", THREADS], check=True, timeout=60)


def test_a_process_may_use_at_least_one_core() -> None:
    assert available_cores() >= 1
