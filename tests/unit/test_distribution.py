"""How the tests are divided among processes."""

from __future__ import annotations

import pytest


@pytest.mark.skipif("not config.getoption('loadgroup', False)", reason="all tests run in one process")
@pytest.mark.xdist_group("distribution")
def test_tests_of_a_group_stay_together(request: pytest.FixtureRequest) -> None:
    """Otherwise each process starts its own servers: pytest-xdist finds the group of a test in its name."""
    assert request.node.nodeid.endswith("@distribution")
