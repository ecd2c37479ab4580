"""What is fetched for the browser's tests is what was meant."""

from __future__ import annotations

import importlib.util
import io
import tarfile
from pathlib import Path
from typing import Any

import pytest

SPEC = importlib.util.spec_from_file_location("fetch_axe", Path(__file__).with_name("fetch_axe.py"))
assert SPEC is not None
assert SPEC.loader is not None
fetch_axe: Any = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(fetch_axe)


def package(script: bytes) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        entry = tarfile.TarInfo("package/axe.min.js")
        entry.size = len(script)
        archive.addfile(entry, io.BytesIO(script))
    return stream.getvalue()


def test_another_package_is_refused() -> None:
    with pytest.raises(ValueError, match=r"expected sha512-ilYanEU8.*, found sha512-"):
        fetch_axe.unpack(package(b"alert(1)"))


def test_the_script_is_taken_out_of_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import base64
    import hashlib

    made = package(b"axe")
    digest = base64.b64encode(hashlib.sha512(made).digest()).decode()
    monkeypatch.setattr(fetch_axe, "SHA512", digest)
    assert fetch_axe.unpack(made) == b"axe"


def test_without_a_network_it_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(fetch_axe, "ADDRESS", (tmp_path / "none.tgz").as_uri())
    assert fetch_axe.main(tmp_path / "axe.min.js") == 1
    assert "cannot be fetched" in capsys.readouterr().err
    assert not (tmp_path / "axe.min.js").exists()
