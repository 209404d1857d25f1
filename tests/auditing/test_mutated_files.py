"""Files with bytes or fields changed at random: an answer, or one clear line; never a traceback.

It runs for about ten seconds; ``STEELYARD_FUZZ_SECONDS`` says otherwise. A failure names its seed.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from tests.auditing.test_sources import LIVE, TRAIN
from tests.command_line import invoke

SECONDS = float(os.environ.get("STEELYARD_FUZZ_SECONDS", "10"))
WRITERS = {"csv": "write_csv", "parquet": "write_parquet", "ndjson": "write_ndjson", "arrow": "write_ipc"}
ODD = [
    "",
    "NA",
    "nan",
    "inf",
    "1e400",
    "-",
    '"',
    "'",
    "\x00",
    "\r",
    "é",
    "1,5",
    "9" * 40,
    "[1]",
    "{}",
    "null",
    "^a$",
]


def bytes_changed(content, r):
    """Flip, cut, insert or double some bytes."""
    out = bytearray(content)
    for _ in range(int(r.integers(1, 6))):
        at = int(r.integers(0, max(len(out), 1)))
        kind = r.integers(4)
        if kind == 0 and out:
            out[at] ^= 1 << int(r.integers(8))
        elif kind == 1:
            del out[at : at + int(r.integers(1, 200))]
        elif kind == 2:
            out[at:at] = r.integers(0, 256, int(r.integers(1, 20)), dtype=np.uint8).tobytes()
        else:
            out[at:at] = out[at : at + int(r.integers(1, 200))]
    return bytes(out)


def fields_changed(text, r):
    """Replace some fields of a text by odd values."""
    lines = text.split("\n")
    for _ in range(int(r.integers(1, 20))):
        i = int(r.integers(0, len(lines)))
        fields = lines[i].split(",")
        fields[int(r.integers(0, len(fields)))] = str(r.choice(ODD))
        lines[i] = ",".join(fields)
    return "\n".join(lines)


def types_mixed(frame, r):
    """Give some columns another type or name."""
    for name in r.choice(frame.columns, 2):
        kind = r.integers(6)
        if kind == 0:
            frame = frame.with_columns(pl.col(name).cast(pl.String))
        elif kind == 1:
            frame = frame.with_columns(pl.lit(None).alias(name))
        elif kind == 2:
            frame = frame.with_columns(pl.concat_list(name).alias(name))
        elif kind == 3:
            frame = frame.with_columns(pl.struct(a=pl.lit(1)).alias(name))
        elif kind == 4:
            frame = frame.with_columns(pl.int_range(pl.len()).cast(pl.Datetime).alias(name))
        else:
            frame = frame.rename({name: str(r.choice(["*", "a", "", "^b$", name]))})
            break
    return frame


def mutant(seed):
    """Write a changed TRAIN or LIVE; return both names."""
    r = np.random.default_rng(seed)
    suffix = str(r.choice(list(WRITERS)))
    names = [f"t.{suffix}", f"l.{suffix}"]
    frames = [TRAIN, LIVE]
    which = int(r.integers(2))
    kind = int(r.integers(3))
    if kind == 0:
        frames[which] = types_mixed(frames[which], r)
    for name, frame in zip(names, frames):
        # CSV has no lists and structs.
        nested = [c for c, dtype in frame.schema.items() if dtype.is_nested()] if suffix == "csv" else []
        getattr(frame.drop(nested), WRITERS[suffix])(name)
    file = Path(names[which])
    if kind == 1 and suffix in ("csv", "ndjson"):
        file.write_bytes(fields_changed(file.read_text(), r).encode())
    elif kind:
        file.write_bytes(bytes_changed(file.read_bytes(), r))
    return names


@pytest.mark.slow
def test_mutated_files_end_in_an_answer_or_one_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    end = time.monotonic() + SECONDS
    seed = 0
    while time.monotonic() < end:
        names = mutant(seed)
        done = invoke("audit", *names, "--target", "y", "--weighting", "none", "-q", "--metric", "accuracy")
        told = f"seed {seed}: exit {done.exit_code}, {done.exception!r}, {done.stderr}"
        assert done.exception is None or isinstance(done.exception, SystemExit), told
        assert done.exit_code in (0, 2, 3), told
        assert (done.exit_code == 0) == (not done.stderr), told
        assert "Traceback" not in done.stderr, told
        seed += 1
    assert seed > SECONDS / 10
