"""Which patches the sparse head sees, and that their number does not give the answer away."""

import pytest
import torch
from sklearn.metrics import roc_auc_score

from bundle.networks.selection import PatchSelection, of_like_size


def batch(g, b=64, p=49):
    """Positives with boxes of 3 to 9 patches, one finding."""
    mask = torch.zeros(b, 1, p, dtype=torch.bool)
    label = torch.rand(b, generator=g) < 0.4
    for i in torch.where(label)[0]:
        size = int(torch.randint(3, 10, (), generator=g))
        mask[i, 0, torch.randperm(p, generator=g)[:size]] = True
    return torch.rand(b, 1, p, generator=g), mask, label


def sizes(negative_patches):
    g = torch.Generator().manual_seed(0)
    selection = PatchSelection(1, negative_patches)
    seen, labels = [], []
    for _ in range(20):
        probability, mask, label = batch(g)
        seen.append(selection(probability, mask).valid.sum(-1)[:, 0])
        labels.append(label)
    return torch.cat(seen[5:]), torch.cat(labels[5:])


def test_the_size_of_the_set_does_not_decide():
    size, label = sizes("matched")
    assert 0.4 < roc_auc_score(label, size) < 0.6
    assert abs(size[label].float().mean() - size[~label].float().mean()) < 0.5
    size, label = sizes("paper")
    assert roc_auc_score(label, size) == 1.0  # what the published rule gives away


def test_positives_select_their_boxes_and_negatives_the_highest():
    selection = PatchSelection(2)
    probability = torch.tensor([0.1, 0.9, 0.3, 0.8]).expand(2, 2, 4)
    mask = torch.zeros(2, 2, 4, dtype=torch.bool)
    mask[0, 0, [0, 2]] = True  # two boxed patches of finding 0 in image 0
    index, valid, sizes = selection(probability, mask)
    assert sizes == valid.sum(-1).flatten().tolist()
    assert set(index[0, 0][valid[0, 0]].tolist()) == {0, 2}
    assert set(index[1, 0][valid[1, 0]].tolist()) == {1, 3}
    assert index[1, 1][valid[1, 1]].tolist() == [1]  # no positive of finding 1 seen yet: one patch


def test_paper_negatives_see_patch_0():
    mask = torch.zeros(2, 1, 4, dtype=torch.bool)
    mask[0, 0, 3] = True
    index, valid, _ = PatchSelection(1, "paper")(torch.rand(2, 1, 4), mask)
    assert index[0, 0][valid[0, 0]].tolist() == [3]
    assert index[1, 0][valid[1, 0]].tolist() == [0]


def test_evaluation_selects_what_is_above_the_threshold_possibly_nothing():
    probability = torch.tensor([[[0.6, 0.2, 0.7, 0.5]], [[0.5, 0.1, 0.2, 0.3]]])
    index, valid, _ = PatchSelection(1)(probability, None)
    assert index[0, 0][valid[0, 0]].tolist() == [2, 0]
    assert not valid[1].any()


def test_cap_keeps_the_highest():
    index, valid, _ = PatchSelection(1, max_patches=2)(torch.tensor([[[0.6, 0.9, 0.7, 0.8]]]), None)
    assert index[0, 0].tolist() == [1, 3]
    assert valid.all()


def test_unknown_rule_is_refused():
    with pytest.raises(ValueError, match="'matched' or 'paper'"):
        PatchSelection(1, "zero")


def test_sets_of_like_size_go_together():
    sizes = [3, 40, 0, 33, 16, 256, 17, 129, 1]
    groups = of_like_size(sizes)
    assert groups == [([0, 2, 4, 8], 16), ([6], 17), ([1, 3], 40), ([5, 7], 256)]
    assert of_like_size([0, 0]) == [([0, 1], 1)]
    for numbers, size in groups:
        assert all(size < 2 * sizes[n] or size <= 16 for n in numbers)


@pytest.mark.parametrize("mask", [True, False])
def test_the_sparse_heads_cost_follows_what_is_selected_with_the_numbers_of_padded_sets(build, mask):
    net = build(patch_factor=2, sparse={"dropout": 0.0}, trainable=["downscaler.*", "sparse.*", "projection.*"])
    net.train(mask)
    boxes = torch.zeros(4, 3, 8, 8, dtype=torch.bool)
    boxes[0, 0, :7, :7], boxes[1, 1, 2:4, 2:4], boxes[2, 2, 0, :5], boxes[3, 0, 1:6, 1:5] = True, True, True, True
    image, direction, seen = torch.rand(4, 1, 132, 132), torch.randn(4, 3, 12), []
    net.sparse.encoder.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].shape[:2].numel()))
    select, before = net.selection.forward, net.selection.running_size.clone()

    def looked(padded):
        seen.clear()
        net.zero_grad()
        net.selection.running_size.copy_(before)
        net.selection.forward = lambda *inputs: select(*inputs)._replace(**({"sizes": None} if padded else {}))
        output = net(image, patch_mask=boxes if mask else None, full=True)
        (output["sparse_embedding"] * direction).mean().backward()
        return output["sparse_embedding"], [p.grad for p in net.parameters() if p.grad is not None], sum(seen)

    together, wanted, padded = looked(padded=True)
    apart, gradients, cost = looked(padded=False)
    torch.testing.assert_close(apart, together, atol=1e-6, rtol=0)
    assert len(gradients) == len(wanted) > 10
    for one, other in zip(gradients, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)
    if mask:
        assert padded == 12 * 50
        assert cost < 12 * 17 + 50 + 33
