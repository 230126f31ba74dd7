"""The log of a training as a picture."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SMOOTHED = 50
"""Steps that the line of the loss is a mean over."""


def draw_curves(log: Path, picture: Path) -> None:
    """Loss and learning rate step by step, and the validations, as a PNG; nothing where the log has fewer than two steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    rows: dict[int, dict[str, float]] = {}
    found: dict[int, dict[str, float]] = {}
    for line in log.read_text(encoding="utf8").splitlines():
        row = json.loads(line)
        (rows if "loss" in row else found)[row["step"]] = row  # a step learned again after a kill counts once
    if len(rows) < 2:
        return
    steps = np.array(sorted(rows))
    losses = np.array([rows[step]["loss"] for step in steps])
    width = min(SMOOTHED, len(losses))
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, sharex=True)
    upper.plot(steps, losses, color="0.8", linewidth=0.6)
    upper.plot(steps[width - 1 :], np.convolve(losses, np.ones(width) / width, "valid"), label=f"loss, mean of {width}")
    rates = upper.twinx()
    rates.plot(steps, [rows[step]["rate"] for step in steps], color="0.6", linestyle=":", label="learning rate")
    upper.set_ylabel("loss")
    rates.set_ylabel("learning rate")
    upper.legend(loc="upper left")
    rates.legend(loc="upper right")
    validated = sorted(found)
    for name in sorted({name for row in found.values() for name in row} - {"step"}):
        lower.plot(validated, [found[step][name] for step in validated], marker="o", label=name)
    lower.set_xlabel("step")
    lower.set_ylabel("validation")
    if validated:
        lower.legend()
    figure.savefig(picture, dpi=100)
