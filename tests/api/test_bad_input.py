from __future__ import annotations

import io
import struct
import threading
import zlib
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logo_similarity.api.app import MULTIPART_BYTES, create_app
from logo_similarity.api.parameters import LONGEST_FIELD
from logo_similarity.config import load_settings
from tests.pictures import encode, noise
from tests.samples import SampleCatalog
from tests.service import until


def picture(catalog: SampleCatalog) -> bytes:
    return (catalog.images / catalog.files[0]).read_bytes()


def upload(client: TestClient, data: bytes, **params: str | float) -> Response:
    return client.post("/v1/search", files={"file": ("query", data)}, params=params)


def refused(response: Response, status: int, code: str | None = None) -> None:
    assert response.status_code == status, response.text
    assert response.headers["Content-Type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == response.status_code
    assert problem["code"]
    assert code is None or problem["code"] == code
    assert "Traceback" not in response.text
    assert "/logo_similarity/" not in response.text


def large_png() -> bytes:
    """A valid PNG of 20,000 x 20,000 black pixels in about 49 kB."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    compressor = zlib.compressobj(9)
    rows = b"".join(compressor.compress(bytes(2501)) for _ in range(20_000)) + compressor.flush()
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", 20_000, 20_000, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def test_empty_and_random_bytes(client: TestClient) -> None:
    refused(upload(client, b""), 422, "image_undecodable")
    refused(upload(client, bytes(range(200))), 422, "image_undecodable")


def test_cut_files(client: TestClient, sample_catalog: SampleCatalog) -> None:
    """A file is read as far as it goes, if that is at least half of the picture."""
    whole = picture(sample_catalog)
    for length in range(1, len(whole) // 4, len(whole) // 50):
        refused(upload(client, whole[:length]), 422, "image_undecodable")
    response = upload(client, whole[: len(whole) * 49 // 50])
    assert response.status_code == 200
    assert response.json()["pictures"][0]["damage"] == "the JPEG file is cut off"


@pytest.mark.parametrize(
    "data",
    [
        b"%!PS-Adobe-3.0 EPSF-3.0",
        b"8BPS\x00\x01",
    ],
)
def test_other_formats(client: TestClient, data: bytes) -> None:
    refused(upload(client, data), 415, "image_format_unsupported")


def test_too_many_bytes_with_a_length(client: TestClient) -> None:
    refused(upload(client, bytes(400_000)), 413, "body_too_large")
    refused(upload(client, bytes(301_000)), 413, "image_too_large")


@pytest.mark.parametrize("kilobytes", [317, 1_000])
def test_too_many_bytes_without_a_length(client: TestClient, kilobytes: int) -> None:
    def body() -> Iterator[bytes]:
        yield b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
        for _ in range(kilobytes):
            yield bytes(1_000)
        yield b"\r\n--x--\r\n"

    response = client.post("/v1/search", content=body(), headers={"Content-Type": "multipart/form-data; boundary=x"})
    refused(response, 413, "body_too_large")


def form_pieces(picture: bytes) -> list[bytes]:
    body = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + picture + b"\r\n--x--\r\n"
    return [body[start : start + 1_000] for start in range(0, len(body), 1_000)]


def test_uploads_in_progress_are_bounded_together(sample_catalog: SampleCatalog) -> None:
    """Two uploads that each are small enough, one of them unfinished: the second is refused while the first is held."""
    picture = encode(noise(150, 150), "PNG")
    assert 60_000 < len(picture) < 100_000
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    limits = load_settings(
        catalogs=sample_catalog.root, max_upload_bytes=100_000, max_inflight_bytes=1, threads=1, log_level="error"
    )
    begun, release = threading.Event(), threading.Event()
    statuses: list[int] = []

    def slowly() -> Iterator[bytes]:
        yield from form_pieces(picture)

    with TestClient(create_app(limits)) as client:
        gate = client.app.state.runtime.gate  # type: ignore[attr-defined]
        assert client.portal is not None

        def job() -> None:
            begun.set()
            assert release.wait(60)

        busy = client.portal.start_task_soon(gate.run, job)
        assert begun.wait(60)
        first = threading.Thread(
            target=lambda: statuses.append(client.post("/v1/search", content=slowly(), headers=headers).status_code)
        )
        first.start()
        until(lambda: gate.inside == 2)  # its body is held, and it waits for the thread
        second = client.post("/v1/search", content=slowly(), headers=headers)
        refused(second, 503, "overloaded")
        assert second.headers["Retry-After"] == "1"
        release.set()
        first.join()
        busy.result(60)
        assert statuses == [200]
        assert client.post("/v1/search", content=slowly(), headers=headers).status_code == 200  # released


@pytest.mark.parametrize(("more", "code"), [(0, "image_too_large"), (1, "body_too_large")])
@pytest.mark.parametrize("chunked", [True, False])
def test_a_body_is_refused_from_the_first_byte_over_its_bound(
    client: TestClient, chunked: bool, more: int, code: str
) -> None:
    start = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n'
    end = b"\r\n--x--\r\n"
    size = 300_000 + MULTIPART_BYTES + more
    body = start + bytes(size - len(start) - len(end)) + end
    content = (body[at : at + 10_000] for at in range(0, size, 10_000)) if chunked else body
    response = client.post("/v1/search", content=content, headers={"Content-Type": "multipart/form-data; boundary=x"})
    refused(response, 413, code)
    assert code == "image_too_large" or "300,000 bytes (LOGO_MAX_UPLOAD_BYTES)" in response.json()["detail"]


def test_too_many_pixels(client: TestClient) -> None:
    bomb = large_png()
    assert len(bomb) < 60_000
    refused(upload(client, bomb), 413, "image_too_large")


def test_a_thousand_parts(client: TestClient, sample_catalog: SampleCatalog) -> None:
    parts = [(f"field{number}", (None, "x")) for number in range(1_001)]
    response = client.post("/v1/search", files=[("file", ("a", picture(sample_catalog))), *parts])
    refused(response, 400, "malformed_request")


def test_too_many_files(client: TestClient, sample_catalog: SampleCatalog) -> None:
    files = [("file", ("a", picture(sample_catalog)))] * 5
    refused(client.post("/v1/search", files=files), 400, "malformed_request")


@pytest.mark.parametrize("value", ["0", "1001", "-1", "x", "1e9", "99999999999999999999", "", "1.5"])
def test_top_k_out_of_range(client: TestClient, sample_catalog: SampleCatalog, value: str) -> None:
    refused(upload(client, picture(sample_catalog), top_k=value), 422, "invalid_request")


@pytest.mark.parametrize("value", ["2", "-1.1", "nan", "inf", "x"])
def test_min_score_out_of_range(client: TestClient, sample_catalog: SampleCatalog, value: str) -> None:
    refused(upload(client, picture(sample_catalog), min_score=value), 422, "invalid_request")


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("top_k", "0", "a whole number from 1 to 1000"),
        ("top_k", "ten", "a whole number from 1 to 1000"),
        ("min_score", "2", "a number from -1 to 1"),
        ("min_score", "nan", "a number from -1 to 1"),
        ("rerank", "perhaps", "true or false"),
    ],
)
@pytest.mark.parametrize("where", ["params", "data"])
def test_an_invalid_parameter_is_named_with_the_values_that_are_allowed(
    client: TestClient, sample_catalog: SampleCatalog, where: str, name: str, value: str, expected: str
) -> None:
    files = {"file": picture(sample_catalog)}
    response = client.post("/v1/search", files=files, **{where: {name: value}})  # type: ignore[arg-type]
    refused(response, 422, "invalid_request")
    assert response.json()["errors"] == [{"field": name, "message": f"is not valid; send {expected}"}]
    assert response.json()["detail"] == f"{name}: is not valid; send {expected}"


def test_a_missing_image_is_named(client: TestClient) -> None:
    image = "send an image file, as curl -F file=@logo.png does"
    assert client.post("/v1/search").json()["detail"] == f"file: is missing; {image}, or words or a logo_id"
    words = [("words", (None, "kwik"))]
    assert client.post("/v1/search/batch", files=words).json()["detail"] == f"file: is missing; {image}"
    not_a_form = client.post("/v1/search/batch", content=b"x", headers={"Content-Type": "image/png"})
    assert "words" not in not_a_form.json()["detail"]
    text = client.post("/v1/search", files=[("file", (None, "text"))])
    assert text.json()["detail"] == f"file: is not valid; {image}"


@pytest.mark.parametrize("name", ["image", "picture", "File"])
def test_a_file_under_another_name_is_told_the_name_of_the_field(
    client: TestClient, sample_catalog: SampleCatalog, name: str
) -> None:
    response = client.post("/v1/search", files={name: picture(sample_catalog)})
    refused(response, 422, "invalid_request")
    assert response.json()["detail"].startswith(f"unknown parameter '{name}'; did you mean file? Known: ")
    text = client.post("/v1/search", files=[("topk", (None, "5"))])
    assert "did you mean top_k?" in text.json()["detail"]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/search", ["POST"]),
        ("POST", "/v1/logos/EM/000001", ["DELETE", "GET", "HEAD", "PATCH", "PUT"]),
        ("POST", "/healthz", ["GET", "HEAD"]),
        ("PUT", "/openapi.json", ["GET", "HEAD"]),
    ],
)
def test_a_method_that_is_not_allowed_is_answered_with_those_that_are(
    client: TestClient, method: str, path: str, allowed: list[str]
) -> None:
    response = client.request(method, path)
    refused(response, 405, "method_not_allowed")
    assert response.json()["detail"] == f"use {' or '.join(allowed)} for this path"
    assert response.headers["Allow"] == ", ".join(allowed)


def test_no_file_or_no_form(client: TestClient) -> None:
    refused(client.post("/v1/search"), 422, "invalid_request")
    refused(client.post("/v1/search", files={"image": b"x"}), 422, "invalid_request")
    refused(client.post("/v1/search", data={"file": "text"}), 415, "media_type_unsupported")
    refused(client.post("/v1/search", json={"file": "text"}), 415, "media_type_unsupported")
    refused(client.post("/v1/search", content=b"x", headers={"Content-Type": "multipart/form-data"}), 400)
    refused(client.get("/v1/search"), 405, "method_not_allowed")
    refused(client.get("/nothing"), 404, "not_found")


def test_an_error_of_ours_tells_nothing(
    client: TestClient, sample_catalog: SampleCatalog, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr("logo_similarity.engine.describe", fail)
    response = upload(client, picture(sample_catalog))
    refused(response, 500, "internal_error")
    assert "secret" not in response.text
    monkeypatch.undo()
    assert upload(client, picture(sample_catalog)).status_code == 200


# The framework leaves the spooled file of a form that breaks off to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_damaged_uploads_never_end_in_a_5xx(
    client: TestClient, sample_catalog: SampleCatalog, data: st.DataObject
) -> None:
    form = io.BytesIO()
    form.write(b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n')
    form.write(picture(sample_catalog))
    form.write(b"\r\n--x--\r\n")
    body = bytearray(form.getvalue())
    for _ in range(data.draw(st.integers(1, 8))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    body = body[: data.draw(st.integers(len(body) // 2, len(body)))]
    response = client.post(
        "/v1/search", content=bytes(body), headers={"Content-Type": "multipart/form-data; boundary=x"}
    )
    assert response.status_code in (200, 400, 413, 415, 422)


GOOD_HEAD = b'Content-Disposition: form-data; name="file"; filename="a.jpg"'


def form(
    client: TestClient, head: bytes, picture: bytes, content_type: str = "multipart/form-data; boundary=x"
) -> Response:
    """Upload a form that is written by hand."""
    body = b"--x\r\n" + head + b"\r\n\r\n" + picture + b"\r\n--x--\r\n"
    return client.post("/v1/search", content=body, headers={"Content-Type": content_type})


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"X: y",
        b"Content-Disposition",
        b"Content-Disposition: form-data",
        b"Content-Disposition: form-data; name=",
        b"Content-Disposition: \xff; name=\xff",
        b'Content-Disposition: form-data; name="file"',
        b"Content-Disposition: form-data; name=\"file\"; filename*=bogus''%ff%00",
        GOOD_HEAD + b"\r\nX: " + b"y" * 100_000,
        GOOD_HEAD + b"\r\nX: y" * 2_000,
    ],
)
def test_heads_of_parts_that_are_no_file(client: TestClient, sample_catalog: SampleCatalog, head: bytes) -> None:
    content = picture(sample_catalog) + bytes(LONGEST_FIELD)  # longer than a text may be
    refused(form(client, head, content), 400, "malformed_request")


@pytest.mark.parametrize("name", [b"File", b"file\x00"])
def test_a_file_of_another_name(client: TestClient, sample_catalog: SampleCatalog, name: bytes) -> None:
    head = b'Content-Disposition: form-data; name="%s"; filename="a"' % name
    refused(form(client, head, picture(sample_catalog)), 422, "invalid_request")


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("", 415, "media_type_unsupported"),
        ("image/jpeg", 415, "media_type_unsupported"),
        ("text/plain", 415, "media_type_unsupported"),
        ("application/json", 415, "media_type_unsupported"),
        ("application/octet-stream", 415, "media_type_unsupported"),
        ("application/x-www-form-urlencoded", 415, "media_type_unsupported"),
        ("multipart/mixed; boundary=x", 415, "media_type_unsupported"),
        ("multipart/form-data", 400, "malformed_request"),
        ("multipart/form-data; boundary=", 400, "malformed_request"),
        ("multipart/form-data; boundary=other", 400, "malformed_request"),
        ("multipart/form-data; boundary=" + "y" * 5_000, 400, "malformed_request"),
        ("multipart/form-data; boundary=x; charset=utf-16", 422, "invalid_request"),
        ("multipart/form-data; boundary*=utf-8''%ff", 400, "malformed_request"),
    ],
)
def test_other_content_types(
    client: TestClient, sample_catalog: SampleCatalog, content_type: str, status: int, code: str
) -> None:
    assert form(client, GOOD_HEAD, picture(sample_catalog)).status_code == 200
    refused(form(client, GOOD_HEAD, picture(sample_catalog), content_type), status, code)


def test_a_file_field_that_holds_text(client: TestClient) -> None:
    refused(client.post("/v1/search", files=[("file", (None, "text"))]), 422, "invalid_request")
    refused(client.post("/v1/search", files=[("file", (None, "t" * (LONGEST_FIELD + 1)))]), 400, "malformed_request")


def test_a_picture_where_a_number_is_expected(client: TestClient, sample_catalog: SampleCatalog) -> None:
    alone = client.post("/v1/search", files={"top_k": ("a.jpg", picture(sample_catalog))})
    refused(alone, 422, "invalid_request")
    assert "JFIF" not in alone.text


def test_a_form_of_very_many_fields(client: TestClient) -> None:
    body = b"a&" * 145_000
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    refused(client.post("/v1/search", content=body, headers=headers), 415, "media_type_unsupported")
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    body = (
        b"".join(b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n' for _ in range(4_000)) + b"--x--\r\n"
    )
    refused(client.post("/v1/search", content=body, headers=headers), 400, "malformed_request")


@pytest.mark.parametrize(
    "kind", ["application/x-www-form-urlencoded", "image/jpeg", "application/json", "", "multipart/mixed"]
)
def test_a_body_that_is_no_form(client: TestClient, sample_catalog: SampleCatalog, kind: str) -> None:
    """As curl --data-binary sends it."""
    answer = client.post("/v1/search", content=picture(sample_catalog), headers={"Content-Type": kind})
    refused(answer, 415, "media_type_unsupported")
    assert "curl -F file=@" in answer.json()["detail"]


def test_flipped_bytes_in_the_head_of_a_picture(client: TestClient, sample_catalog: SampleCatalog) -> None:
    whole = picture(sample_catalog)
    for position in range(4):
        damaged = bytearray(whole)
        damaged[position] ^= 0xFF
        refused(upload(client, bytes(damaged)), 422, "image_undecodable")


# As above: a form that breaks off.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@settings(max_examples=60, derandomize=True, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    head=st.binary(max_size=60), cut=st.integers(0, len(GOOD_HEAD)), content_type=st.text("abx=;/\"' *", max_size=20)
)
def test_damaged_heads_never_end_in_a_5xx(
    client: TestClient, sample_catalog: SampleCatalog, head: bytes, cut: int, content_type: str
) -> None:
    for response in (
        form(client, GOOD_HEAD[:cut] + head + GOOD_HEAD[cut:], picture(sample_catalog)),
        form(client, GOOD_HEAD, picture(sample_catalog), f"multipart/form-data; boundary=x{content_type}"),
    ):
        assert response.status_code in (200, 400, 413, 415, 422)
        if response.status_code != 200:
            refused(response, response.status_code)
