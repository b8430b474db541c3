import io
import re

import pytest

from asrkit.terminal import Pace, Terminal, clock_text, printable


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


class Screen(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def log() -> tuple[io.StringIO, Clock, Terminal]:
    stream, clock = io.StringIO(), Clock()
    return stream, clock, Terminal(stream, clock=clock)


def test_lines_are_written_as_they_are() -> None:
    stream, _, terminal = log()
    terminal.say("wrote [bold]data/x[/bold] " + "long " * 60)
    terminal.warn("2 files left out")
    assert stream.getvalue() == "wrote [bold]data/x[/bold] " + "long " * 60 + "\nwarning: 2 files left out\n"


def test_control_characters_do_not_reach_the_terminal() -> None:
    assert printable("a\x1b[31mb\rc\td\ne\x07") == "a [31mb c\td\ne "
    assert printable("привіт 안녕 ʼ") == "привіт 안녕 ʼ"


def test_results_are_not_touched() -> None:
    stream, _, terminal = log()
    terminal.write('{"text": "[b] ' + "x" * 300 + '"}')
    assert stream.getvalue() == '{"text": "[b] ' + "x" * 300 + '"}\n'


def test_table_in_a_log() -> None:
    stream, _, terminal = log()
    terminal.table("errors", ["split", "WER", "words"], [["test", "12.3 %", "1,234"], ["dev [x]", "-", 7]])
    assert stream.getvalue().splitlines() == [
        "errors                ",
        "split       WER  words",
        "test     12.3 %  1,234",
        "dev [x]       -      7",
    ]


def test_log_says_now_and_then_how_far_it_is() -> None:
    stream, clock, terminal = log()
    with terminal.bar("training", 1000, "step") as bar:
        for step in range(100):  # one step a second
            bar.advance(1, f"loss {step}")
            clock.now += 1
    lines = stream.getvalue().splitlines()
    assert lines == [
        "training: 11/1,000 steps, 1%, 1.0/s, 16 min 29 s left  loss 10",
        "training: 41/1,000 steps, 4%, 1.0/s, 15 min 59 s left  loss 40",
        "training: 71/1,000 steps, 7%, 1.0/s, 15 min 29 s left  loss 70",
        "training: 100 steps in 1 min 40 s",
    ]


def test_short_work_leaves_no_line() -> None:
    stream, clock, terminal = log()
    with terminal.bar("reading", 3) as bar:
        bar.advance(3)
        clock.now += 9
    assert stream.getvalue() == ""


def test_broken_off_work_leaves_no_summary() -> None:
    stream, clock, terminal = log()
    with pytest.raises(KeyboardInterrupt), terminal.bar("reading", 3):  # noqa: PT012 the bar is what is tested
        clock.now += 100
        raise KeyboardInterrupt
    assert stream.getvalue() == ""


def test_bytes_and_sound() -> None:
    clock = Clock()
    download = Pace(6.3e9, "B", clock)
    download.advance(0.3e9)  # what an earlier try left
    clock.now += 10
    download.advance(0.5e9)
    assert download.text() == "800.0 MB of 6.3 GB, 13%, 50.0 MB/s, 1 min 50 s left"
    assert download.summary() == "800.0 MB in 10 s"
    sound = Pace(3600, "s", clock)
    sound.advance(0)
    clock.now += 2
    sound.advance(90)
    assert sound.text() == "1 min 30 s of 1 h 00 min, 2%, 45.0 x real time, 1 min 18 s left"


def test_speed_is_that_of_the_last_minute() -> None:
    clock = Clock()
    pace = Pace(None, "utterance", clock)
    for second in range(200):
        clock.now += 1
        pace.advance(10 if second < 100 else 1)
    assert pace.per_second() == pytest.approx(1.0)
    assert pace.text() == "1,100 utterances, 1.0/s"


def test_nothing_known_nothing_said() -> None:
    assert Pace(None, "", Clock()).text() == ""
    assert Pace(0, "step", Clock()).text() == "0/0 steps"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (303, "5 min 03 s"), (7500, "2 h 05 min")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock_text(seconds) == text


@pytest.mark.parametrize("no_color", [False, True])
def test_screen(monkeypatch: pytest.MonkeyPatch, no_color: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    if no_color:
        monkeypatch.setenv("NO_COLOR", "1")
    screen = Screen()
    terminal = Terminal(screen)
    terminal.warn("careful")
    with terminal.bar("outer", 10, "step") as outer:
        outer.advance(1, "loss 3")
        with terminal.bar("inner", None) as inner:
            inner.advance(2)
        terminal.say("news")
    with terminal.bar("again", 1) as again:
        again.advance()
    text = screen.getvalue()
    assert "1/10 steps" in text and "loss 3" in text and "news\n" in text and "again" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0  # the cursor is back
    coloured = re.search(r"\x1b\[[0-9;]*3[0-9]", text) is not None
    assert coloured is not no_color


def test_log_stays_plain_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    stream, clock, terminal = log()
    terminal.warn("careful")
    with terminal.bar("work", 10) as bar:
        clock.now += 11
        bar.advance()
    assert "\x1b" not in stream.getvalue() and "\r" not in stream.getvalue()
