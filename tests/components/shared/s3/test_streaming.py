"""Tests of shards streamed from a real S3 server through a cache smaller than the dataset."""

import os
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import psutil
import pytest

from components.evaluate.step import evaluate
from components.preprocess.component import merge, partition, preprocess
from components.shared.machine.workspace import SHARD_CACHE
from components.shared.s3.client import Address
from components.shared.s3.streaming.cache import ShardCache
from components.shared.s3.streaming.published import local_folder, open_shards, publish
from components.train.step import train
from model.data import writer
from model.data.batches import Batches
from model.data.format import SPLITS
from model.data.kinds import SOURCES
from model.data.shards import Shards
from model.utils.errors import Interrupted, UserError
from pipeline.config import load_config
from tests.support.faulty_proxy import FaultyProxy
from tests.support.s3 import S3Server
from tests.support.tiny import ROOT, tiny_config, tiny_dataset
from tests.support.trainings import terminate

pytestmark = pytest.mark.usefixtures("one_thread")

SHARD = 4 * 3 * 24 * 24 + 128
"""Bytes of a full shard of four photographs."""
STREAMED = ("shuffle.lanes=2", "shuffle.window=2", "checkpoint_every=32", "log_every=32", "sample_every=64")


@pytest.fixture
def whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns a local dataset of 15 training shards, twice as many as the cache of 8 below."""
    monkeypatch.setattr(writer, "PER_SHARD", 4)
    return tiny_dataset(tmp_path / "whole", train=59, val=3, test=5)


@pytest.fixture
def published(whole: Path, workplace: Path, proxy: FaultyProxy, s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Returns the same dataset with its shards in S3."""
    monkeypatch.setenv(SHARD_CACHE, str(8 * SHARD))
    folder = Path(shutil.copytree(whole, workplace / "published"))
    publish(folder, Address(s3.bucket, f"datasets/{workplace.name}"))
    proxy.requests.clear()
    return folder


def _address(folder: Path) -> str:
    return (folder / "address.txt").read_text().strip()


def _fetched(proxy: FaultyProxy) -> list[str]:
    return [request.rpartition("/")[2].partition("?")[0] for request in proxy.requests if ".npy" in request]


@contextmanager
def _watched(folder: Path) -> Iterator[list[int]]:
    """Yields the sizes of a folder in bytes, sampled about every millisecond."""
    sizes, done = [0], threading.Event()

    def watch() -> None:
        while not done.wait(0.001):
            try:
                sizes.append(sum(entry.stat().st_size for entry in os.scandir(folder)))
            except FileNotFoundError:
                continue

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield sizes
    finally:
        done.set()
        thread.join()


def test_a_streamed_dataset_larger_than_the_cache_trains_the_same_weights(
    whole: Path, published: Path, proxy: FaultyProxy
) -> None:
    config = tiny_config(*STREAMED, "images=240", "calibrate=true", "validate_every=64")
    train(whole, Path("local"), Path("checkpoints-local"), config)
    assert not _fetched(proxy)
    faults = ("truncate answer", "drop", "refuse", "stall", "drop after", "truncate answer")
    proxy.planned = {f"^GET .*/train-{2 * shard:05d}": fault for shard, fault in enumerate(faults)}
    with _watched(Path("workspace/cache/shards")) as sizes:
        train(published, Path("streamed"), Path("checkpoints"), config)
    assert 5 * SHARD < max(sizes) <= 9 * SHARD
    assert len(set(_fetched(proxy))) == 16  # the training shards and the validation shard
    assert not proxy.planned
    for name in ("generator.safetensors", "generator.json", "manifest.parquet"):
        assert Path("local", name).read_bytes() == Path("streamed", name).read_bytes()


def _terminate_at_shard(number: int) -> Callable[[str], None]:
    """Returns an `answer` of the proxy that passes requests on and sends SIGTERM to this process at one shard."""
    left = number

    def answer(request: str) -> None:
        nonlocal left
        if ".npy" in request:
            left -= 1
            if left == 0:
                terminate(0)

    return answer


def test_an_interrupted_training_resumes_with_an_empty_cache_and_partial_files(
    whole: Path, published: Path, proxy: FaultyProxy
) -> None:
    config = tiny_config(*STREAMED, "images=160")
    train(whole, Path("undisturbed"), Path("elsewhere"), config)
    proxy.answer = _terminate_at_shard(12)
    with pytest.raises(Interrupted):
        train(_address(published), Path("streamed"), Path("checkpoints"), config)
    proxy.answer = lambda request: None
    cache = Path("workspace/cache/shards")
    cache.rename("gone")  # prefetched shards may still arrive
    cache.mkdir()
    first = open_shards(published, "train").files[0]
    halves = [cache / f"{name}.partial" for name in (first.sha256, "0" * 64)]
    for half in halves:
        half.write_bytes(bytes(SHARD))
    train(_address(published), Path("streamed"), Path("checkpoints"), config)
    assert not [half for half in halves if half.exists()]
    assert Path("streamed/generator.safetensors").read_bytes() == Path("undisturbed/generator.safetensors").read_bytes()


def test_each_process_fetches_only_the_shards_of_its_own_part(
    published: Path, proxy: FaultyProxy, workplace: Path
) -> None:
    """Simulates two nodes over several epochs; the one shard that both need spans the border of their parts."""
    address, parts = Address.parse(_address(published)), []
    for rank in range(2):
        proxy.requests.clear()
        shards = Shards.open(published, "train", ShardCache(address, workplace / f"node-{rank}", 10 * SHARD))
        batches = Batches(shards, 8, 16, 0, rank, 2, lanes=4, window=2)
        for step in range(3 * 59 // 8):
            batches[step]
        parts.append(set(_fetched(proxy)))
    names = [file.name for file in open_shards(published, "train").files]
    assert parts[0] == set(names[:8])
    assert parts[1] == set(names[7:])


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_killed_processes_resume_streaming_and_train_the_same_weights(
    whole: Path, published: Path, proxy: FaultyProxy, workplace: Path
) -> None:
    """Compares the weights with those of two undisturbed processes that read the folder."""
    program = workplace / "program.py"
    program.write_text(
        "import sys; from pathlib import Path; from components.train.step import train; "
        "from tests.support.tiny import tiny_config\n"
        "train(sys.argv[1], Path(sys.argv[2]), Path('checkpoints', sys.argv[2]), tiny_config(*sys.argv[3:]))\n"
    )
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(program)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}

    def start(dataset: str, out: str) -> subprocess.Popen[bytes]:
        command = [*torchrun, dataset, out, *STREAMED, "images=240"]
        return subprocess.Popen(command, env=environment)

    killed = start(_address(published), "streamed")
    while killed.poll() is None and len(_fetched(proxy)) < 12:
        time.sleep(0.01)
    for process in (psutil.Process(killed.pid), *psutil.Process(killed.pid).children(recursive=True)):
        process.kill()
    killed.wait()
    assert not Path("streamed").exists()
    assert start(_address(published), "streamed").wait() == start(str(whole), "local").wait() == 0
    assert Path("streamed/generator.safetensors").read_bytes() == Path("local/generator.safetensors").read_bytes()


def test_the_processes_of_a_node_fetch_each_shard_once(published: Path, proxy: FaultyProxy) -> None:
    processes = [open_shards(published, "train") for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(lambda shards: shards[:30], processes))
    assert all(np.array_equal(one, read[0]) for one in read)
    assert sorted(_fetched(proxy)) == [f"train-{number:05d}.npy" for number in range(8)]


def test_the_least_recently_used_shard_is_evicted_and_stays_readable_to_its_readers(
    published: Path, proxy: FaultyProxy
) -> None:
    shards = open_shards(published, "train")
    assert shards.store
    mapped = np.load(shards.store.fetch(shards.files[0]), mmap_mode="r")
    for index in [*range(1, 8), 1, *range(8, 14)]:  # 0 and 2 to 6 make room for the last six
        shards.store.fetch(shards.files[index])
    proxy.requests.clear()
    for index in (1, 7, *range(8, 14)):
        shards.store.fetch(shards.files[index])
    assert not _fetched(proxy)
    assert np.array_equal(mapped, shards[:4])  # fetches the first shard again
    assert _fetched(proxy) == ["train-00000.npy"]


def test_expected_shards_are_prefetched(published: Path, proxy: FaultyProxy) -> None:
    shards = open_shards(published, "train")
    shards.expect([3, 1, 2])
    waited = time.monotonic() + 60
    while len(list(Path("workspace/cache/shards").glob("*.npy"))) < 3 and time.monotonic() < waited:
        time.sleep(0.01)
    proxy.requests.clear()
    assert shards[4:16].shape == (12, 3, 24, 24)
    assert not _fetched(proxy)


def test_a_damaged_and_a_missing_shard_are_named(published: Path, s3: S3Server, proxy: FaultyProxy) -> None:
    address, config = Address.parse(_address(published)), tiny_config(*STREAMED)
    key = f"{address.prefix}/train-00003.npy"
    content = bytearray(s3.client().get_object(Bucket=address.bucket, Key=key)["Body"].read())
    content[-1] ^= 1
    s3.client().put_object(Bucket=address.bucket, Key=key, Body=bytes(content))
    damaged = f"{address}/train-00003.npy is damaged: its SHA-256 is not the one in dataset.json"
    with pytest.raises(UserError, match=re.escape(damaged)):
        train(published, Path("streamed"), Path("checkpoints"), config)
    assert (
        len([name for name in _fetched(proxy) if name == "train-00003.npy"]) >= 2
    )  # a transfer error is possible, so it is retried
    s3.client().delete_object(Bucket=address.bucket, Key=key)
    with pytest.raises(UserError, match=rf"{address}/train-00003\.npy: no such bucket or object"):
        train(published, Path("streamed"), Path("checkpoints"), config)


def test_a_cache_smaller_than_the_shuffle_window_is_refused(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=rf"{SHARD_CACHE} allows {8 * SHARD}; raise it, or lower train.shuffle.window"):
        train(published, Path("streamed"), Path("checkpoints"), tiny_config())
    monkeypatch.setenv(SHARD_CACHE, "8Gi")
    with pytest.raises(UserError, match=f"{SHARD_CACHE} is 8Gi; give a number of bytes"):
        open_shards(published, "train")


def test_a_published_dataset_keeps_its_address_and_is_scored_like_the_folder(
    whole: Path, published: Path, s3: S3Server, proxy: FaultyProxy
) -> None:
    address = Address.parse(_address(published))
    assert not list(published.glob("*.npy"))
    again = Path(shutil.copytree(whole, "again"))
    (again / SOURCES).write_text("file,licence\n")
    assert publish(again, Address(address.bucket, address.prefix.rpartition("/")[0])) == address
    assert not [request for request in proxy.requests if request.startswith(("PUT", "POST")) and ".npy" in request]
    described = local_folder(str(address))
    assert local_folder(str(address)) == described
    assert {path.name for path in described.iterdir()} == {"address.txt", "dataset.json", "manifest.parquet", SOURCES}
    for split in SPLITS:
        assert np.array_equal(open_shards(described, split)[:], Shards.open(whole, split)[:])
    with pytest.raises(UserError, match="no such bucket or object"):
        local_folder(f"{address}/elsewhere")

    train(whole, Path("model"), Path("checkpoints"), tiny_config("images=16", "warmup_images=8"))
    config = load_config(ROOT / "params.yaml", (), ("evaluate.samples=2",)).evaluate
    scores = [evaluate(place, Path("model"), Path(out), config) for place, out in ((whole, "a"), (str(address), "b"))]
    assert scores[0] == scores[1]


def test_the_merge_step_publishes_its_dataset(workplace: Path, photos: Path, proxy: FaultyProxy, s3: S3Server) -> None:
    overrides = ("preprocess.size=32", "preprocess.min_photographs=1", "train.crop=32", "train.generator.levels=2")
    section = load_config(ROOT / "params.yaml", (), overrides).sections()["preprocess"]
    root = f"s3://{s3.bucket}/sets/{workplace.name}"
    listing, part, dataset = (SimpleNamespace(path=name, metadata={}) for name in ("listing", "part", "dataset"))
    photographs, store = str(photos / "scratch"), str(workplace / "store")
    partition.python_func(photographs, "abc.dir", 1, section, "", store, listing)
    preprocess.python_func(photographs, listing, 0, section, "", store, part)
    merge.python_func(photographs, "abc.dir", listing, [part], section, "", store, root, dataset)
    assert dataset.metadata["shards"] == _address(Path("dataset"))
    assert dataset.metadata["shards"].startswith(f"{root}/")
    assert len(open_shards(Path("dataset"), "train")[:]) == dataset.metadata["train"] > 0
