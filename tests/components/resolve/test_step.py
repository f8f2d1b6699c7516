"""Tests of the resolve step: aliases become versions, and a run of known inputs is recognized."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from components.register.step import promote, register
from components.resolve.step import Resolved, resolve
from components.shared.machine import code
from components.shared.mlflow import promotion, registry
from components.shared.photos.listing import LATEST
from model.utils.errors import UserError
from pipeline.config import load_config
from tests.support.retrained import RULES, TAGS, evaluated, trained
from tests.support.s3 import S3Server, seaweedfs
from tests.support.tiny import ROOT

VERSION = "f7af12c06f5a9ef9c9650dedaffa2393.dir"
CODES = {"preprocess": "1" * 16, "train": "2" * 16}


def settle(*overrides: str, data: str = VERSION, photos: str = "photos", codes: dict[str, str] = CODES) -> Resolved:
    return settle_all(*(("a variant", overrides),), data=data, photos=photos, codes=codes)


def settle_all(*variants: tuple[str, tuple[str, ...]], data: str, photos: str, codes: dict[str, str]) -> Resolved:
    """Resolves variants by name and overrides."""
    sections = {name: load_config(ROOT / "params.yaml", (), overrides).sections() for name, overrides in variants}
    listed = [{"name": name, "train": one["train"]} for name, one in sections.items()]
    return resolve(photos, data, next(iter(sections.values()))["preprocess"], listed, codes, {"git_commit": "0123abc"})


def made(found: Resolved) -> list[int]:
    """Returns the versions named in the message that nothing is new."""
    return [int(number) for number in re.findall(r"\d+", found.nothing_new.partition(" made of data ")[0])]


def make(folder: Path, found: Resolved, score: float = 0.5, *, finish: bool = True) -> registry.Version:
    """Registers a version made of these inputs; promotes it if `finish` is True and the gate allows it."""
    model = trained(folder)
    registration = folder / "registration"
    champion = 0.4 if registry.champion() else None
    record = register(model, evaluated(model, score, champion), registration, RULES, {**TAGS, **found.origins[0]})
    if finish and record["promote"]:
        promote(registration)
    return registry.get(record["version"])


def test_an_empty_registry_gives_no_champion_and_no_known_version(workplace: Path):
    found = settle()
    assert (found.data_version, found.champion, found.nothing_new) == (VERSION, "", "")
    assert found.origins[0]["data_version"] == VERSION
    assert found.origins[0]["git_commit"] == "0123abc"
    assert found.origins[0]["recipe"] == found.variants[0]["name"] == "a variant"


def test_a_verdict_counts_as_known_until_rules_or_champion_change(workplace: Path):
    def again(judged_by: str = "a" * 64) -> str:
        sections = load_config(ROOT / "params.yaml").sections()
        variant = {"name": "a variant", "train": sections["train"]}
        tags = {"git_commit": "0123abc", "judged_by": judged_by}
        return resolve("photos", VERSION, sections["preprocess"], [variant], CODES, tags).judged_already

    origin = settle()
    for one in origin.origins:
        one["judged_by"] = "a" * 64
    assert again() == ""
    make(workplace / "first", origin, finish=False)
    assert again() == "", "it was not promoted, though it should have been"
    promotion.promote(1, "by hand")
    assert "version 1 was made of data" in again()
    assert again("b" * 64) == "", "other rules"
    make(workplace / "second", origin, score=0.3)
    assert "version 1 was made" in again(), "the champion; version 2 was rejected beside it"
    registry.set_tags(1, {"judged_by": "c" * 64})
    assert "version 2 was made" in again()
    registry.delete_tags(2, ["rejected_at"])
    assert again() == "", "a registration that was killed before its last act"
    registry.set_tags(2, {"rejected_at": "2026-11-27", "judged_beside": "7"})
    assert again() == "", "another champion since"


def test_the_setting_that_asks_for_a_missing_champion_is_named(workplace: Path):
    for value, missing in (("models:/colorizer@champion", "champion yet at"), ("models:/colorizer/3", "version 3 of")):
        with pytest.raises(UserError, match=rf"^train\.init is {value}: There is no {missing}"):
            settle(f"train.init={value}")


@pytest.mark.parametrize("address", ["", "sqlite:////tmp/mlflow.db", "file:///tmp/mlruns", "mlruns"])
def test_a_run_on_kubeflow_without_a_server_is_refused(workplace: Path, monkeypatch: pytest.MonkeyPatch, address: str):
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.96.0.1")
    monkeypatch.setenv("KFP_RUN_ID", "7f1b2a58-0c6e-4b8f-9a52-0d9f3f3f7c11")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
    with pytest.raises(UserError, match=r"is a file of this pod.*MLFLOW_TRACKING_URI.*ConfigMap `colorizer`") as caught:
        settle()
    assert str(caught.value).count(". ") == 0, "one sentence"


@pytest.mark.parametrize(
    "variables",
    [
        {"KFP_RUN_ID": "local-20261127-120000-ab12", "KUBERNETES_SERVICE_HOST": "10.96.0.1"},  # in a notebook's pod
        {"KUBERNETES_SERVICE_HOST": "10.96.0.1"},
        {"KFP_RUN_ID": "7f1b2a58-0c6e-4b8f-9a52-0d9f3f3f7c11"},
        {},
    ],
)
def test_elsewhere_mlflow_may_be_a_file(workplace: Path, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]):
    for name in ("KFP_RUN_ID", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert settle().champion == ""


def test_a_version_of_the_same_inputs_is_found(workplace: Path):
    version = make(workplace / "model", settle())
    assert made(settle()) == [version.number]
    assert version == registry.champion()
    for other in (
        settle(data="0" * 32 + ".dir"),
        settle("train.seed=1"),
        settle("preprocess.size=300"),
        settle(codes={**CODES, "train": "3" * 16}),
        settle(codes={**CODES, "preprocess": "3" * 16}),
    ):
        assert not other.nothing_new


def test_a_rejected_version_of_the_same_inputs_is_found(workplace: Path):
    version = make(workplace / "model", settle(), score=0.1)
    assert registry.champion() is None
    assert made(settle()) == [version.number]


def test_a_version_without_a_verdict_is_not_reused(workplace: Path):
    left = make(workplace / "model", settle(), finish=False)
    assert not settle().nothing_new
    finished = make(workplace / "model-2", settle())
    assert left.number < finished.number
    assert made(settle()) == [finished.number]


def test_settings_of_later_steps_do_not_make_a_run_new(workplace: Path):
    make(workplace / "model", settle())
    assert settle("evaluate.samples=20", "register.rules.l1_ab.change=0").nothing_new


def test_an_alias_resolves_to_the_current_version(workplace: Path):
    first = make(workplace / "model", settle())
    found = settle("train.init=models:/colorizer@champion")
    assert found.champion == found.variants[0]["train"]["init"] == found.origins[0]["began_with"] == first.uri
    assert not found.nothing_new
    second = make(workplace / "model-2", found)
    again = settle("train.init=models:/colorizer@champion")
    assert again.champion == second.uri
    assert made(again) == [second.number]
    assert again.variants[0]["train"]["init"] == first.uri  # the initial weights stay those of the first version


def test_one_new_variant_makes_a_run_new(workplace: Path):
    known, new = ("known", ()), ("new", ("train.seed=1",))
    version = make(workplace / "model", settle())
    both = settle_all(known, new, data=VERSION, photos="photos", codes=CODES)
    assert not both.nothing_new
    assert [origin["recipe"] for origin in both.origins] == ["known", "new"]
    alone = settle_all(known, data=VERSION, photos="photos", codes=CODES)
    assert made(alone) == [version.number]


def test_floats_of_kubeflow_equal_the_integers_of_the_settings(workplace: Path):
    sections = load_config(ROOT / "params.yaml").sections()
    variants = [{"name": "one", "train": sections["train"]}]
    plain = resolve("photos", VERSION, sections["preprocess"], variants, CODES, {})
    floats = json.loads(json.dumps([sections["preprocess"], variants]), parse_int=float)
    assert resolve("photos", VERSION, floats[0], floats[1], CODES, {}) == plain


def test_an_image_with_other_code_is_refused_before_anything_else(workplace: Path, monkeypatch: pytest.MonkeyPatch):
    image = workplace / "image.json"
    image.write_text(json.dumps({"git_commit": "4567def", "code": {**CODES, "evaluate": "3" * 16}}))
    monkeypatch.setattr(code, "OF_IMAGE", image)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")  # would fail, if it were asked
    with pytest.raises(UserError, match="built from commit 4567def and the run submitted from commit 0123abc"):
        settle(codes={**CODES, "evaluate": "4" * 16})


def test_a_missing_champion_as_initial_weights_is_refused(workplace: Path):
    with pytest.raises(UserError, match="champion"):
        settle("train.init=models:/colorizer@champion")


def test_the_latest_version_of_a_local_folder_is_refused(workplace: Path):
    with pytest.raises(UserError, match="S3"):
        settle(data=LATEST, photos="/photographs")


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    with seaweedfs(tmp_path_factory.mktemp("s3")) as server:
        yield server


def test_the_latest_version_of_a_dvc_remote_is_the_published_one(
    workplace: Path, s3: S3Server, monkeypatch: pytest.MonkeyPatch
):
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


def test_the_latest_version_of_a_plain_prefix_follows_its_objects(
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
