"""Real kills: the script whose figures are in docs/durability.md, with a dozen of them."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def test_a_dozen_kills_at_random_instants():
    """In a process of its own, as children are forked from it."""
    script = ROOT / "experiments" / "benchmarks" / "durability.py"
    command = [sys.executable, str(script), "--kills", "12", "--flows", "density,optimizer"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    answer = subprocess.run(command, capture_output=True, text=True, check=True, env=environment, timeout=100)
    assert answer.stderr == ""
    counts = {key.strip(): int(n) for key, n in (part.rsplit(" ", 1) for part in answer.stdout.strip().split("  "))}
    assert counts["kills"] == 12
    assert counts["while frames came"] >= 5
    assert counts["damaged"] == counts["unequal"] == 0
