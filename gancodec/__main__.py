"""``python -m gancodec``: the same as the ``gancodec`` command."""

from __future__ import annotations

from gancodec.cli.app import main

if __name__ == "__main__":
    main()
