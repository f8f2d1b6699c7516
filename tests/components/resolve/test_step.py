"""What a run is made of: names become versions, and what was made already is found."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from components.register.step import promote, register, reject
from components.resolve.step import Ingredients, resolve
from components.shared.mlflow import registry
from components.shared.photos.remote import LATEST
from model.config import load_config
from model.utils.errors import UserError
from tests.support.retrained import RULES, TAGS, evaluated, trained
from tests.support.s3 import S3Server, seaweedfs
from tests.support.tiny import ROOT

VERSION = "f7af12c06f5a9ef9c9650dedaffa2393.dir"
CODES = {"preprocess": "1" * 16, "train": "2" * 16}


def settle(*overrides: str, data: str = VERSION, photos: str = "photos", codes: dict[str, str] = CODES) -> Ingredients:
    config = load_config(ROOT / "params.yaml", (), overrides)
    return resolve(photos, data, config.preprocess, config.train, codes)


def make(folder: Path, found: Ingredients, score: float = 0.5, *, finish: bool = True) -> registry.Version:
    """A version that a run with these ingredients registered, and promoted or rejected unless it died before that."""
    model = trained(folder)
    registration = folder / "registration"
    champion = 0.4 if registry.champion() else None
    record = register(model, evaluated(model, score, champion), registration, RULES, {**TAGS, **found.tags})
    if finish:
        (promote if record["promote"] else reject)(registration)
    return registry.get(record["version"])


def test_in_an_empty_registry_nothing_is_made_and_nobody_is_champion(workplace: Path):
    found = settle()
    assert (found.data_version, found.champion, found.made) == (VERSION, "", None)
    assert found.tags["data_version"] == VERSION


def test_what_a_version_was_made_of_is_found_again(workplace: Path):
    version = make(workplace / "model", settle())
    assert settle().made == version == registry.champion()
    for other in (
        settle(data="0" * 32 + ".dir"),
        settle("train.seed=1"),
        settle("preprocess.size=300"),
        settle(codes={**CODES, "train": "3" * 16}),
        settle(codes={**CODES, "preprocess": "3" * 16}),
    ):
        assert other.made is None


def test_what_was_rejected_is_not_made_again(workplace: Path):
    version = make(workplace / "model", settle(), score=0.1)
    assert registry.champion() is None
    assert settle().made == version


def test_what_a_run_left_half_done_is_finished(workplace: Path):
    left = make(workplace / "model", settle(), finish=False)
    assert settle().made is None
    finished = make(workplace / "model-2", settle())
    assert left.number < finished.number
    assert settle().made == finished


def test_what_comes_after_training_makes_nothing_new(workplace: Path):
    version = make(workplace / "model", settle())
    assert settle("evaluate.samples=20", "register.rules.l1_ab.change=0").made == version


def test_an_alias_becomes_the_version_of_now(workplace: Path):
    first = make(workplace / "model", settle())
    found = settle("train.init=models:/colorizer@champion")
    assert found.champion == found.train_config["init"] == found.tags["began_with"] == first.uri
    assert found.made is None
    second = make(workplace / "model-2", found)
    again = settle("train.init=models:/colorizer@champion")
    assert again.champion == second.uri
    assert again.made == second
    assert again.train_config["init"] == first.uri  # it is not trained on and on


def test_to_begin_with_a_champion_there_must_be_one(workplace: Path):
    with pytest.raises(UserError, match="champion"):
        settle("train.init=models:/colorizer@champion")


def test_only_a_remote_in_s3_has_a_latest_version(workplace: Path):
    with pytest.raises(UserError, match="S3"):
        settle(data=LATEST, photos="/photographs")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


def test_the_latest_version_is_what_was_published(workplace: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch):
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_DEFAULT_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    for prefix in ("", "some/photographs/"):
        photos = f"s3://{s3.bucket}/{prefix}"
        s3.client().put_object(Bucket=s3.bucket, Key=f"{prefix}files/md5/ab/cdef", Body=b"a photograph")
        with pytest.raises(UserError, match="colorize data publish"):
            settle(data=LATEST, photos=photos)
        s3.client().put_object(Bucket=s3.bucket, Key=f"{prefix}latest", Body=f"{VERSION}\n".encode())
        assert settle(data=LATEST, photos=photos).data_version == VERSION
    with pytest.raises(UserError, match="no such bucket"):
        settle(data=LATEST, photos="s3://no-such-bucket")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another")
    with pytest.raises(UserError, match="refused"):
        settle(data=LATEST, photos=photos)


def test_the_latest_version_of_a_plain_prefix_is_what_is_there(
    workplace: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
):
    for name, value in {**s3.environment, "AWS_ENDPOINT_URL_S3": s3.endpoint, "AWS_DEFAULT_REGION": "x"}.items():
        monkeypatch.setenv(name, value)
    photos = f"s3://{s3.bucket}/plain"
    with pytest.raises(UserError, match="plain: nothing is there"):
        settle(data=LATEST, photos=photos)
    versions = []
    for name, content in (("a.jpg", b"1"), ("b/c.jpg", b"2"), (".hidden", b"3"), ("a.jpg", b"4"), ("a.jpg", b"1")):
        s3.client().put_object(Bucket=s3.bucket, Key=f"plain/{name}", Body=content)
        versions.append(settle(data=LATEST, photos=photos).data_version)
    one, two, hidden, changed, back = versions
    assert len({one, two, changed}) == 3
    assert two == hidden == back
    assert max(map(len, versions)) <= 36
