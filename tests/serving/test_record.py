"""The ledger of a folder of pictures: what a kill, a power cut or another version leaves in it."""

from pathlib import Path

import pytest

from serving import record as ledger
from serving.record import NAME, Ledger, Origin

ORIGIN = Origin("album/old.jpg", "p", "w", 0, "day", 2)


def test_a_picture_is_known_as_long_as_it_is_what_was_written(tmp_path: Path):
    picture = tmp_path / "album" / "old-colorized-2.jpg"
    Ledger(tmp_path).write(picture, b"colors", ORIGIN)
    known = Ledger(tmp_path)
    assert known.find(ORIGIN) == picture
    assert known.knows("album/old.jpg")
    assert not known.knows("old.jpg")
    picture.write_bytes(b"retouched")
    assert known.find(ORIGIN) is None
    picture.unlink()
    assert known.find(ORIGIN) is None


def test_a_kill_before_the_picture_leaves_a_line_that_does_no_harm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def killed(path: Path, content: bytes) -> None:
        raise KeyboardInterrupt

    picture = tmp_path / "album" / "old-colorized-2.jpg"
    with monkeypatch.context() as patch:
        patch.setattr(ledger, "write_aside", killed)
        with pytest.raises(KeyboardInterrupt):
            Ledger(tmp_path).write(picture, b"colors", ORIGIN)
    assert Ledger(tmp_path).find(ORIGIN) is None
    Ledger(tmp_path).write(picture, b"other colors", ORIGIN)
    assert Ledger(tmp_path).find(ORIGIN) == picture


@pytest.mark.parametrize(
    "damage", [b'\n{"picture": "old', b"\n[]", b"\n{}", b'\n{"picture": 1, "sha256": 2}', b"\n\xff\x00"]
)
def test_a_line_that_cannot_be_read_spoils_no_other(tmp_path: Path, damage: bytes):
    first, second = tmp_path / "album" / "a.jpg", tmp_path / "album" / "b.jpg"
    other = Origin("album/b.jpg", "p", "w", 0, None, None)
    Ledger(tmp_path).write(first, b"a", ORIGIN)
    with (tmp_path / NAME).open("ab") as file:
        file.write(damage)
    Ledger(tmp_path).write(second, b"b", other)
    known = Ledger(tmp_path)
    assert (known.find(ORIGIN), known.find(other)) == (first, second)
