from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from logo_similarity.config import load_settings
from logo_similarity.errors import ConfigError
from logo_similarity.keys.fixed import read_fixed_keys

DIGEST = hashlib.sha256(b"secret").hexdigest()


def test_keys_of_the_setting_and_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"# teams\n\n  a.b-c_d@e:{DIGEST}  # until May\n{'x' * 64}:{'0' * 64}\n")
    keys = read_fixed_keys(load_settings(api_keys="first,secret", api_keys_file=tmp_path / "keys"))
    assert [(key.id, key.name, key.secrets[0].sha256) for key in keys] == [
        ("setting-1", "setting-1", hashlib.sha256(b"first").hexdigest()),
        ("setting-2", "setting-2", DIGEST),
        ("a.b-c_d@e", "a.b-c_d@e", DIGEST),
        ("x" * 64, "x" * 64, "0" * 64),
    ]
    for key in keys:
        assert (key.role, key.rate, key.quota, key.revoked, key.expires()) == ("search", None, None, None, None)
        assert key.created.timestamp() == 0


def test_without_settings_there_are_no_keys() -> None:
    assert read_fixed_keys(load_settings()) == ()


@pytest.mark.parametrize(
    "line", ["name", f"{'x' * 65}:{DIGEST}", f"a b:{DIGEST}", f"name:{DIGEST}0", f"name:{DIGEST.upper()}"]
)
def test_an_invalid_line_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "keys").write_text(f"# teams\nteam:{DIGEST}\n{line}\n")
    with pytest.raises(ConfigError, match=r"LOGO_API_KEYS_FILE: .*, line 3: expected `name:sha256-hex`"):
        read_fixed_keys(load_settings(api_keys_file=tmp_path / "keys"))


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "cannot be read: No such file"), (b"\xff", "is not UTF-8"), (b"# none\n", "contains no key")],
)
def test_a_file_without_keys_is_an_error(tmp_path: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        (tmp_path / "keys").write_bytes(content)
    with pytest.raises(ConfigError, match=f"LOGO_API_KEYS_FILE: .*{problem}"):
        read_fixed_keys(load_settings(api_keys_file=tmp_path / "keys"))
