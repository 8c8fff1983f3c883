"""Make docs/processes.svg and docs/piece.svg from the text below.

    python docs/draw.py

A drawing is lines of text. `box NAME COLUMN,ROW WIDTHxHEIGHT TITLE / LINE / ...` places a box; its units are cells of 10 by 10 pixels.
`arrow FROM SIDE -> TO SIDE [at SHIFT[,SHIFT]] [LABEL]` connects two boxes. SIDE is left, right, top or bottom; SHIFT moves the two ends
along their sides, in cells.
"""

from __future__ import annotations

import re
from html import escape
from pathlib import Path

CELL = 10
HERE = Path(__file__).resolve().parent

DRAWINGS = {
    "processes": """
size 96x44
box origin 2,2 18x8 origin / any HTTP server
box super 34,2 28x8 dfengine supernode / assigns pieces and sources / stores one verified copy
box geta 2,22 24x8 dfengine get (host A) / writes the file, / ends when it is complete
box peera 2,36 24x6 dfengine peer (host A) / serves the pieces of A
box getb 70,22 24x8 dfengine get -o - (host B) / a window in memory, / in order to a program
box peerb 70,36 24x6 dfengine peer (host B) / serves the pieces of B
arrow origin right -> super left the file, once
arrow geta top -> super bottom at -6,-12 register, pull
arrow super bottom -> geta right at -4,-2 pieces
arrow getb top -> super bottom at 6,12 register, pull
arrow super bottom -> getb left at 4,-2 pieces
arrow peerb left -> geta right at -2,2 pieces, from host to host
arrow peera right -> getb left at -2,2
""",
    "piece": """
size 79x56
box o 2,2 17x6 origin
box f 30,2 20x6 fetch thread / receive, hash, write
box c 58,2 19x6 copy on disk / plain bytes + record
box s 58,15 19x8 swarm (event loop) / rarest piece, / nearest source
box p 30,15 20x8 parked pull / a lease takes / an upload slot
box d 2,15 17x8 get: fetch thread / request, receive, / compare digest
box w 2,30 17x8 part file / pwrite, then digest / and bit in record
box u 30,30 20x8 peer server / checks the bit; / head, sendfile, tail
box n 58,30 19x8 other hosts / receive, verify, / serve
box e 2,46 17x8 output / renamed when / all pieces are stored
arrow o right -> f left bytes
arrow f right -> c left pieces
arrow c bottom -> s top available
arrow s left -> p right answer
arrow p left -> d right offer
arrow d bottom -> w top verified
arrow w right -> u left shared record
arrow u right -> n left piece
arrow n top -> s bottom report
arrow w bottom -> e top complete
""",
}

SIDES = {"left": (0.0, 0.5), "right": (1.0, 0.5), "top": (0.5, 0.0), "bottom": (0.5, 1.0)}
BOX = re.compile(r"box (\w+) (\d+),(\d+) (\d+)x(\d+) (.+)")
ARROW = re.compile(r"arrow (\w+) (\w+) -> (\w+) (\w+)(?: at (-?\d+)(?:,(-?\d+))?)?( .+)?")


def _end(box: tuple[int, int, int, int], side: str, shift: int) -> tuple[float, float]:
    x, y, width, height = box
    across, down = SIDES[side]
    along = (0, shift) if side in ("left", "right") else (shift, 0)
    return (x + across * width + along[0]) * CELL, (y + down * height + along[1]) * CELL


def svg(drawing: str) -> str:
    """Return the drawing as one SVG document. Raises ValueError for a line that is neither box nor arrow, KeyError for an unknown box."""
    lines = [line for line in drawing.strip().splitlines() if line]
    width, height = (int(n) * CELL for n in lines[0].removeprefix("size ").split("x"))
    boxes: dict[str, tuple[int, int, int, int]] = {}
    shapes, arrows = [], []
    for line in lines[1:]:
        if match := BOX.fullmatch(line):
            name, text = match[1], match[6].split(" / ")
            x, y, w, h = boxes[name] = int(match[2]), int(match[3]), int(match[4]), int(match[5])
            shapes.append(f'<rect x="{x * CELL}" y="{y * CELL}" width="{w * CELL}" height="{h * CELL}" rx="6"/>')
            top = (y + h / 2) * CELL - (len(text) - 1) * 8 + 4
            for n, part in enumerate(text):
                weight = ' class="title"' if n == 0 else ""
                shapes.append(f'<text x="{(x + w / 2) * CELL:g}" y="{top + 16 * n:g}"{weight}>{escape(part)}</text>')
        elif match := ARROW.fullmatch(line):
            first, second = int(match[5] or 0), int(match[6] or match[5] or 0)
            x1, y1 = _end(boxes[match[1]], match[2], first)
            x2, y2 = _end(boxes[match[3]], match[4], second)
            arrows.append(f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"/>')
            if match[7]:
                label = escape(match[7].strip())
                arrows.append(f'<text x="{(x1 + x2) / 2:g}" y="{(y1 + y2) / 2 - 5:g}" class="label">{label}</text>')
        else:
            raise ValueError(f"neither a box nor an arrow: {line}")
    style = (
        "rect{fill:#f6f8fa;stroke:#57606a}line{stroke:#0969da;stroke-width:1.5;marker-end:url(#tip)}"
        "text{font:13px sans-serif;text-anchor:middle;fill:#24292f}.title{font-weight:bold}"
        ".label{font-size:12px;fill:#0550ae;paint-order:stroke;stroke:#fff;stroke-width:4px}"
    )
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
    tip += '<path d="M0 0 8 4 0 8z" fill="#0969da"/></marker>'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">'
    ground = '<rect width="100%" height="100%" style="fill:#fff;stroke:none"/>'
    body = [f"<style>{style}</style><defs>{tip}</defs>", ground, *shapes, *arrows]
    return "\n".join([head, *body, "</svg>", ""])


def main() -> None:
    """Write every drawing beside this file."""
    for name, drawing in DRAWINGS.items():
        (HERE / f"{name}.svg").write_text(svg(drawing))


if __name__ == "__main__":
    main()
