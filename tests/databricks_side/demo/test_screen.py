"""What is shown stays on one line."""

import pytest
from demo.screen import Screen, shown


@pytest.mark.parametrize(
    ("text", "line"), [("a\nb", "a\\nb"), ("a\tb", "a\\tb"), ("a\\nb", "a\\\\nb"), ("東京 [x]", "東京 [x]")]
)
def test_shown(text: str, line: str) -> None:
    assert shown(text) == line


def test_lines_carry_the_time_and_keep_what_looks_like_markup(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen()
    screen.say("reading [red] files")
    screen.plain("[bold]" + "x" * 200)
    first, second = capsys.readouterr().out.splitlines()
    assert first == "[    0 s] reading [red] files"
    assert second == "[bold]" + "x" * 200
