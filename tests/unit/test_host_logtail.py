"""The end of a log as the caller of one invocation gets it."""

import base64

from tickover.host.logtail import MAX_BYTES, LogMark, log_mark


def written(path, text):
    with path.open("a") as file:
        file.write(text)


def test_only_what_was_written_since_the_mark(tmp_path):
    path = tmp_path / "i-1.log"
    written(path, "an earlier call\n")
    mark = log_mark(path)
    assert mark.since() == b""
    written(path, "this call\n")
    assert base64.b64decode(mark.since()) == b"this call\n"


def test_no_more_than_the_last_4_kb(tmp_path):
    path = tmp_path / "i-1.log"
    mark = log_mark(path)
    text = "".join(f"line {number}\n" for number in range(2000))
    written(path, text)
    assert base64.b64decode(mark.since()).decode() == text[-4096:]
    assert MAX_BYTES == 4096


def test_a_log_that_was_cut_meanwhile_gives_what_is_in_it(tmp_path):
    path = tmp_path / "i-1.log"
    written(path, "x" * 100)
    mark = log_mark(path)
    path.write_text("after the cut\n")
    assert base64.b64decode(mark.since()) == b"after the cut\n"


def test_a_log_that_is_not_there_is_empty(tmp_path):
    mark = log_mark(tmp_path / "none.log")
    assert mark == LogMark(tmp_path / "none.log", 0)
    assert mark.since() == b""
