"""What is asked of the operating system, asked of a real one."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys

import pytest

from waymark.operating_system.cpu_cores import available_cores

CHILD = """
import time
from waymark.operating_system.process_tree import die_with_parent
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
import numpy
from waymark.operating_system.thread_scheduling import put_python_first

def niceness(thread):
    return os.getpriority(os.PRIO_PROCESS, thread)

numpy.ones((500, 500)) @ numpy.ones((500, 500))
done = threading.Event()
other = threading.Thread(target=done.wait)
other.start()
python = {os.getpid(), other.native_id}
native = set(map(int, os.listdir("/proc/self/task"))) - python
cores = os.sched_getaffinity(0)
put_python_first()
print(len(native) > 0)
print({niceness(one) for one in python} == {niceness(0)})
print(all(niceness(one) > niceness(0) for one in native))
print({os.sched_getscheduler(one) for one in native} == {os.SCHED_OTHER})
put_python_first(threads_on_own_cores=len(cores))
print({os.sched_getscheduler(one) for one in native} == {os.SCHED_IDLE})
print({os.sched_getscheduler(one) for one in python} == {os.SCHED_OTHER})
print([os.sched_getaffinity(one) for one in python] == [{max(cores)}] * 2)
print(all(os.sched_getaffinity(one) == cores for one in native))
for one in python:
    os.sched_setaffinity(one, cores)
put_python_first(threads_on_own_cores=1)
print([os.sched_getaffinity(one) for one in python] == [{max(cores)}] * 2)
print(all(os.sched_getaffinity(one) == {min(cores)} for one in native))
done.set()
"""

SLICES = """
import ctypes, os, platform, struct, threading
import numpy
from waymark.operating_system.thread_scheduling import shorten_slices

def nanoseconds(thread):
    read = ctypes.create_string_buffer(56)
    ctypes.CDLL(None).syscall({"x86_64": 315, "aarch64": 275}[platform.machine()], thread, read, len(read), 0)
    return struct.unpack_from("=Q", read, 24)[0]

numpy.ones((500, 500)) @ numpy.ones((500, 500))
done = threading.Event()
other = threading.Thread(target=done.wait)
other.start()
python = {os.getpid(), other.native_id}
native = set(map(int, os.listdir("/proc/self/task"))) - python
usual = {thread: nanoseconds(thread) for thread in native}
shorten_slices()
print({nanoseconds(thread) for thread in python} == {200_000})
print({thread: nanoseconds(thread) for thread in native} == usual and len(native) > 0)
done.set()
"""
KERNEL = tuple(map(int, re.findall(r"\d+", platform.release())[:2])) if sys.platform.startswith("linux") else (0, 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has it")
def test_a_process_ends_when_its_parent_is_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", PARENT], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "ready\n"
        parent.kill()
        # The child holds the other end of the pipe: it closes when the child is gone.
        assert parent.communicate(timeout=60)[0] == ""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux has it")
def test_native_threads_yield_to_python_or_have_own_cores() -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", THREADS], check=True, timeout=60, capture_output=True, env=environment)
    assert done.stdout.split() == [b"True"] * 10


@pytest.mark.skipif(
    KERNEL < (6, 12) or platform.machine() not in ("x86_64", "aarch64"), reason="needs Linux 6.12 or later"
)
def test_python_threads_have_short_time_slices() -> None:
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", SLICES], check=True, timeout=60, capture_output=True, env=environment)
    assert done.stdout.split() == [b"True"] * 2


def test_a_process_may_use_at_least_one_core() -> None:
    assert available_cores() >= 1
