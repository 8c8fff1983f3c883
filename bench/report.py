"""A short report of a pytest-benchmark JSON file.

    python -m bench.report FILE
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from bench.stage import table


def main() -> None:
    """Print one row per benchmark."""
    content = json.loads(Path(sys.argv[1]).read_text())
    rows = [
        [bench["name"].removeprefix("test_"), f"{bench['stats']['median'] * 1e6:.2f}", f"{bench['stats']['min'] * 1e6:.2f}",
         str(bench["stats"]["rounds"]), str(bench["extra_info"].get("per", ""))]
        for bench in content["benchmarks"]
    ]
    print(table(["benchmark", "median us", "min us", "rounds", "per"], rows))


if __name__ == "__main__":
    main()
