"""How long the command takes to start; the promise is 2x of importing typer. Writes build/bench/startup.json."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 9
LIMIT = 2.0  # times `import typer`
OUTPUT = Path("build/bench/startup.json")
VECTORS = Path("tests/vectors/v1")


def seconds(arguments: list[str]) -> float:
    """Least wall time of a Python command: other load on the machine only ever adds."""
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL)
        times.append(time.perf_counter() - started)
    return min(times)


def commit() -> str:
    """The commit that was measured, or "unknown"."""
    result = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False)
    return result.stdout.strip() if result.returncode == 0 else "unknown"


def main() -> int:
    """Measure, print, write; 1 if a command is over the limit."""
    commands = {
        "python -c pass": ["-c", "pass"],
        "import typer": ["-c", "import typer"],
        "gancodec --help": ["-m", "gancodec", "--help"],
        "gancodec encode --help": ["-m", "gancodec", "encode", "--help"],
        "gancodec --version": ["-m", "gancodec", "--version"],
    }
    sample = next(iter(sorted(VECTORS.glob("*.gic"))), None)
    if sample is not None:
        commands["gancodec info"] = ["-m", "gancodec", "info", str(sample)]
    results = {name: seconds(arguments) for name, arguments in commands.items()}
    for name, value in results.items():
        print(f"{name:24} {value * 1000:7.1f} ms  {value / results['import typer']:5.2f}x")
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "benchmark": "startup",
        "commit": commit(),
        "machine": {"cpu": platform.processor(), "system": platform.platform(), "cores": os.cpu_count()},
        "python": platform.python_version(),
        "seconds": results,
    }
    OUTPUT.write_text(json.dumps(record, indent=1) + "\n")
    slow = [
        name for name in ("gancodec --help", "gancodec info") if results.get(name, 0) > LIMIT * results["import typer"]
    ]
    if slow:
        print(f"over {LIMIT}x of import typer: {', '.join(slow)}", file=sys.stderr)
    return 1 if slow else 0


if __name__ == "__main__":
    sys.exit(main())
