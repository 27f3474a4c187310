"""Python reads this at its start where PYTHONPATH names this folder, in every process: each socket is refused and noted
in the file that SOCKETS names."""

from __future__ import annotations

import os
import sys
from typing import Any

LOCAL = {"socket.gethostname", "socket.sethostname"}  # the name of this machine: no socket
LOG = os.environ["SOCKETS"]


def refuse(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook; see "Audit events table" in Python's documentation."""
    if event.startswith("socket.") and event not in LOCAL:
        with open(LOG, "a", encoding="utf-8") as log:
            log.write(f"{event} {arguments[1:]}\n")  # arguments[0] is the socket itself, or a host's name
        raise PermissionError(f"{event}: this process was promised to stay offline")


sys.addaudithook(refuse)
