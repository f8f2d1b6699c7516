"""Program that runs one training: run_training.py DATASET FOLDER [override...]. Prints the images seen."""

import os
import sys
from pathlib import Path

import torch

from model.data.shards import Shards
from model.inference.saved import save_generator
from model.training.loop import train
from model.utils.errors import UserError
from tests.support.tiny import tiny_config
from tests.support.trainings import Recorder

if __name__ == "__main__":
    dataset, folder, *overrides = sys.argv[1:]
    torch.set_num_threads(1)
    shards = Shards.open(Path(dataset), "train")
    config = tiny_config(*overrides, size=shards.size)
    here = Path(folder) if int(os.environ.get("RANK", "0")) == 0 else Path(folder, "on another node")
    try:
        trained = train(
            config,
            shards,
            here,
            {},
            reporter=Recorder(lambda images: print(images, flush=True)),
        )
    except UserError as error:
        sys.exit(f"error: {error}")
    if trained.rank == 0:
        save_generator(Path(folder), trained.generator, crop=config.crop, size=shards.size, images=trained.images)
