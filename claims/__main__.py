"""The command line of the evidence: ``python -m claims run`` and ``python -m claims table``."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from claims.registry import catalogue, check_files
from claims.runner import load_results, merge_results, run_files, select
from claims.table import TABLE, render

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Check the papers' claims and table them.")
console = Console(stderr=True)


@app.command()
def run(
    family: Annotated[str | None, typer.Option(help="Only papers of this family.")] = None,
    number: Annotated[list[int] | None, typer.Option("--id", help="Only this number; repeatable.")] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Checks to run at the same time.")] = 1,
    quick: Annotated[bool, typer.Option(help="Two seeds each and no verdict: only that they run.")] = False,
) -> None:
    """Run checks and write claims/results.json."""
    files = select(family=family, ids=number or ())
    if not files:
        console.print("No check matches; `python -m claims table` lists what there is.")
        raise typer.Exit(2)
    store = None if quick else lambda result: merge_results([result])
    results, failures = run_files(files, jobs=jobs, quick=quick, console=console, finished=store)
    if not quick:
        shown = Table("no.", "verdict", "effect", "question")
        for result in sorted(results, key=lambda r: r.id):
            for o in result.outcomes:
                interval = "" if o.low is None or o.high is None else f" [{o.low:.3g}, {o.high:.3g}]"
                shown.add_row(str(result.id), o.verdict, f"{o.effect:.3g}{interval}", o.question)
        console.print(shown)
    for line in failures:
        console.print(f"failed: {line}", markup=False)
    raise typer.Exit(1 if failures else 0)


@app.command()
def table(
    check: Annotated[bool, typer.Option("--check", help="Only compare; exit 1 if out of date.")] = False,
) -> None:
    """Write docs/CLAIMS.md from the catalogue and the results."""
    text = render(catalogue(), load_results(), check_files())
    if check:
        if not TABLE.exists() or TABLE.read_text(encoding="utf-8") != text:
            console.print(f"{TABLE.name} is out of date; run `python -m claims table`.")
            raise typer.Exit(1)
        return
    TABLE.parent.mkdir(exist_ok=True)
    TABLE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    app()
