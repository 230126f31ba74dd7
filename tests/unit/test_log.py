from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog

from logo_similarity.log import configure_logging

ROOT = Path(__file__).parents[2]
# RefusalLog and Follower get their events when they are constructed; RequestMiddleware passes the level as an argument.
LOGGED_EVENT = re.compile(
    r"""(?:(?:\.(?:debug|info|warning|error|exception|critical|log)|\bRefusalLog)\((?:\w+, )?\s*|\bevent=)"(\w+)\""""
)


@pytest.fixture
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def test_one_json_object_a_line_from_us_and_from_libraries(restored: None, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging("info", "json")
    structlog.contextvars.bind_contextvars(request_id="abc")
    structlog.get_logger("ours").info("request", status=200)
    logging.getLogger("library").warning("a %s", "word")
    logging.getLogger("library").debug("too fine")
    structlog.contextvars.clear_contextvars()
    ours, library = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["status"], ours["request_id"], ours["level"]) == ("request", 200, "abc", "info")
    assert (library["event"], library["logger"], library["level"]) == ("a word", "library", "warning")


@pytest.mark.parametrize(
    "secret",
    [
        "http://s3:9000/l3d/a.jpg?X-Amz-Expires=300&X-Amz-Signature=%s",
        "http://s3:9000/l3d/a.jpg?X-Amz-Credential=%s&X-Amz-Expires=300",
        "http://logos/v1/files/%s/a.jpg",
        "X-API-Key: %s",
    ],
)
def test_secrets_do_not_get_into_a_line(restored: None, capsys: pytest.CaptureFixture[str], secret: str) -> None:
    configure_logging("info", "json")
    structlog.get_logger("ours").info("link", url=secret % "deadbeef0123")
    logging.getLogger("library").info(secret, "deadbeef0123")
    text = capsys.readouterr().err
    assert "deadbeef0123" not in text
    assert text.count("[redacted]") == 2


def test_every_event_is_documented() -> None:
    logged = {
        event for path in (ROOT / "logo_similarity").rglob("*.py") for event in LOGGED_EVENT.findall(path.read_text())
    }
    assert {"request", "refused_at_the_door", "decoder_died", "catalog_fell_back"} < logged
    _, _, rest = (ROOT / "docs" / "operate.md").read_text().partition("\n### Log events\n")
    table, _, _ = rest.partition("\n### ")
    documented = re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == logged
