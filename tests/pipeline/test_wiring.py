"""Tests that the graph keeps the wiring of the former sweep graph: inputs, caching, retries and pods.

wiring_before.json holds the wiring of the last pipeline/sweep.yaml, dvc_before.json the stages of the last dvc.yaml
that was written by hand.
"""

import json
from pathlib import Path

import yaml

from pipeline import compile as compiled
from pipeline.place import STEP_LABELS
from tests.support.wiring import wiring

MULTIPART = ("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD")
GONE = {"gate", "reject"}  # register returns the verdict, and marks a version that is rejected
STEPS = {"resolve-variants": "resolve", "report-outcome": "report"}
NAMES = {"generator": "model", "generators": "models"}
SOURCES = {"train.generator": "train.model", "choose.generator": "choose.model"}


def before() -> dict[str, dict]:
    """Returns the old wiring with today's names."""
    steps = json.loads(Path(__file__).with_name("wiring_before.json").read_text(encoding="utf-8"))

    def source(text: str) -> str:
        for old, new in {**STEPS, **SOURCES}.items():
            text = text.replace(old, new)
        return text

    return {
        STEPS.get(name, name): step
        | {"inputs": {NAMES.get(key, key): source(value) for key, value in step["inputs"].items()}}
        for name, step in steps.items()
        if name not in GONE
    }


def test_every_step_keeps_its_wiring() -> None:
    expected = before()
    # A variant is passed on whole: its name and its section `train`.
    for step in ("train", "evaluate"):
        expected[step]["inputs"]["variant"] = "each(resolve.settled)"
    del expected["train"]["inputs"]["config"]
    # Tags hold the git commit: in a variant they would make every commit train anew. Only choose reads them.
    expected["choose"]["inputs"]["origins"] = "resolve.origins"
    del expected["choose"]["inputs"]["dataset"]  # choose reads the pictures that evaluate writes
    expected["choose"]["inputs"]["code"] = "choose_code"  # it is cached with everything before it
    expected["choose"]["cached"] = True
    expected["merge"]["inputs"]["store"] = "checkpoints"  # it holds the splits of earlier data versions
    for step in ("inspect", "evaluate", "choose"):  # resolve compares the code of every step with its image's
        expected["resolve"]["inputs"][f"{step}_code"] = f"{step}_code"
    expected["report"]["pod"]["environment"]["COLORIZE_KFP_API"] = "colorizer"
    # How artifacts travel is a setting of the cluster; every pod has a deadline; policies select by labels.
    for name, step in expected.items():
        step["pod"]["environment"] |= dict.fromkeys(MULTIPART, "colorizer")
        step["pod"].setdefault("activeDeadlineSeconds", "900" if name == "report" else "14400")
        step["pod"]["podMetadata"] = {"labels": STEP_LABELS}
    # Train supervises itself.
    retries = "colorizer/colorize-retries"
    expected["train"]["pod"]["environment"]["COLORIZE_RETRIES"] = f"metadata.annotations['{retries}']"
    expected["train"]["pod"]["podMetadata"] = {"labels": STEP_LABELS, "annotations": {retries: "3"}}
    spec, platform = yaml.safe_load_all(compiled.COMPILED.read_text(encoding="utf-8"))
    found = wiring(spec, platform)
    assert found.keys() == expected.keys()
    for step, wired in found.items():
        assert wired == expected[step], step


def test_every_dvc_stage_keeps_its_dependencies_outputs_and_parameters() -> None:
    expected = json.loads(Path(__file__).with_name("dvc_before.json").read_text(encoding="utf-8"))
    found = yaml.safe_load(compiled.DVC.read_text(encoding="utf-8"))
    assert list(found["stages"]) == list(expected["stages"])
    for name, stage in expected["stages"].items():
        assert {key: value for key, value in found["stages"][name].items() if key not in ("cmd", "desc")} == stage, name
        assert "\n" not in found["stages"][name]["cmd"]
    assert (found["metrics"], found["plots"]) == (expected["metrics"], expected["plots"])
