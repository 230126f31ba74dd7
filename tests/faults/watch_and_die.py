"""A run of the watches that kills itself at a stage; started by `test_killed_watch`.

python -m tests.faults.watch_and_die ROOT WATCHES STAGE HOST
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from logo_similarity.engine import SearchEngine
from logo_similarity.watch import delivery, run, store
from logo_similarity.watch.delivery import deliver
from logo_similarity.watch.store import WatchStore
from logo_similarity.watch.webhook import WebhookRules, send


def main(root: Path, watches: Path, fatal_stage: str, host: str) -> None:
    async def send_and_die(*arguments: Any, **options: Any) -> str:
        outcome = await send(*arguments, **options)
        if fatal_stage == "alert sent":
            os.kill(os.getpid(), signal.SIGKILL)
        return outcome

    def dying(stage: str, function: Callable[..., Any], *, calls: int = 1) -> Callable[..., Any]:
        """The function, after which the process is killed if it was called so often in its stage."""
        remaining = calls

        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal remaining
            result = function(*arguments, **options)
            remaining -= 1
            if stage == fatal_stage and not remaining:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return call

    for module, name, stage, calls in (
        (run, "state_of", "state read", 1),
        (run, "_changes", "first watch searched", 1),
        (store, "_insert", "first alert written", 1),
        (store, "_insert", "second alert written", 2),
        (store, "_write_state", "state written", 1),
        (WatchStore, "commit", "committed", 1),
    ):
        setattr(module, name, dying(stage, getattr(module, name), calls=calls))
    setattr(delivery, "send", send_and_die)  # noqa: B010 - a function, as mypy knows
    watched = WatchStore(watches)
    with watched.running(), SearchEngine.open(root, device="cpu") as engine:
        run.run(watched, engine, lambda _owner: True)
        rules = WebhookRules(frozenset({host}), http=True, private=True)
        deliver(watched, rules, lambda _owner: True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4])
