"""Tests of `colorize data fetch` against a server on loopback that misbehaves."""

import csv
import hashlib
import io
import signal
import subprocess
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import astuple, fields
from email.utils import formatdate
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from model.utils.errors import UserError
from pipeline.data import download
from pipeline.data.catalog import ABSENT, CATALOG, Entry, read_catalog, read_strays
from pipeline.data.download import Downloads, Patience
from pipeline.data.fetch import Fetched, derived, fetch
from tests.support.command import COLORIZE, environment
from tests.support.dvc_project import Project
from tests.support.patience import patience
from tests.support.photograph_server import PhotographServer, certificate, photograph_server

QUICK = Patience(attempts=3, pause=0.01, silence=0.5, failures=4)
ADDRESS = "/raw/{repository}/{commit}/{path}"
COMMIT = "c" * 40


@pytest.fixture
def files() -> Iterator[PhotographServer]:
    with photograph_server() as found:
        yield found


def picture(number: int, side: int = 600) -> bytes:
    content = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (side // 2, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(content, "PNG")
    return content.getvalue()


def catalog(files: PhotographServer, count: int) -> list[Entry]:
    """Puts originals on the server, under paths that must be quoted, and returns their entries."""
    entries = []
    for number in range(count):
        original, path = picture(number), f"dishes/米饭 & more/{number}#?.png"
        files.files[f"/raw/owner/photographs/{COMMIT}/{path}"] = original
        sha256, result = (hashlib.sha256(content).hexdigest() for content in (original, derived(original)))
        entry = Entry(f"food/{number}.jpg", result, "food", "CC-BY-4.0", f"Cook {number}", "owner/photographs", COMMIT,
                      path, sha256, 448, 224)  # fmt: skip
        entries.append(entry)
    return entries


def address_of(entry: Entry) -> str:
    return f"/raw/{entry.repository}/{entry.commit}/{entry.path}"


@pytest.fixture
def bring(files: PhotographServer, tmp_path: Path) -> Callable[..., Fetched]:
    def bring(
        entries: list[Entry], strays: dict[str, str] | None = None, addresses: tuple[str, ...] = (),
        patience: Patience = QUICK, connections: int = 3, at_once: int = 3,
    ) -> Fetched:  # fmt: skip
        downloads = Downloads(addresses or (files.address + ADDRESS,), connections, patience)
        return fetch(entries, strays or {}, tmp_path / "data", downloads, at_once, said.append)

    said: list[str] = []
    bring.said = said  # type: ignore[attr-defined]
    return bring


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_photographs_are_brought_checked_and_derived_and_stay(files, bring, tmp_path):
    entries = catalog(files, 5)
    found = bring(entries)
    assert found.new == {entry.file: entry.sha256 for entry in entries}
    for entry in entries:
        content = (tmp_path / "data" / entry.file).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry.sha256
        with Image.open(io.BytesIO(content)) as image:
            assert (image.format, image.size) == ("JPEG", (448, 224))
            assert not image.getexif()
    rows = table(tmp_path / "data" / "SOURCES.csv")
    assert [(row["file"], row["licence"], row["credit"], row["sha256"]) for row in rows] == [
        (entry.file, entry.licence, entry.credit, entry.sha256) for entry in entries
    ]
    assert not (tmp_path / "data" / ABSENT).exists()
    asked = len(files.asked)
    assert bring(entries).there == found.new
    assert len(files.asked) == asked, "nothing is asked for again"


@pytest.mark.parametrize(
    "fault",
    ["stall", "truncate", "wrong", "500", "429 0", "503 1", "403", pytest.param(f"429 {formatdate()}", id="429 date")],
)
def test_a_passing_fault_is_tried_again(files, bring, fault):
    entries = catalog(files, 3)
    files.faults[address_of(entries[1])] = deque([fault, fault])
    found = bring(entries)
    assert len(found.new) == 3
    assert files.asked.count(address_of(entries[1])) == 3
    assert bring.said == []


def test_all_downloads_of_a_host_wait_as_long_as_it_asks(files, bring, monkeypatch):
    entries = catalog(files, 2)
    waited: list[float] = []
    pause = Downloads._pause
    monkeypatch.setattr(Downloads, "_pause", lambda self, seconds: (waited.append(seconds), pause(self, 0))[1])
    files.faults[address_of(entries[0])] = deque(["429 90"])
    assert len(bring(entries, at_once=1).new) == 2
    assert sum(80 < seconds <= 90 for seconds in waited) >= 2, "the second attempt, and the other photograph"


def test_what_is_gone_is_named_in_a_sentence_and_in_the_data_version(files, bring, tmp_path):
    entries = catalog(files, 5)
    del files.files[address_of(entries[1])]
    files.files[address_of(entries[3])] = b"not what it was"
    found = bring(entries)
    assert found.gone.keys() == {entries[1].file, entries[3].file}
    assert len(found.new) == 3
    assert len(bring.said) == 2
    assert any("food/1.jpg is gone" in line and "it answers 404" in line for line in bring.said)
    assert any("food/3.jpg is gone" in line and "other bytes" in line for line in bring.said)
    assert [row["file"] for row in table(tmp_path / "data" / ABSENT)] == ["food/1.jpg", "food/3.jpg"]
    assert {row["file"] for row in table(tmp_path / "data" / "SOURCES.csv")} == found.new.keys()
    files.files[address_of(entries[1])], files.files[address_of(entries[3])] = picture(1), picture(3)
    assert bring(entries).new.keys() == found.gone.keys(), "they are back"
    assert not (tmp_path / "data" / ABSENT).exists()


@pytest.mark.parametrize("fault", ["stall", "truncate", "500", "429 4000", "403", "drip"])
def test_what_cannot_be_brought_now_is_not_called_gone(files, bring, tmp_path, fault):
    entries = catalog(files, 3)
    files.faults[address_of(entries[0])] = deque([fault] * 3)
    found = bring(entries, patience=Patience(attempts=3, pause=0.01, silence=0.5, whole=0.3))
    assert (found.unavailable.keys(), found.gone, len(found.new)) == ({entries[0].file}, {}, 2)
    assert not (tmp_path / "data" / entries[0].file).exists()
    assert [line for line in bring.said if f"{entries[0].file} could not be brought" in line] == bring.said != []
    assert len(bring(entries).new) == 1


def test_an_endless_answer_is_cut_off(files, bring, monkeypatch):
    monkeypatch.setattr(download, "_MAX_BYTES", 3 << 20)
    entries = catalog(files, 1)
    files.faults[address_of(entries[0])] = deque(["large"])
    assert bring(entries).gone
    assert "it sends more than" in bring.said[0]


def test_a_host_that_never_answers_is_given_up(files, bring):
    entries = catalog(files, 15)
    for entry in entries:
        files.faults[address_of(entry)] = deque(["500"] * 9)
    found = bring(entries)
    assert len(found.unavailable) == 15
    assert len(files.asked) <= 3 * (4 + 2), "two more are in work when the fourth one fails; the rest is not tried"


def test_nothing_listens(bring, files, tmp_path):
    entries = catalog(files, 6)
    found = bring(entries, addresses=("http://127.0.0.1:1/{path}",))
    assert len(found.unavailable) == 6
    assert "it cannot be read" in bring.said[0]


def test_a_host_has_at_most_so_many_connections(files, bring):
    files.gather = threading.Barrier(2)
    entries = catalog(files, 8)
    assert len(bring(entries, connections=2, at_once=6).new) == 8
    assert files.most_at_once == 2


def test_the_next_address_is_tried(files, bring):
    entries = catalog(files, 2)
    for entry in entries:
        files.files[f"/mirror/{entry.sha256_original}"] = files.files.pop(address_of(entry))
    found = bring(entries, addresses=(files.address + ADDRESS, files.address + "/mirror/{sha256_original}"))
    assert len(found.new) == 2


def test_strays_are_left_out_and_removed(files, bring, tmp_path):
    entries = catalog(files, 3)
    bring(entries)
    found = bring(entries, strays={entries[0].sha256: "diagram"})
    assert (found.dropped, len(found.there)) == (1, 2)
    assert not (tmp_path / "data" / entries[0].file).exists()
    assert len(table(tmp_path / "data" / "SOURCES.csv")) == 2


def test_another_encoder_gives_other_bytes_that_are_used_and_recognized(files, bring, tmp_path):
    entries = [Entry(*("0" * 64 if field.name == "sha256" else value
                       for field, value in zip(fields(Entry), astuple(entry), strict=True)))
               for entry in catalog(files, 2)]  # fmt: skip
    found = bring(entries)
    assert set(found.new.values()) == {hashlib.sha256(derived(picture(number))).hexdigest() for number in range(2)}
    rows = table(tmp_path / "data" / "SOURCES.csv")
    assert {row["file"]: row["sha256"] for row in rows} == found.new
    asked = len(files.asked)
    assert bring(entries).there == found.new
    assert len(files.asked) == asked


def test_other_photographs_keep_their_rows(files, bring, tmp_path):
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "SOURCES.csv").write_text("file,licence,debian_package\nours/a.jpg,CC0-1.0,scratch\n", "utf-8")
    bring(catalog(files, 2))
    text = (tmp_path / "data" / "SOURCES.csv").read_text(encoding="utf-8")
    rows = table(tmp_path / "data" / "SOURCES.csv")
    assert (rows[0]["file"], rows[0]["licence"], rows[0]["debian_package"]) == ("ours/a.jpg", "CC0-1.0", "scratch")
    assert len(rows) == 3
    bring(catalog(files, 2))
    assert (tmp_path / "data" / "SOURCES.csv").read_text(encoding="utf-8") == text


def test_a_proxy_of_the_environment_is_used(files, bring, monkeypatch):
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", files.address)
    entries = catalog(files, 2)
    assert len(bring(entries, addresses=("http://photographs.invalid" + ADDRESS,)).new) == 2


def test_a_certificate_is_trusted_through_the_bundle_of_the_environment(bring, monkeypatch, tmp_path):
    pem, context = certificate(tmp_path)
    with photograph_server(context) as files:
        entries = catalog(files, 1)
        assert bring(entries, addresses=(files.address + ADDRESS,)).unavailable
        assert "its certificate is not trusted" in bring.said[0]
        assert "REQUESTS_CA_BUNDLE" in bring.said[0]
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(pem))
        assert bring(entries, addresses=(files.address + ADDRESS,)).new


@pytest.mark.parametrize(
    "template", ["ftp://host/{path}", "https://host/fixed", "https://host/{oid}", "https://host/{"]
)
def test_a_wrong_template_is_refused(template):
    with pytest.raises(UserError, match="is no template of an address"):
        Downloads([template])


@pytest.mark.parametrize(
    ("file", "words"),
    [("../a.jpg", "SOURCE/NAME.jpg"), ("/a/b.jpg", "SOURCE/NAME.jpg"), ("a.jpg", "SOURCE/NAME.jpg"),
     ("food/.a.jpg", "SOURCE/NAME.jpg"), ("food/a.csv", "SOURCE/NAME.jpg")],
)  # fmt: skip
def test_a_file_outside_the_folder_is_refused(tmp_path, file, words):
    columns = [field.name for field in fields(Entry)]
    path = tmp_path / "catalog.csv"
    path.write_text(f"{','.join(columns)}\n{file}{',1' * (len(columns) - 1)}\n", encoding="utf-8")
    with pytest.raises(UserError, match=words):
        read_catalog(path)
    path.write_text("file,sha256\n", encoding="utf-8")
    assert read_catalog(path) == []


def test_the_catalog_of_the_repository_is_whole():
    entries, strays = read_catalog(CATALOG), read_strays()
    assert len(entries) == 2939
    assert len({entry.sha256 for entry in entries}) == len({entry.sha256_original for entry in entries}) == 2939
    assert all(entry.file.startswith(f"{entry.source}/") and entry.licence for entry in entries)
    assert strays.keys() <= {entry.sha256 for entry in entries}
    assert all(strays.values())
    assert 100 < len(strays) < 200


def command(files: PhotographServer, entries: list[Entry], folder: Path) -> list[str]:
    """Returns the command that brings these entries, whose table it writes into the folder."""
    path = folder / "catalog.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        rows = csv.writer(file)
        rows.writerow([field.name for field in fields(Entry)])
        rows.writerows(map(astuple, entries))
    return ["data", "fetch", "--catalog", str(path), "--address", files.address + ADDRESS, "--connections", "1"]


@pytest.mark.slow
def test_the_catalog_comes_beside_the_sample_photographs_and_makes_a_version(files, tmp_path, photos):
    project = Project.create(tmp_path / "original", photos).clone(tmp_path)
    entries = catalog(files, 3)
    del files.files[address_of(entries[2])]
    project.run("colorize", *command(files, entries, tmp_path))
    assert len(project.photographs) == 4 + 2 + 2  # the sample, the new ones, SOURCES.csv and ABSENT.csv
    said = project.attempt("colorize", "data", "version").stderr
    assert "(0 changed, 4 added, 0 deleted)" in said
    assert "1 photographs of the catalog are absent; data/ABSENT.csv names them." in said
    before = project.version
    project.record("With the catalog")
    assert project.version != before


def test_an_interrupted_command_goes_on_where_it_stopped(files, tmp_path):
    entries = catalog(files, 6)
    files.faults[address_of(entries[3])] = deque(["stall"])
    arguments = [*COLORIZE, *command(files, entries, tmp_path)]
    process = subprocess.Popen(arguments, cwd=tmp_path, env=environment(), stderr=subprocess.PIPE, text=True)
    ends = time.monotonic() + 60
    while address_of(entries[3]) not in files.asked and process.poll() is None and time.monotonic() < ends:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    error = process.communicate(timeout=patience(60))[1]
    assert process.returncode == 75
    assert "run the same command again" in error
    assert "Traceback" not in error
    assert len(table(tmp_path / "data" / "SOURCES.csv")) == 3
    assert [row["reason"] for row in table(tmp_path / "data" / ABSENT)] == ["not brought yet"] * 3
    files.asked.clear()
    done = subprocess.run(arguments, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=True)
    assert files.asked == [address_of(entry) for entry in entries[3:]]
    assert "data/ has 6 of 6 photographs of the catalog: 3 new, 0 gone, 0 left out" in done.stdout
