"""BlockPool: blocks that are free, held by some, or kept for what they hold."""

from __future__ import annotations

import random

from torchloom_models.llm.cache.block_pool import ROOT, BlockPool


def _run(pool: BlockPool, tokens: list[int], root: int = ROOT) -> list[int]:
    """Hold what is known of tokens, take blocks for the rest, and publish the full ones."""
    size = pool.block_size
    match = pool.match(tokens, root)
    pool.hold(match.blocks)
    blocks = match.blocks + pool.allocate(pool.num_needed(len(tokens)) - len(match.blocks))
    content = match.content
    for number in range(len(match.blocks), len(tokens) // size):
        part = tokens[number * size : (number + 1) * size]
        content = pool.publish(blocks[number], content, part)
    return blocks


def test_hands_out_the_lowest_blocks() -> None:
    """What is given back goes out again before higher ones, so that rows stay dense."""
    pool = BlockPool(4, 2)

    assert pool.allocate(3) == [0, 1, 2]
    pool.release([1])
    assert pool.allocate(2) == [1, 3]
    assert pool.num_free == 0
    pool.check([[0, 2], [1, 3]])


def test_shares_blocks_of_the_same_beginning() -> None:
    """Full blocks alone, and those alone that stand behind the same tokens."""
    pool = BlockPool(8, 2)
    first = _run(pool, [1, 2, 3, 4, 5])

    second = _run(pool, [1, 2, 3, 4, 9, 9])
    other = _run(pool, [7, 7, 3, 4])

    assert first[:2] == second[:2] == [0, 1]
    assert set(other).isdisjoint(first)
    pool.check([first, second, other])


def test_shares_nothing_between_roots() -> None:
    """What is computed by other weights is another content, whatever the tokens."""
    pool = BlockPool(8, 2)
    plain, adapted = _run(pool, [1, 2, 3, 4, 5]), _run(pool, [1, 2, 3, 4, 5], root=-1)

    assert set(plain).isdisjoint(adapted)
    assert pool.match([1, 2, 3, 4, 9], root=-1).blocks == adapted[:2]
    assert pool.match([1, 2, 3, 4, 9], root=-2).blocks == []
    pool.check([plain, adapted])


def test_shares_nothing_where_it_is_told_so() -> None:
    """What is full is found by nobody, and free when it is given back."""
    pool = BlockPool(4, 2, is_shared=False)
    first = _run(pool, [1, 2, 3, 4, 5])

    assert pool.match([1, 2, 3, 4, 5]).blocks == []
    pool.release(first)
    assert (pool.num_free, pool.num_kept) == (4, 0)


def test_leaves_a_token_to_run() -> None:
    """A prompt that is known to its end gives up its last block: something must give logits."""
    pool = BlockPool(8, 2)
    _run(pool, [1, 2, 3, 4])

    assert pool.match([1, 2, 3, 4]).blocks == [0]
    assert pool.match([1, 2, 3, 4, 5]).blocks == [0, 1]
    assert pool.match([1, 2]).blocks == []


def test_keeps_what_nobody_holds_until_its_room_is_needed() -> None:
    """What was held least recently goes first, and of one sequence its end before its beginning."""
    pool = BlockPool(4, 2)
    old = _run(pool, [1, 2, 3, 4])
    new = _run(pool, [5, 6, 7, 8])
    pool.release(old)
    pool.release(new)
    assert (pool.num_free, pool.num_kept) == (4, 4)

    taken = pool.allocate(1)

    assert taken == [old[1]]
    assert pool.match([1, 2, 3, 4, 0]).blocks == [old[0]]
    assert pool.match([5, 6, 7, 8, 0]).blocks == new
    pool.check([taken])


def test_finds_no_block_whose_forerunner_is_gone() -> None:
    """A block that holds other tokens by now is not taken for what it was."""
    pool = BlockPool(2, 2)
    pool.release(_run(pool, [1, 2, 3, 4]))
    first, second = pool.allocate(2)
    pool.publish(first, ROOT, [8, 8])
    pool.publish(second, ROOT, [1, 2])

    assert pool.match([1, 2, 3, 4, 5]).blocks == [second]
    pool.check([[first, second]])


def test_finds_the_first_of_two_that_hold_the_same() -> None:
    """Two prompts that were run at once: the second's blocks are its own, and go with it."""
    pool = BlockPool(4, 2)
    first, second = pool.allocate(2)
    content = pool.publish(first, ROOT, [1, 2])

    assert pool.publish(second, ROOT, [1, 2]) == content
    pool.release([second])

    assert pool.match([1, 2, 3]).blocks == [first]
    assert pool.num_kept == 0
    pool.check([[first]])


def test_forgets_broken_blocks() -> None:
    """Nobody finds them again; those that others hold as well are not to be wiped."""
    pool = BlockPool(4, 2)
    first = _run(pool, [1, 2, 3, 4, 5])
    second = _run(pool, [1, 2, 9])

    assert pool.forget(first) == first[1:]
    pool.release(first)

    assert pool.match([1, 2, 3, 4, 5]).blocks == []
    pool.check([second])


def test_stays_whole_in_any_order() -> None:
    """Blocks are neither lost nor held twice, whatever comes and goes."""
    chance = random.Random(3)
    pool = BlockPool(12, 2)
    held: list[list[int]] = []
    for _ in range(500):
        tokens = [chance.randrange(3) for _ in range(chance.randrange(1, 9))]
        if pool.num_free >= pool.num_needed(len(tokens)) and chance.random() < 0.6:
            held.append(_run(pool, tokens))
        elif held:
            blocks = held.pop(chance.randrange(len(held)))
            if chance.random() < 0.1:
                pool.forget(blocks)
            pool.release(blocks)
        pool.check(held)


def test_says_what_is_held_and_kept() -> None:
    """For whoever looks at it in a debugger."""
    pool = BlockPool(8, 2)
    pool.release(_run(pool, [1, 2, 3, 4]))
    _run(pool, [5])

    assert repr(pool) == "<BlockPool 1 of 8 blocks of 2 held, 2 kept>"
