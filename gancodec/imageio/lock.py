"""The lock over what Pillow and `warnings` share with the whole process."""

from __future__ import annotations

import threading

# A picture may hold another: split files do.
PILLOW = threading.RLock()
