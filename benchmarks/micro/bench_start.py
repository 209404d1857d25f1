"""What a user waits for before anything happens: the import and the command."""

from __future__ import annotations

import subprocess
import sys

import pytest

COMMANDS = {
    "bare interpreter": ("-c", "pass"),
    "import steelyard": ("-c", "import steelyard"),
    "steelyard --help": ("-m", "steelyard", "--help"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_start(benchmark, name):
    command = [sys.executable, *COMMANDS[name]]
    benchmark.group = "start, in a new process"
    benchmark.pedantic(
        lambda: subprocess.run(command, check=True, capture_output=True), rounds=5, warmup_rounds=1
    )
