"""The callers that the README and the guide to serving show, word for word, against running services."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from waymark.cli.local_stack import PORTS, Stack

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="a stack's processes end with their parent"
)

ROOT = Path(__file__).parents[2]
TEXT = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/guides/serve.md"))
SNIPPETS = re.findall(r"```(\w+)\n(.*?)```", TEXT, re.DOTALL)
PYTHON = [code for language, code in SNIPPETS if language == "python"]
SHELL = [code for language, code in SNIPPETS if language == "sh" and code.startswith("curl")]


def run(command: list[str], code: str, stack: Stack) -> str:
    """What a snippet prints, its ports replaced by those of the stack."""
    for service, port in PORTS.items():
        code = code.replace(f"localhost:{port}", stack.url(service).removeprefix("http://"))
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [*command, code],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_documents_show_every_kind_of_caller() -> None:
    kinds = ("SyncControllerClient", "asyncio", "import OpenAI", "import Client")
    assert [kind for kind in kinds if not any(kind in code for code in PYTHON)] == []
    assert len(SHELL) == 2


@pytest.mark.parametrize("code", PYTHON)
def test_a_python_caller_prints_its_answer(code: str, stack: Stack) -> None:
    assert run([sys.executable, "-c"], code, stack).strip()


@pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl here")
@pytest.mark.parametrize("code", SHELL)
def test_every_curl_is_answered(code: str, stack: Stack) -> None:
    answers = run(["bash", "-ec"], code.replace("\n\ncurl", "\necho; curl"), stack).split("\n")
    assert len(answers) == code.count("curl")
    for answer in answers:
        assert "urn:waymark:" not in json.dumps(json.loads(answer))
