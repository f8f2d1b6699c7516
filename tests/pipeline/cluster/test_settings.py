"""Tests of a cluster's settings file: overrides, defaults and errors."""

import re
from pathlib import Path

import pytest

from model.utils.errors import UserError
from pipeline.cluster.settings import load_cluster


def test_a_file_overrides_its_settings_and_keeps_the_others(tmp_path: Path):
    file = tmp_path / "cluster.yaml"
    file.write_text("steps: {train: {cpu: [0.5, 32]}}", encoding="utf-8")
    train, before = load_cluster(file).steps["train"], load_cluster().steps["train"]
    assert train.cpu == ("0.5", "32")
    assert train.memory == before.memory


def test_a_step_without_an_entry_gets_the_default():
    cluster = load_cluster()
    assert cluster.resources("a new step") == cluster.steps["default"] != cluster.resources("train")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("gpu: {cont: 2}", "gpu.cont is not a known key; pipeline/cluster/settings.yaml lists them all"),
        ("gpu: {count: -1}", "gpu.count is -1"),
        ("gpu: {count: 0, nodes: 2}", "gpu.count is 0, which trains on the CPU of one node; gpu.nodes is 2"),
        ("gpu: {nodes: 0}", "gpu.nodes is 0"),
        ("gpu: {resource: gpu}", "gpu.resource is 'gpu'"),
        ("gpu: {shared_memory: 5 Gi}", "gpu.shared_memory is '5 Gi'"),
        ("gpu: {shared_memory: 32Gi}", "must be below steps.train.memory's limit (32Gi)"),
        ("steps: {report: {memory: [0.5Gi, 1Gi]}}", "steps.report.memory.0 is '0.5Gi'"),  # kfp has no such
        ("steps: {report: {cpu: [1, 2k]}}", "steps.report.cpu.1 is '2k'"),
        ("steps: {trian: {scratch: 1Gi}}", "trian"),
        ("steps: {train: {memory: [64Gi, 32Gi]}}", "the request (64Gi) must not exceed the limit (32Gi)"),
        ("steps: {report: {cpu: [1500m, 1]}}", "the request (1500m) must not exceed the limit (1)"),
        ("steps: {report: {scratch: 0}}", "0 must be above 0"),
        ("deadline: {run: 86400}", "deadline.run (86400) must exceed 374820 s, what retry allows train"),
        ("deadline: {step: 0}", "deadline.step is 0"),
        ("shards: {publish: datasets}", "shards.publish is 'datasets'"),
        ("shards: {cache: 10Gi}", "shards.cache (10Gi) must be below steps.inspect.scratch (10Gi)"),
    ],
)
def test_a_wrong_cluster_setting_is_named_in_one_sentence(tmp_path: Path, text: str, words: str):
    file = tmp_path / "cluster.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=re.escape(words)) as caught:
        load_cluster(file)
    assert str(file) in str(caught.value)
