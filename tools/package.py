"""Build wheel and sdist, install the wheel alone into a clean environment, and use it there from an empty folder.

What the wheel contains is checked by `tests/test_package.py`; here it is only what a user gets: the wheel, its
dependencies, and nothing of this repository.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
DIST = ROOT / "dist"
ENVIRONMENT = ROOT / "build" / "package" / "venv"
MISSING_EXTRA = 4  # exit code
PICTURE = """
import numpy as np
from PIL import Image
y, x = np.mgrid[0:192, 0:256]
noise = np.random.default_rng(0).integers(0, 40, (192, 256, 3))
Image.fromarray((np.stack((x, y, x // 2 + y // 2), -1) * 0.8 + noise).astype(np.uint8)).save("picture.png")
"""
LIBRARY = """
import sys
import gancodec
from pathlib import Path
from PIL import Image
assert Path(gancodec.__file__).is_relative_to(sys.prefix), gancodec.__file__
data = gancodec.encode("picture.png", bpp=0.3)
assert len(data) <= 0.3 / 8 * 256 * 192, len(data)
assert gancodec.decode(data).size == (256, 192)
assert Image.open("back.png").size == (256, 192)
"""


def main() -> None:
    """Build, install, use; the first step that fails ends it."""
    for folder in (DIST, ENVIRONMENT):  # nothing of an earlier run
        shutil.rmtree(folder, ignore_errors=True)
    started = time.monotonic()
    step([sys.executable, "-m", "build", "--outdir", str(DIST)], ROOT)
    for path in sorted(DIST.iterdir()):
        print(f"package: {path.name}: {path.stat().st_size:,} bytes")
    (wheel,) = DIST.glob("*.whl")
    step(["bash", "tools/make_env.sh", str(wheel)], ROOT, VENV=str(ENVIRONMENT), PYTHON=sys.executable)
    with tempfile.TemporaryDirectory() as empty:
        use(ENVIRONMENT / "bin", Path(empty))
    shutil.rmtree(ENVIRONMENT)  # a gigabyte
    print(f"package: built, installed and used in {time.monotonic() - started:.0f} s")


def use(programs: Path, folder: Path) -> None:
    """What a user would do, in `folder`, with the commands of the clean environment."""
    python, gancodec = str(programs / "python"), str(programs / "gancodec")
    step([python, "-m", "pip", "check"], folder)
    step([python, "-c", PICTURE], folder)
    step([gancodec, "--version"], folder)
    step([gancodec, "models"], folder)
    step([gancodec, "encode", "picture.png", "--bpp", "0.3"], folder)
    step([gancodec, "info", "picture.gic"], folder)
    step([gancodec, "verify", "picture.gic"], folder)
    step([gancodec, "decode", "picture.gic", "-o", "back.png"], folder)
    step([python, "-c", LIBRARY], folder)
    step([gancodec, "encode", "picture.png", "-o", "x.gic", "--saliency", "fine"], folder, MISSING_EXTRA)


def step(command: list[str], folder: Path, code: int = 0, **more: str) -> None:
    """Run one command, saying which; nothing that points Python or the codec elsewhere is passed on.

    Another exit code than `code` ends the program.
    """
    print("package:", *(part if "\n" not in part else "…" for part in command), flush=True)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "GANCODEC", "VIRTUAL_ENV"))}
    ended = subprocess.run(command, cwd=folder, env=clean | more, check=False).returncode
    if ended != code:
        sys.exit(f"package: failed: exit code {ended}, expected {code}")


if __name__ == "__main__":
    main()
