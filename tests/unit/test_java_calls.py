"""py4j's own log: what it meets is an error of ours already."""

from __future__ import annotations

import logging
from importlib.util import find_spec
from pathlib import Path

from waymark.worlds import java_calls


def test_tracebacks_of_py4j_do_not_reach_the_log() -> None:
    assert java_calls.py4j_jar()
    spec = find_spec("py4j")
    assert spec is not None
    assert spec.origin is not None
    root = logging.getLogger()
    for path, is_shown in ((Path(spec.origin).with_name("java_gateway.py"), False), (Path(__file__), True)):
        record = root.makeRecord("root", logging.ERROR, str(path), 1, "Exception while sending command.", (), None)
        assert bool(root.filter(record)) is is_shown
