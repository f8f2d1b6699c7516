"""Tests of the order of photographs: full epochs, the same for any number of processes, few shards at a time."""

import hashlib
from itertools import chain, pairwise

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from model.data.order import Order


@st.composite
def orders(draw: st.DrawFn) -> tuple[Order, dict[str, int]]:
    lanes = draw(st.integers(1, 6))
    facts = {
        "photographs": draw(st.integers(lanes, 100)),
        "per_shard": draw(st.integers(1, 20)),
        "seed": draw(st.integers(0, 3)),
        "batch_size": lanes * draw(st.integers(1, 8)),
        "lanes": lanes,
        "window": draw(st.integers(0, 4)),
    }
    return Order(**facts), facts


def _seen(order: Order, batch_size: int, steps: int) -> list[list[int]]:
    return [order.photographs(step, range(batch_size)) for step in range(steps)]


def test_order_without_lanes_shuffles_the_whole_set_as_in_earlier_versions() -> None:
    """The digest is that of the order before lanes existed, so that an old training can be repeated."""
    digest = hashlib.sha256()
    for seed in (0, 7):
        seen = _seen(Order(475, 1024, seed, batch_size=25), 25, 6 * 19)
        for epoch in (0, 1, 5):
            digest.update(torch.tensor(seen[epoch * 19 : (epoch + 1) * 19]).numpy().tobytes())
    assert digest.hexdigest() == "00a129382d739950dff88013a80d486d44970e498e32633d90471abbe0aba375"
    sharded = _seen(Order(475, 16, 7, batch_size=25), 25, 40)
    assert sharded == _seen(Order(475, 1024, 7, batch_size=25), 25, 40)


@settings(deadline=None, max_examples=40)
@given(orders())
def test_every_lane_yields_each_of_its_photographs_once_per_epoch(made: tuple[Order, dict[str, int]]) -> None:
    order, facts = made
    each, lanes = facts["batch_size"] // facts["lanes"], facts["lanes"]
    edges = [facts["photographs"] * lane // lanes for lane in range(lanes + 1)]
    assert max(b - a for a, b in pairwise(edges)) - facts["photographs"] // lanes <= 1
    steps = 2 * -(-max(b - a for a, b in pairwise(edges)) // each)
    seen = _seen(order, facts["batch_size"], steps)
    for lane, (first, last) in enumerate(pairwise(edges)):
        stream = [photograph for batch in seen for photograph in batch[lane * each : (lane + 1) * each]]
        for epoch in range(2):
            assert sorted(stream[epoch * (last - first) :][: last - first]) == list(range(first, last))


@settings(deadline=None, max_examples=40)
@given(orders(), st.integers(0, 50), st.integers(1, 6))
def test_shares_of_several_processes_make_up_the_batch_of_one_at_any_step(
    made: tuple[Order, dict[str, int]], step: int, count: int
) -> None:
    order, facts = made
    size = facts["batch_size"]
    cuts = [size * rank // count for rank in range(count + 1)]
    shares = [Order(**facts).photographs(step, range(start, stop)) for start, stop in pairwise(cuts)]
    _seen(order, size, step)
    assert list(chain(*shares)) == order.photographs(step, range(size))


@settings(deadline=None, max_examples=40)
@given(orders(), st.integers(0, 50))
def test_a_step_reads_only_its_announced_shards_and_few_of_them(made: tuple[Order, dict[str, int]], step: int) -> None:
    order, facts = made
    lanes, size, window = facts["lanes"], facts["batch_size"], facts["window"]
    expected = order.shards(step, range(size))
    assert {photograph // facts["per_shard"] for photograph in order.photographs(step, range(size))} <= set(expected)
    if window and size == lanes:
        assert len(expected) <= 2 * lanes * window


def test_a_window_mixes_its_shards_and_each_epoch_combines_other_shards() -> None:
    order, windows = Order(640, per_shard=16, seed=0, batch_size=16, lanes=2, window=4), set()
    for step in range(0, 400, 8):  # a window holds 64 of a lane's 320 photographs: 8 steps of 8
        batches = [order.photographs(number, range(8)) for number in range(step, step + 8)]
        assert all(len({photograph // 16 for photograph in batch}) > 1 for batch in batches)
        shards = frozenset(photograph // 16 for photograph in chain(*batches))
        assert len(shards) == 4
        windows.add(shards)
    assert len(windows) > 40  # of 50
