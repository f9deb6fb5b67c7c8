"""What a browser loads that was never here before."""

from __future__ import annotations

import re

import flask
import pytest

from tests.support.admin import signed_in
from tests.support.world import ANN, World

LIMIT_BYTES = 100_000


@pytest.mark.parametrize("path", ["/", "/tasks", "/tasks/{task}", "/notices", "/repositories"])
def test_a_first_page_with_all_that_it_loads_is_under_100_kb(world: World, app: flask.Flask, path: str) -> None:
    """As it goes over the wire: packed, with the answers' headers; fifty tasks are in the list."""
    for number in range(50):
        task = world.submit(name=f"nightly {number}", labels={"team": "web"})
    client = signed_in(app, ANN).client
    packed = {"Accept-Encoding": "gzip"}
    page = client.get(path.format(task=task), headers=packed)
    text = client.get(path.format(task=task)).text
    loaded = re.findall(r'<(?:link|script|img)[^>]+(?:href|src)="([^"]+)"', text)
    answers = [page, *(client.get(one, headers=packed) for one in dict.fromkeys(loaded))]

    assert any(one.endswith(".css") for one in loaded)
    assert any(one.endswith(".js") for one in loaded)
    assert all(answer.status_code == 200 for answer in answers)
    sizes = {one.request.path: len(one.data) + len(str(one.headers).encode()) for one in answers}
    assert sum(sizes.values()) < LIMIT_BYTES, sizes
