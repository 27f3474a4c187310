"""``python -m gancodec.train``: training where only torch, numpy, Pillow and safetensors are installed."""

from __future__ import annotations

import sys

from gancodec.errors import GicError
from gancodec.train.command import main

if __name__ == "__main__":
    try:
        main()
    except GicError as error:
        print(f"gancodec: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
