"""How the benchmarks write their tables."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def write_table(rows: Sequence[dict[str, Any]], path: str | Path, columns: Sequence[str] | None = None) -> None:
    """Write rows as CSV, by default with the columns of the first of them; what a row lacks is empty. An empty path
    asks for no table."""
    if not str(path):
        return
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with Path(path).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns or list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
