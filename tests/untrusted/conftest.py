from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hostile import examine, prepare
from hostile.formats import FORMATS

Answer = Callable[[str, bytes], str]


@pytest.fixture(scope="session")
def answer(tmp_path_factory: pytest.TempPathFactory) -> Answer:
    """What the reader of a format says of a file of this content; "" if it can be used."""
    paths: dict[str, Path] = {}

    def say(name: str, content: bytes) -> str:
        if name not in paths:
            paths[name] = prepare(FORMATS[name], tmp_path_factory.mktemp(name))
        return examine(FORMATS[name], content, paths[name])

    return say


@pytest.fixture(params=["pipe", "device", "folder", "loop"])
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A pipe that nobody writes into, an endless device, a folder, and a link to itself."""
    path = tmp_path / str(request.param)
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    else:
        path.symlink_to("/dev/zero" if request.param == "device" else path)
    return path
