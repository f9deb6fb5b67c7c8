"""From the growing log file to numbered chunks."""

from __future__ import annotations

import base64
import os
from pathlib import Path

from agent.log.chunks import Streamer
from agent.log.masking import Masker
from keruta.domain.reports import CHUNK_LIMIT_BYTES, LogChunk


def make(directory: Path, *, secrets: tuple[bytes, ...] = (), limit: int = 1 << 24) -> tuple[Streamer, list[LogChunk]]:
    sent: list[LogChunk] = []
    output = directory / "output"
    output.touch()
    streamer = Streamer(
        "t", 1, lambda flags: os.open(output, flags), directory / "chunks", masker=Masker(secrets), send=sent.append,
        limit_bytes=limit,
    )  # fmt: skip
    return streamer, sent


def write(directory: Path, data: bytes) -> None:
    with (directory / "output").open("ab") as file:
        file.write(data)


def whole(chunks: list[LogChunk]) -> bytes:
    return b"".join(chunk.data for chunk in chunks)


def test_a_line_goes_out_when_it_is_whole(tmp_path: Path) -> None:
    streamer, sent = make(tmp_path)
    write(tmp_path, b"one\ntw")

    streamer.pump()
    assert whole(sent) == b"one\n"
    write(tmp_path, b"o\n")
    streamer.pump()

    assert [chunk.data for chunk in sent] == [b"one\n", b"two\n"]
    assert [(chunk.sequence, chunk.offset_bytes) for chunk in sent] == [(0, 0), (1, 4)]
    streamer.close()


def test_no_chunk_is_larger_than_it_may_be(tmp_path: Path) -> None:
    streamer, sent = make(tmp_path)
    data = b"x" * (3 * CHUNK_LIMIT_BYTES) + b"\n" + b"short line\n" * 50_000
    write(tmp_path, data)

    streamer.finish()

    assert whole(sent) == data
    assert max(len(chunk.data) for chunk in sent) <= CHUNK_LIMIT_BYTES
    streamer.close()


def test_a_wrapped_secret_is_masked_however_slowly_it_is_written(tmp_path: Path) -> None:
    """Parts of a line that went out already show that the line is wrapped; so it is when an agent begins anew."""
    secret = b"correct horse battery staple, correct horse"
    text = base64.encodebytes(b"a prefix that is a good part of the first line " + secret + b" and what follows it")
    for width in (5, 9, 20):
        directory = tmp_path / str(width)
        directory.mkdir()
        streamer, sent = make(directory, secrets=(secret,))

        for at in range(0, len(text), width):
            write(directory, text[at : at + width])
            streamer.pump()
            streamer._waits_since = 0.0  # a line's end was waited for
            streamer.pump()
        streamer.finish()
        streamer.close()
        again, repeated = make(directory, secrets=(secret,))
        again.close()

        assert whole(sent) == Masker([secret]).mask(text)
        assert [chunk.data for chunk in repeated] == [chunk.data for chunk in sent][: len(repeated)]


def test_a_restarted_agent_cuts_the_same_chunks_again(tmp_path: Path) -> None:
    """The numbers are the same and so is what they hold; then it goes on."""
    streamer, first = make(tmp_path, secrets=(b"secret",))
    streamer.say("[keruta] begins")
    write(tmp_path, b"a secret\nb\n")
    streamer.pump()
    streamer.close()

    streamer, again = make(tmp_path, secrets=(b"secret",))
    assert [(c.sequence, c.data, c.system) for c in again] == [(c.sequence, c.data, c.system) for c in first]
    write(tmp_path, b"c\n")
    streamer.finish()

    assert whole(again) == b"[keruta] begins\na ***\nb\nc\n"
    assert [chunk.sequence for chunk in again] == list(range(len(again)))
    streamer.close()


def test_a_secret_at_the_end_of_what_is_there_waits_for_the_rest(tmp_path: Path) -> None:
    streamer, sent = make(tmp_path, secrets=(b"secret-token",))
    write(tmp_path, b"prompt: secret")
    streamer._waits_since = -10.0  # as if the line had been waited for

    streamer.pump()
    write(tmp_path, b"-token\n")
    streamer.finish()

    assert b"secret" not in whole(sent)
    assert whole(sent) == b"prompt: ***\n"
    streamer.close()


def test_beyond_the_limit_the_cut_is_said_and_the_end_is_kept(tmp_path: Path) -> None:
    streamer, sent = make(tmp_path, limit=256 * 1024)
    write(tmp_path, b"".join(b"line %d\n" % number for number in range(100_000)))
    streamer.pump()
    write(tmp_path, b"the end\n")

    streamer.finish()

    text = whole(sent)
    assert text.startswith(b"line 0\n")
    assert text.endswith(b"the end\n")
    assert b"bytes are left out here" in text
    assert len(text) <= 256 * 1024 + 64 * 1024  # what report_status takes beyond the limit is twice that
    streamer.close()
