"""How long the command takes to start, and to refuse a file by its header. Writes build/bench/startup.json.

The promises: `--help` takes at most 1.4 times, `info` twice what importing typer does; a .gic file that declares too
many pixels is refused within 50 ms over `--version`.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

REPEATS = 9
LIMITS = {"gancodec --help": 1.4, "gancodec info": 2.0}  # times `import typer`
REFUSAL = 0.050  # seconds over `--version`
HOSTILE = Path("tests/hostile")
OUTPUT = Path("build/bench/startup.json")
VECTORS = Path("tests/vectors/v1")


def seconds(arguments: list[str], code: int) -> float:
    """Wall time of a Python command that ends with `code`."""
    started = time.perf_counter()
    silent = subprocess.DEVNULL
    ended = subprocess.run([sys.executable, *arguments], check=False, stdout=silent, stderr=silent).returncode
    taken = time.perf_counter() - started
    if ended != code:
        raise RuntimeError(f"{' '.join(arguments)} ended with {ended}, not with {code}")
    return taken


def measure(commands: dict[str, list[str]]) -> dict[str, float]:
    """Least wall time of each, taken in turns: other load on the machine only ever adds."""
    codes = {name: 3 if name.endswith("bomb") else 0 for name in commands}
    rounds = [{name: seconds(how, codes[name]) for name, how in commands.items()} for _ in range(REPEATS)]
    return {name: min(times[name] for times in rounds) for name in commands}


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
    commands["gancodec decode bomb"] = ["-m", "gancodec", "decode", str(HOSTILE / "pixels-2-31.gic"), "-o", "x.png"]
    commands["gancodec encode bomb"] = ["-m", "gancodec", "encode", str(HOSTILE / "pixels.png"), "-o", "x.gic"]
    results = measure(commands)
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
    slow = [name for name, most in LIMITS.items() if results.get(name, 0) > most * results["import typer"]]
    for name in slow:
        print(f"{name}: over {LIMITS[name]}x of import typer", file=sys.stderr)
    over = results["gancodec decode bomb"] - results["gancodec --version"]
    print(f"refused {over * 1000:.1f} ms over --version, at most {REFUSAL * 1000:.0f} wanted")
    return 1 if slow or over > REFUSAL else 0


if __name__ == "__main__":
    sys.exit(main())
