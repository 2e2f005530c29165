"""The libraries that `minibert bench` compares with start from the same loss; each runs where it is installed."""

import pytest

from minibert.bench.contenders import OURS, PEERS, Contender
from minibert.bench.shape import Shape
from minibert.bench.workers import Worker

TINY = Shape(1, 16, 2, 50, 4, 8)


@pytest.mark.parametrize("peer", PEERS, ids=lambda peer: peer.name)
def test_a_peer_takes_the_same_step(peer: Contender) -> None:
    for library in peer.needs:
        pytest.importorskip(library)
    with Worker(OURS.module, TINY, 1, micro_batch=2) as ours, Worker(peer.module, TINY, 1, **peer.options) as theirs:
        assert theirs.facts["loss"] == pytest.approx(ours.facts["loss"], abs=0.3)  # from other random weights
        assert theirs.ask("step") > 0.0
