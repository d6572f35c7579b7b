import pytest
import torch

from abn.interpret.recalibration import reestimated
from tests.tiny import Tiny, tiny_pictures


def test_re_estimated_statistics_are_those_behind_the_factors_on_average_over_the_batches():
    model = Tiny.by_linear_term()
    model.block.bn1.running_mean.fill_(0.25)
    model.block.bn2.num_batches_tracked.fill_(1000)  # those of training do not count
    (_, _, images), *_ = tiny_pictures(2).batches(2, torch.device("cpu"))
    copy = reestimated(model, [(images, None), (2 * images, None)])
    h = [torch.relu((batch - 0.25) * (1 + 1e-5) ** -0.5) for batch in (images, 2 * images)]
    behind = [(model.block.factors(part, part) * part[:, :, 0, 0]).detach() for part in h]
    torch.testing.assert_close(copy.block.bn2.running_mean, sum(part.mean(0) for part in behind) / 2)
    torch.testing.assert_close(copy.block.bn2.running_var, sum(part.var(0) for part in behind) / 2)
    assert torch.equal(copy.block.bn1.running_mean, torch.full((3,), 0.25))
    assert torch.equal(model.block.bn2.running_mean, torch.zeros(3))
    assert not any(part.training for part in copy.modules())
    assert copy.block.bn2.momentum == model.block.bn2.momentum == 0.1


def test_a_short_batch_counts_by_its_images():
    model = Tiny.by_linear_term()
    (_, _, images), *_ = tiny_pictures(6).batches(6, torch.device("cpu"))
    copy = reestimated(model, [(images[:4], None), (images[4:], None)])
    halves = [reestimated(model, [(part, None)]).block.bn2 for part in (images[:4], images[4:])]
    for name in ("running_mean", "running_var"):
        first, last = (getattr(half, name) for half in halves)
        torch.testing.assert_close(getattr(copy.block.bn2, name), (4 * first + 2 * last) / 6)


def test_re_estimation_needs_a_batch_and_evaluation_mode():
    with pytest.raises(ValueError, match="no batch to estimate bn2's statistics on"):
        reestimated(Tiny(), [])
    with pytest.raises(ValueError, match="call model.eval"):
        reestimated(Tiny().train(), [])
