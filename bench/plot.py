"""The figure of the page: requests a second, one bar for each server and era. Pure."""

from collections.abc import Sequence
from html import escape

from bench import stats
from bench.bar import Record
from bench.wire import ERAS

WIDTH, LEFT, ROW, GAP = 760, 275, 22, 34
COLOURS = {True: "#2f6f4f", False: "#9aa5b1"}
FONT = 'font-family="sans-serif" font-size="13"'


def plot(runs: Sequence[Record], labels: dict[str, str], *, connections: int = 16) -> str:
    """Return an SVG that reads well on light and on dark pages."""
    bars = [
        (era, name, stats.median(rates))
        for era in ERAS
        for name in labels
        if (
            rates := [
                run["rate"]
                for run in runs
                if (run["server"], run["era"], run["connections"]) == (name, era, connections)
            ]
        )
    ]
    scale = (WIDTH - LEFT - 80) / max(rate for _, _, rate in bars)
    parts, y = [], 0
    for era in ERAS:
        y += GAP
        parts.append(_text(8, y - 8, f"{era} era, requests a second", weight="bold"))
        for _, name, rate in (bar for bar in bars if bar[0] == era):
            parts.append(_text(LEFT - 8, y + 15, labels[name].strip("*"), anchor="end"))
            colour = COLOURS[name == "mcpserve"]
            parts.append(
                f'<rect x="{LEFT}" y="{y + 2}" width="{rate * scale:.1f}" height="{ROW - 5}"'
                f' fill="{colour}"/>'
            )
            parts.append(_text(LEFT + rate * scale + 6, y + 15, f"{rate:,.0f}"))
            y += ROW
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}"'
        f' viewBox="0 0 {WIDTH} {y + 10}" role="img">'
    )
    paper = '<rect width="100%" height="100%" fill="#ffffff"/>'
    return "\n".join([head, paper, *parts, "</svg>", ""])


def _text(x: float, y: float, text: str, *, anchor: str = "start", weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y}" {FONT} fill="#1c2733" text-anchor="{anchor}"'
        f' font-weight="{weight}">{escape(text)}</text>'
    )
