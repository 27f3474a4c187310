"""Symbols per second of both entropy coders, and their size against the ideal. Writes build/bench/coders.json."""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from pathlib import Path

import numpy as np
from bench_startup import commit

from gancodec.entropy.coder import Coder
from gancodec.entropy.huffman import HuffmanReader, HuffmanWriter
from gancodec.entropy.rangecoder import RangeReader, RangeWriter
from gancodec.entropy.tables import TOTAL, Tables, fit_counts
from gancodec.types import IntArray

SYMBOLS = 300_000
CALLS = 10  # as many as a picture has passes
REPEATS = 3
ROWS = 64
OUTPUT = Path("build/bench/coders.json")

Batch = tuple[IntArray, IntArray]


def laplacian_tables() -> Tables:
    """Tables of scales 0.05 to 72, six a doubling, like the shipped ones."""
    radius, counts = [], []
    for scale in 0.05 * 2 ** (np.arange(ROWS) / 6):
        reach = min(255, max(1, int(11 * scale)))
        weights = np.exp(-np.abs(np.arange(-reach, reach + 1)) / scale)
        radius.append(reach)
        counts.append(fit_counts(np.append(weights, 1e-6 * weights.sum())))
    return Tables(np.array(radius, np.int32), np.concatenate(counts))


def batches(tables: Tables) -> list[Batch]:
    """Symbols drawn from their own tables; most rows are small scales, as in pictures."""
    rng = np.random.default_rng(1)
    result = []
    for _ in range(CALLS):
        rows = np.minimum(rng.exponential(12, SYMBOLS // CALLS), ROWS - 1).astype(np.int32)
        symbols = np.zeros(rows.shape, np.int32)
        for row in np.unique(rows).tolist():
            where = np.flatnonzero(rows == row)
            # An ESCAPE drawn here becomes the first value beyond the table, which is coded as one.
            entries = rng.choice(len(tables.counts[row]), where.size, p=(tables.counts[row] + 1) / TOTAL)
            symbols[where] = entries - tables.radius[row]
        result.append((rows, symbols))
    return result


def code_all(coder: Coder, data: list[Batch], write: bool) -> tuple[float, bytes]:
    """Seconds and bytes of one stream."""
    started = time.perf_counter()
    for rows, symbols in data:
        coder.code(rows, symbols if write else None)
    stream = coder.finish()
    return time.perf_counter() - started, stream


def measure(name: str, tables: Tables, data: list[Batch]) -> dict[str, float | str]:
    """Best rates of one coder; the first stream also pays for building codes and models and is given apart."""
    writer: type[RangeWriter | HuffmanWriter] = RangeWriter if name == "range" else HuffmanWriter
    reader: type[RangeReader | HuffmanReader] = RangeReader if name == "range" else HuffmanReader
    first, stream = code_all(writer(tables), data, True)
    encode = min(code_all(writer(tables), data, True)[0] for _ in range(REPEATS))
    decode = min(code_all(reader(tables, stream), data, False)[0] for _ in range(REPEATS))
    ideal = sum(float(tables.bits(rows, symbols).sum()) for rows, symbols in data) / 8
    return {
        "coder": name,
        "encode_symbols_per_second": round(SYMBOLS / encode),
        "decode_symbols_per_second": round(SYMBOLS / decode),
        "first_use_seconds": round(first - encode, 4),
        "bytes": len(stream),
        "bytes_over_ideal": round(len(stream) / ideal, 4),
    }


def main() -> int:
    """Measure, print a JSON line per coder, write."""
    tables = laplacian_tables()
    data = batches(tables)
    results = [measure(name, tables, data) for name in ("range", "huffman")]
    for result in results:
        print(json.dumps(result))
    OUTPUT.parent.mkdir(parents=True, exist_ok=True)
    record = {
        "benchmark": "coders",
        "commit": commit(),
        "machine": {"cpu": platform.processor(), "system": platform.platform(), "cores": os.cpu_count()},
        "python": platform.python_version(),
        "symbols": SYMBOLS,
        "results": results,
    }
    OUTPUT.write_text(json.dumps(record, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
