"""Bar charts of the results of `bench.transfer --json FILE`, as a PNG; needs the `plot` extra.

    python -m bench.plot FILE PNG
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    """Draw speeds and CPU side by side."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    content: dict[str, Any] = json.loads(Path(sys.argv[1]).read_text())
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.2), sharey=False)
    for axis, key, title in ((axes[0], "speeds", "MiB/s"), (axes[1], "cpu", "CPU s/GB, servers included")):
        names = list(reversed(content[key]))
        axis.barh(names, [content[key][name] for name in names], color=["#3c78b4" if "get" in name else "#999999" for name in names])
        axis.set_title(title, fontsize=9)
        axis.tick_params(labelsize=7)
    figure.tight_layout()
    figure.savefig(sys.argv[2], dpi=80)


if __name__ == "__main__":
    main()
