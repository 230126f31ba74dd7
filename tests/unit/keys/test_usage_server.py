"""The connection to a Redis or Valkey server."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import SecretStr

from logo_similarity.errors import ConfigError
from logo_similarity.keys.usage_server import UsageServer
from tests.certificates import make_certificate
from tests.unit.keys.test_usage import admitted, key
from tests.valkey import ValkeyServer, tls_in_front


def server_at(url: str) -> UsageServer:
    return UsageServer(SecretStr(url))


def test_processes_count_together_and_none_too_many(valkey: ValkeyServer) -> None:
    code = (
        "import sys; from tests.unit.keys.test_usage_server import admitted, key, server_at\n"
        "print(admitted(server_at(sys.argv[1]).open(), key(rate='900/hour', quota=50), 30))"
    )
    command = [sys.executable, "-c", code, valkey.patient_url]
    running = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert sum(int(process.communicate()[0]) for process in running) == 50
    assert server_at(valkey.patient_url).today([key(quota=50), key("other")]) == {"team": 50, "other": 0}


def test_counters_are_named_after_this_project_and_expire(valkey: ValkeyServer) -> None:
    usage = server_at(valkey.patient_url).open()
    usage.admit(key(rate="5/hour", quota=5))
    with valkey.client() as client:
        names = list(client.scan_iter())
        assert len(names) == 3  # and the one of the connection
        assert all(name.startswith(b"logo-similarity:") and client.ttl(name) > 0 for name in names)
    usage.close()


def test_a_connection_that_the_server_has_closed_is_opened_again(valkey: ValkeyServer) -> None:
    usage = server_at(valkey.patient_url).open()
    assert admitted(usage, key(quota=3), 1) == 1
    with valkey.client() as client:
        client.client_kill_filter(_type="normal", skipme=True)
        client.script_flush()
    assert admitted(usage, key(quota=3), 5) == 2
    usage.close()


def test_the_schemes_of_valkey_are_those_of_redis(valkey: ValkeyServer) -> None:
    server = server_at(valkey.patient_url.replace("redis://", "valkey://"))
    assert server.name == f"127.0.0.1:{valkey.port}"
    server.open().close()


def test_a_server_that_does_not_let_this_client_count_is_named_without_the_password(valkey: ValkeyServer) -> None:
    with valkey.client() as client:
        client.acl_setuser("reader", enabled=True, passwords=["+secret"], categories=["+@read"], keys=["*"])
    place = f"127.0.0.1:{valkey.port}"
    for login, reason in [("", "Authentication required"), (":secret@", "invalid"), ("reader:secret@", "permission")]:
        with pytest.raises(ConfigError, match=rf"LOGO_USAGE_URL: {place} cannot be used: .*{reason}") as refusal:
            server_at(f"redis://{login}{place}").open()
        assert "secret" not in str(refusal.value)
    with pytest.raises(ConfigError, match="Authentication required"):
        server_at(f"redis://{place}").today([key()])


def test_a_connection_with_tls(valkey: ValkeyServer, tmp_path: Path) -> None:
    server, _ = make_certificate(tmp_path, "localhost")
    with tls_in_front(valkey, server) as port:
        login = f":{valkey.password}@"
        trusting = f"?socket_timeout=60&ssl_ca_certs={tmp_path / 'cert.pem'}"
        for scheme in ("rediss", "valkeys"):
            usage = server_at(f"{scheme}://{login}localhost:{port}/0{trusting}").open()
            assert admitted(usage, key(scheme, quota=2), 3) == 2
            usage.close()
        for address, reason in [
            (f"localhost:{port}", "CERTIFICATE_VERIFY_FAILED"),
            (f"127.0.0.1:{port}/0{trusting}", "IP address mismatch"),
            (f"localhost:{port}?ssl_ca_certs=missing.pem", "No such file"),
        ]:
            with pytest.raises(ConfigError, match=reason):
                server_at(f"rediss://{login}{address}").open()


@pytest.mark.parametrize("option", ["unknown=1", "socket_timeout=soon", "protocol=9"])
def test_an_option_that_is_not_valid_is_an_error_before_the_first_connection(option: str) -> None:
    with pytest.raises(ConfigError, match="LOGO_USAGE_URL: an option of the address is not valid"):
        server_at(f"redis://127.0.0.1:1?{option}")


def test_the_extra_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigError, match=r"needs the extra `redis`; run pip install '\.\[redis\]'"):
        server_at("redis://127.0.0.1:1")
