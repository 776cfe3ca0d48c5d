"""Mulberry32: the reference vectors, and the promise that outputs depend on seed and position alone."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groombook.prng import Mulberry32

REFERENCE = {
    42: [2581720956, 1925393290, 3661312704, 2876485805, 750819978],
    0: [1144304738, 1416247, 958946056, 627933444, 2007157716],
    1: [2693262067, 11749833, 2265367787, 4213581821, 4159151403],
    -1: [3850105811, 813802916, 3073704848, 4054706436, 3630262831],
    2147483647: [1842962257, 546041740, 1654754255, 1702490205, 513796057],
    1196576591: [3223748472, 1832320511, 2526738612, 1973081656, 3661813010],
}

seeds = st.integers(-(2**40), 2**40)


@pytest.mark.parametrize("seed", list(REFERENCE))
def test_first_five_outputs(seed: int) -> None:
    stream = Mulberry32(seed)
    assert [stream.draw() for _ in range(5)] == REFERENCE[seed]


def test_millionth_output_is_reached_by_a_jump() -> None:
    stream = Mulberry32(42)
    stream.jump(999_999)
    assert stream.draw() == 3314057631


def test_fold_over_the_first_million_outputs() -> None:
    folded = 0
    for output in Mulberry32(42).block(1_000_000):
        folded = (folded * 31 + output) % 2**64
    assert folded == 16316644067652505509


def test_seed_counts_modulo_two_to_the_32() -> None:
    assert Mulberry32(-1).block(3) == Mulberry32(2**32 - 1).block(3) == Mulberry32(2**64 - 1).block(3)


@given(seeds, st.integers(0, 300))
def test_block_equals_draws(seed: int, n: int) -> None:
    one, other = Mulberry32(seed), Mulberry32(seed)
    assert one.block(n) == [other.draw() for _ in range(n)]
    assert one.draw() == other.draw()


@given(seeds, st.integers(0, 500), st.integers(0, 500))
def test_jump_equals_skipping(seed: int, skipped: int, back: int) -> None:
    one, other = Mulberry32(seed), Mulberry32(seed)
    one.jump(skipped)
    other.block(skipped)
    assert one.block(3) == other.block(3)
    one.jump(back)
    one.jump(-back)
    assert one.draw() == other.draw()


@given(seeds, st.permutations(range(40)))
def test_outputs_taken_out_of_order_are_the_same(seed: int, order: list[int]) -> None:
    in_order = Mulberry32(seed).block(40)
    taken: dict[int, int] = {}
    for position in order:
        stream = Mulberry32(seed)
        stream.jump(position)
        taken[position] = stream.draw()
    assert [taken[position] for position in range(40)] == in_order


@given(seeds, st.integers(1, 2**20))
def test_indices_are_the_floor_of_the_scaled_float(seed: int, size: int) -> None:
    floats = Mulberry32(seed)
    expected = [int(floats.random() * size) for _ in range(20)]
    assert Mulberry32(seed).indices(20, size) == expected
    single = Mulberry32(seed)
    assert [single.index(size) for _ in range(20)] == expected


@given(seeds, st.integers(-5000, 5000), st.integers(0, 5000))
def test_randints_stay_within_both_bounds(seed: int, low: int, width: int) -> None:
    values = Mulberry32(seed).randints(50, low, low + width)
    assert all(low <= value <= low + width for value in values)
    single = Mulberry32(seed)
    assert [single.randint(low, low + width) for _ in range(50)] == values


def test_randints_reach_both_bounds() -> None:
    assert set(Mulberry32(42).randints(200, -1, 2)) == {-1, 0, 1, 2}


@given(seeds, st.lists(st.integers(), max_size=50))
def test_shuffled_is_a_permutation_made_from_one_output_each(seed: int, items: list[int]) -> None:
    stream = Mulberry32(seed)
    assert sorted(stream.shuffled(items)) == sorted(items)
    fresh = Mulberry32(seed)
    fresh.jump(len(items))
    assert stream.draw() == fresh.draw()


def test_choices_are_looked_up_by_indices() -> None:
    assert Mulberry32(42).choices(6, "abc") == ["abc"[position] for position in Mulberry32(42).indices(6, 3)]


def test_shuffled_moves_things() -> None:
    assert Mulberry32(42).shuffled("abcde") == ["e", "b", "a", "d", "c"]


@given(seeds, st.integers(0, 20))
def test_uuids_are_sixteen_outputs_each_with_version_and_variant(seed: int, n: int) -> None:
    stream, bytewise = Mulberry32(seed), Mulberry32(seed)
    identifiers = stream.uuid4s(n)
    for identifier in identifiers:
        content = bytes(int(bytewise.random() * 256) for _ in range(16))
        assert identifier == str(uuid.UUID(bytes=content, version=4))
        assert re.fullmatch(r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", identifier)
    assert stream.draw() == bytewise.draw()


def test_single_uuids_equal_a_block_of_them() -> None:
    single = Mulberry32(42)
    assert [single.uuid4() for _ in range(3)] == Mulberry32(42).uuid4s(3)
    assert Mulberry32(42).uuid4() == "9972daab-2c86-459f-9d78-3fe1be4e3280"
