"""Material for the tests of the evaluate step: sizes, names, a configuration, generators."""

from pathlib import Path
from typing import Any

import torch

from components.evaluate.config import EvaluateConfig
from model.config import GeneratorConfig
from model.inference.saved import save_generator
from model.networks.generator import Generator

SIZE = 40
TRAIN, TEST = 20, 9
HOSTILE = "a\"'><script>alert(1)</script>&amp;.jpg"
ALWAYS = {
    "l1_ab",
    "l1_ab_best",
    "psnr",
    "ssim",
    "colorfulness",
    "colorfulness_real",
    "delta_colorfulness",
    "colorfulness_error",
    "colorfulness_correlation",
    "ab_intersection",
    "kid_efflite0",
    "diversity",
}


def config(**changes: Any) -> EvaluateConfig:
    values = {
        "split": "test",
        "batch_size": 5,
        "photographs": 100,
        "samples": 3,
        "seed": 0,
        "confidence": 0.95,
        "inception_weights": "",
        "lpips_weights": "",
    }
    return EvaluateConfig(**(values | changes))


def make_generator(
    folder: Path, seed: int, noise: str = "gaussian", broken: bool = False, chroma_slope: float = 0.0
) -> Path:
    """Saves a random generator whose last layer is strong enough to give real colors; returns its folder."""
    torch.manual_seed(seed)
    generator = Generator(
        GeneratorConfig.model_validate(
            {"encoder": "none", "channels": 8, "levels": 3, "skip": True, "noise": noise, "noise_size": 4}
            | {"norm": "group", "upsample": "resize", "labels": [], "test_time_augmentation": False, "hints": False}
            | {"output": "regression", "temperature": 0.38}
        )
    )
    for name, parameter in generator.named_parameters():
        if "to_ab" in name or "modulate" in name:
            torch.nn.init.normal_(parameter, 0, 0.15)
    generator.chroma_slope = chroma_slope
    if broken:
        next(generator.parameters()).data[0, 0, 0, 0] = float("nan")
    save_generator(folder, generator, crop=32, size=SIZE, images=1000 + seed)
    return folder
