"""The public names of the package."""

from __future__ import annotations

import subprocess
import sys

import pytest

import logo_similarity


@pytest.mark.parametrize("name", logo_similarity.__all__)
def test_a_public_name_can_be_imported(name: str) -> None:
    assert getattr(logo_similarity, name) is not None


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        _ = logo_similarity.Nothing


def test_importing_the_package_loads_no_library() -> None:
    code = (
        "import sys, logo_similarity; sys.exit(any(name in sys.modules for name in ('numpy', 'pydantic', 'fastapi')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
