"""Training curves, drawn from the log of a run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

SMOOTHED = 50
"""Window of the moving average of the loss, in steps."""


def draw_curves(log: Path, picture: Path) -> None:
    """Draw the loss, the learning rate and the validation results of a run as a PNG file.

    Does nothing if the log has fewer than two steps.

    Args:
        log: JSON Lines written by `run.train`.
        picture: the PNG file to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    step_rows: dict[int, dict[str, float]] = {}
    validations: dict[int, dict[str, float]] = {}
    for line in log.read_text(encoding="utf8").splitlines():
        row = json.loads(line)
        # A resumed run repeats steps; the last row of a step counts.
        (step_rows if "loss" in row else validations)[row["step"]] = row
    if len(step_rows) < 2:
        return
    steps = np.array(sorted(step_rows))
    losses = np.array([step_rows[step]["loss"] for step in steps])
    width = min(SMOOTHED, len(losses))
    figure = Figure(figsize=(9, 6), layout="constrained")
    FigureCanvasAgg(figure)
    upper, lower = figure.subplots(2, sharex=True)
    upper.plot(steps, losses, color="0.8", linewidth=0.6)
    upper.plot(steps[width - 1 :], np.convolve(losses, np.ones(width) / width, "valid"), label=f"loss, mean of {width}")
    rates = upper.twinx()
    rates.plot(steps, [step_rows[step]["rate"] for step in steps], color="0.6", linestyle=":", label="learning rate")
    upper.set_ylabel("loss")
    rates.set_ylabel("learning rate")
    upper.legend(loc="upper left")
    rates.legend(loc="upper right")
    validation_steps = sorted(validations)
    for name in sorted({name for row in validations.values() for name in row} - {"step"}):
        lower.plot(validation_steps, [validations[step][name] for step in validation_steps], marker="o", label=name)
    lower.set_xlabel("step")
    lower.set_ylabel("validation")
    if validations:
        lower.legend()
    figure.savefig(picture, dpi=100)
