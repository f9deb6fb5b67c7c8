"""Questions to other servers: what is followed, read and kept, and what is not."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from keruta.adapters.http_client import Http, NoAnswerError, answers
from tests.support.ports import free_port
from tests.support.serving import Quiet, Serving


class Other(Quiet):
    """Answers as its path says, and by which connection."""

    def do_GET(self) -> None:
        size = int(self.path.partition("size=")[2] or 2)
        if self.path == "/elsewhere":
            self.answer(302, None, {"Location": "/found"})
        elif self.path == "/slow":
            time.sleep(1)
            self.answer(200, {})
        elif self.path == "/list":
            self.answer(200, [])
        else:
            self.answer(200, b"x" * size, {"Connection-Of": str(self.client_address[1])})

    def do_POST(self) -> None:
        self.answer(201, {"type": self.headers["Content-Type"], "body": self.body().decode()})


@pytest.fixture
def other() -> Iterator[str]:
    with Serving(Other) as serving:
        yield serving.url


def test_a_redirect_is_an_answer_and_is_not_followed(other: str) -> None:
    answer = Http(5).ask("GET", f"{other}/elsewhere", headers={"Authorization": "Bearer secret"})

    assert (answer.status, answer.headers["location"]) == (302, "/found")


def test_an_answer_up_to_the_limit_is_read_and_a_longer_one_is_not(other: str) -> None:
    http = Http(5, limit_bytes=1000)

    assert len(http.ask("GET", f"{other}/size=1000").body) == 1000
    with pytest.raises(NoAnswerError, match="1000 bytes"):
        http.ask("GET", f"{other}/size=50000000")
    assert len(http.ask("GET", f"{other}/size=1000").body) == 1000, "what was left unread is in nobody's way"


def test_a_connection_is_kept_for_the_next_question(other: str) -> None:
    http = Http(5)

    first, second = (http.ask("GET", f"{other}/").headers["Connection-Of"] for _ in range(2))

    assert first == second


def test_a_form_is_sent_as_one(other: str) -> None:
    said = Http(5).ask("POST", f"{other}/", form={"grant": "a b", "secret": "&="}).document()

    assert said == {"type": "application/x-www-form-urlencoded", "body": "grant=a+b&secret=%26%3D"}


def test_what_is_no_json_object_is_none(other: str) -> None:
    for path in ("/list", "/size=3"):
        with pytest.raises(ValueError):
            Http(5).ask("GET", f"{other}{path}").document()


def test_no_answer_is_told_by_its_fault_without_what_was_asked(other: str) -> None:
    with pytest.raises(NoAnswerError, match=r"^ReadTimeoutError$"):
        Http(0.1).ask("GET", f"{other}/slow")
    with pytest.raises(NoAnswerError, match=r"^NewConnectionError$"):
        Http(1).ask("GET", f"http://127.0.0.1:{free_port()}/?token=secret")


def test_an_address_answers_or_does_not(other: str) -> None:
    assert answers(f"{other}/")
    assert not answers(f"{other}/elsewhere")
    assert not answers(f"http://127.0.0.1:{free_port()}/")
    assert not answers("file:///etc/passwd")
