"""What tuning tried in; an HTML page with a picture of the error rate over two options out: nothing loaded from
elsewhere."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np

WIDTH, HEIGHT, MARGIN = 640, 420, 56  # pixels
CELLS = 48  # of the coloured ground, each way
NEAR, FAR = (30, 96, 145), (253, 231, 180)  # colours of the best and the worst rate
SPREAD = 1.35  # rates beyond so many times the best one look alike

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, "Segoe UI", Roboto, "Noto Sans", sans-serif; margin: 0 auto; max-width: 760px;
  padding: 28px 20px 60px; }
h1 { font-size: 22px; } h2 { font-size: 16px; } svg { width: 100%; height: auto; }
text { font-size: 12px; fill: currentColor; } .best { font-weight: 600; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
td, th { padding: 2px 16px 2px 0; text-align: left; }
"""


def surface_page(title: str, found: Mapping[str, Any]) -> str:
    """`found` is what `asrkit.tune.tune` gives: its surfaces, each a picture, and the rates by beam, a table."""
    parts = [f"<!doctype html><meta charset=utf-8><title>{escape(title)}</title><style>{_STYLE}</style>"]
    options = ", ".join(f"{name} {value}" for name, value in found["options"].items())
    parts.append(f"<h1>{escape(title)}</h1><p>Best: {escape(options)}; {100 * found['rate']:.2f} %, over ")
    parts.append(
        f"{found['utterances']:,} utterances. Each dot was searched; the ringed one, where a bowl laid through them is "
        "lowest, is taken. The ground between them is guessed.</p>"
    )
    parts += [f"<h2>{escape(' and '.join(one['options']))}</h2>{_picture(one)}" for one in found["surfaces"]]
    if found["beams"]:
        rows = "".join(f"<tr><td>{beam}<td>{100 * rate:.2f} %" for beam, rate in found["beams"])
        parts.append(f"<h2>Beam</h2><table><tr><th>beam<th>error rate{rows}</table>")
    return "".join(parts) + "\n"


def _picture(surface: Mapping[str, Any]) -> str:
    points = np.array(surface["points"], dtype=float)  # (N, 3): up, right, rate
    rates = points[:, 2]
    low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
    size = np.maximum(high - low, 1e-9)
    placed = (points[:, :2] - low) / size  # (N, 2), 0 to 1
    worst = max(rates.max() if rates.max() < SPREAD * rates.min() else SPREAD * rates.min(), rates.min() + 1e-9)
    inner = WIDTH - 2 * MARGIN, HEIGHT - 2 * MARGIN

    def at(up: float, right: float) -> tuple[float, float]:
        return MARGIN + right * inner[0], HEIGHT - MARGIN - up * inner[1]

    def colour(rate: float) -> str:
        share = min(1.0, max(0.0, (rate - rates.min()) / (worst - rates.min())))
        return "#" + "".join(f"{round(near + share * (far - near)):02x}" for near, far in zip(NEAR, FAR, strict=True))

    parts = [f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">']
    for row in range(CELLS):
        for column in range(CELLS):
            middle = (np.array([row, column]) + 0.5) / CELLS
            x, y = at((row + 1) / CELLS, column / CELLS)
            fill = colour(_guess(middle, placed, rates))
            parts.append(
                f'<rect x="{x:.1f}" y="{y:.1f}" width="{inner[0] / CELLS + 0.6:.1f}" '
                f'height="{inner[1] / CELLS + 0.6:.1f}" fill="{fill}"/>'
            )
    best = next(place for place, pair in enumerate(points[:, :2].tolist()) if pair == list(surface["chosen"]))
    for number, ((up, right), (alpha, beta, rate)) in enumerate(zip(placed, points, strict=True)):
        x, y = at(up, right)
        is_best = number == best
        names = surface["options"]
        parts.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{7 if is_best else 4}" fill="{colour(rate)}" '
            f'stroke="{"#d6336c" if is_best else "#fff"}" stroke-width="{3 if is_best else 1}">'
            f"<title>{names[0]} {alpha:g}, {names[1]} {beta:g}: {100 * rate:.2f} %</title></circle>"
        )
    parts += _axes(surface["options"], low, high)
    return "".join(parts) + "</svg>"


def _guess(place: Any, placed: Any, rates: Any) -> float:
    """Between the points: the mean of their rates by closeness (Shepard 1968)."""
    weights = 1 / (((placed - place) ** 2).sum(axis=1) + 1e-4) ** 2
    return float((weights * rates).sum() / weights.sum())


def _axes(names: Sequence[str], low: Any, high: Any) -> list[str]:
    left, bottom = MARGIN, HEIGHT - MARGIN
    return [
        f'<text x="{left}" y="{bottom + 18}">{low[1]:g}</text>',
        f'<text x="{WIDTH - MARGIN}" y="{bottom + 18}" text-anchor="end">{high[1]:g}</text>',
        f'<text x="{WIDTH / 2}" y="{bottom + 34}" text-anchor="middle" class="best">{escape(names[1])}</text>',
        f'<text x="{left - 8}" y="{bottom}" text-anchor="end">{low[0]:g}</text>',
        f'<text x="{left - 8}" y="{MARGIN + 10}" text-anchor="end">{high[0]:g}</text>',
        f'<text x="{left - 8}" y="{HEIGHT / 2}" text-anchor="end" class="best">{escape(names[0])}</text>',
    ]
