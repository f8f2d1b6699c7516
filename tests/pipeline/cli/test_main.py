"""The command line: mistakes end in one sentence and a non-zero status, never in a traceback."""

import subprocess
import sys
from pathlib import Path

import pytest

COLORIZE = Path(sys.executable).with_name("colorize")


def colorize(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([COLORIZE, *arguments], capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("run", "--recipe", "nonesuch"), ("nonesuch", "demo")),
        (("run", "--set", "train.imgs=3"), ("train.imgs", "not a known key")),
        (("run", "--set", "train.images=-1"), ("train.images", "-1", "greater than or equal to 1")),
        (("run", "--set", "train.decay=slow"), ("train.decay", "slow", "'linear'")),
        (("run", "--set", "train.images"), ("key=value",)),
        (("run", "--set", "train.crop=512"), ("train.crop", "preprocess.size")),
    ],
)
def test_a_mistake_is_one_sentence(arguments: tuple[str, ...], words: tuple[str, ...]):
    done = colorize(*arguments)
    assert done.returncode == 1
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr


def test_compile_check_says_that_the_yaml_is_current():
    done = colorize("compile", "--check")
    assert done.returncode == 0
    assert "is current" in done.stdout
