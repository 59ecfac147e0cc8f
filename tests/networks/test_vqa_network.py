"""Answers from a frozen tower: what is frozen stays, what is kept is the same, and the blind see nothing."""

import copy
import math

import pytest
import torch

from bundle.losses import AnswerLoss
from bundle.networks import FrozenTower, VQANetwork
from bundle.networks.answer_head import AnswerHead

QUESTIONS = {3: "is there a mass?", 8: "is there a nodule?", 9: "where is the mass?"}
ANSWERS = ["no", "yes", "left lung", "right lung"]
HEAD = {"width": 16, "num_heads": 2, "layers": 1, "dropout": 0.2}
ASKED = torch.tensor([[3, 9, -1], [8, -1, -1], [9, 8, 3]])


def images(n=3, seed=0):
    return torch.rand(n, 1, 132, 132, generator=torch.Generator().manual_seed(seed))


@pytest.fixture(params=["patch_clip", "region_clip"])
def clip(request, build, build_regions):
    return {"patch_clip": build, "region_clip": build_regions}[request.param](layers=2)


@pytest.fixture
def network(build, tokenizer):
    """A factory of the whole."""

    def make(keep=False, seed=0, **arguments):
        tower = FrozenTower(build(), keep=keep)
        torch.manual_seed(seed)
        settings = {"questions": QUESTIONS, "answers": ANSWERS, "head": HEAD, **arguments}
        return VQANetwork(tower, tokenizer, **settings)

    return make


# --- the frozen tower -------------------------------------------------------------------------------------------------


def test_tokens_are_the_towers_with_their_places(clip):
    tower = FrozenTower(clip).train()
    vision = clip.eval().clip.vision
    with torch.no_grad():
        features = clip.features(images())
    tokens = tower(images())
    torch.testing.assert_close(tokens[:, 0], features.class_token)
    torch.testing.assert_close(tokens[:, 1:], features.patch_tokens + vision.patch_positions())
    assert tokens.shape == (3, 17, 16)
    assert not tokens.requires_grad
    torch.testing.assert_close(tower(images()), tokens, atol=0, rtol=0)  # no dropout, though it trains


def test_no_part_of_it_trains_or_changes_mode(clip):
    tower = FrozenTower(clip)
    for mode in (True, False, True):
        tower.train(mode)
        assert not any(module.training for module in clip.modules())
        assert tower.training == mode
    assert not any(p.requires_grad for p in tower.parameters())


def test_weights_are_read_and_named(build, tmp_path):
    torch.save(build(seed=1).state_dict(), tmp_path / "model.pt")
    tower, other = FrozenTower(build(seed=2), tmp_path / "model.pt"), FrozenTower(build(seed=1))
    torch.testing.assert_close(tower(images()), other(images()))
    assert len(tower.fingerprint) == 16
    assert other.fingerprint == ""
    with pytest.raises(FileNotFoundError, match="No weights at"):
        FrozenTower(build(), tmp_path / "none.pt")


def test_kept_tokens_are_looked_at_once_and_do_not_depend_on_the_batch(build):
    tower, looks = FrozenTower(build(), keep=True), []
    tower.network.clip.vision.register_forward_hook(lambda *_: looks.append(1))
    first = tower(images(), torch.tensor([5, 0, 2]))
    assert len(looks) == 3
    torch.testing.assert_close(first, FrozenTower(build())(images()), atol=1e-6, rtol=0)
    again = tower(images()[[2, 0]], torch.tensor([2, 5]))
    assert len(looks) == 3
    assert torch.equal(again, first[[2, 0]])
    alone = FrozenTower(build(), keep=True)
    assert torch.equal(alone(images()[1:2], torch.tensor([0]))[0], first[1])
    tower.eval()  # images of another section have the same numbers
    assert not torch.equal(tower(images(seed=1), torch.tensor([5, 0, 2])), first)
    assert len(looks) == 6


# --- the head ---------------------------------------------------------------------------------------------------------


def layer_norm(x, norm):
    x = (x - x.mean()) / (x.var(unbiased=False) + norm.eps).sqrt()
    return x * norm.weight + norm.bias


def by_hand(head, text, tokens):
    """One layer, question by question, head by head."""
    (ask,) = head.layers
    width = ask.attention.embed_dim
    to_query, to_key, to_value = ask.attention.in_proj_weight.split(width)
    image = [layer_norm(head.image(x), head.image_norm) for x in tokens] if head.blank is None else None
    image = [layer_norm(head.blank, head.image_norm)] if image is None else image
    q = head.question(text)
    query, parts = to_query @ layer_norm(q, ask.norm), []
    for part in (slice(0, width // 2), slice(width // 2, width)):
        keys, values = (torch.stack([to @ x for x in image])[:, part] for to in (to_key, to_value))
        parts.append((keys @ query[part] / math.sqrt(width // 2)).softmax(0) @ values)
    q = q + ask.attention.out_proj(torch.cat(parts))
    q = q + ask.mlp(q)
    return head.answer(q)


@pytest.mark.parametrize("blind", [False, True])
def test_agrees_with_a_loop(blind):
    torch.manual_seed(0)
    head = AnswerHead(12, 6, 4, width=8, num_heads=2, layers=1, blind=blind).eval()
    text, tokens = torch.randn(2, 3, 12), torch.randn(2, 5, 6)
    with torch.no_grad():
        found = head(text, tokens)
        for b in range(2):
            for q in range(3):
                torch.testing.assert_close(found[b, q], by_hand(head, text[b, q], tokens[b]))


def test_only_a_blind_head_answers_without_an_image():
    text = torch.randn(1, 2, 12)
    assert AnswerHead(12, 6, 4, width=8, blind=True)(text).shape == (1, 2, 4)
    with pytest.raises(ValueError, match="only a blind head"):
        AnswerHead(12, 6, 4, width=8)(text)


# --- the whole --------------------------------------------------------------------------------------------------------


def test_only_the_head_learns(network):
    net = network().train()
    before = copy.deepcopy(net.state_dict())
    trains = {name for name, p in net.named_parameters() if p.requires_grad}
    assert trains == {name for name, _ in net.named_parameters() if name.startswith("head.")}
    optimizer = torch.optim.SGD([p for p in net.parameters() if p.requires_grad], lr=0.1)
    target = {"answer": torch.tensor([[0, 2, -1], [1, -1, -1], [3, 0, 1]])}
    for _ in range(2):
        optimizer.zero_grad()
        AnswerLoss()(net(images(), ASKED), target)["loss"].backward()
        assert all(p.grad is not None for p in net.head.parameters())
        optimizer.step()
    after = net.state_dict()
    same = {n for n, v in before.items() if isinstance(v, torch.Tensor) and torch.equal(v, after[n])}
    moved = {n for n, v in before.items() if isinstance(v, torch.Tensor)} - same
    assert {n for n in moved if n.startswith("tower.")} == set()
    assert {"question_mean", "question_variance"} < moved
    assert any(n.startswith("head.") for n in moved)


def test_order_and_padding_of_questions_change_nothing(network):
    net = network().eval()
    with torch.no_grad():
        logits = net(images(), ASKED)["answer_logits"]
        assert logits.shape == (3, 3, 4)
        turned = net(images(), ASKED.flip(1))["answer_logits"].flip(1)
        alone = net(images()[:1], ASKED[:1, :2])["answer_logits"]
        none = net(images(), ASKED[:, :0])["answer_logits"]
    asked = ASKED >= 0
    torch.testing.assert_close(turned[asked], logits[asked])
    torch.testing.assert_close(alone[0], logits[0, :2])
    assert none.shape == (3, 0, 4)
    assert (logits[0, 0] - logits[2, 2]).abs().max() > 1e-4  # one question, two images
    assert (logits[0, 0] - logits[0, 1]).abs().max() > 1e-4  # one image, two questions


@pytest.mark.parametrize("asked", [ASKED[:, :0], torch.full((3, 2), -1), torch.tensor([[3], [-1], [-1]])])
def test_no_question_and_a_single_one_are_normal_in_training(network, asked):
    net = network().train()
    loss = AnswerLoss()(net(images(), asked), {"answer": asked.clamp(max=0)})["loss"]
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in net.head.parameters())


def test_the_blind_see_nothing_and_do_not_look(network):
    net, looks = network(blind=True).eval(), []
    net.tower.network.clip.vision.register_forward_hook(lambda *_: looks.append(1))
    with torch.no_grad():
        logits = net(images(), ASKED)["answer_logits"]
        torch.testing.assert_close(net(images(seed=1), ASKED)["answer_logits"], logits, atol=0, rtol=0)
    torch.testing.assert_close(logits[0, 0], logits[2, 2])
    assert looks == []
    sizes = {name: p.shape for name, p in net.head.named_parameters()}
    theirs = {name: p.shape for name, p in network().head.named_parameters()}
    assert sizes.keys() ^ theirs.keys() == {"blank", "image.weight", "image.bias"}


def test_questions_are_standardised_by_what_training_asked(network):
    net, asked = network().train(), ASKED >= 0
    text = net._read(ASKED)
    assert text[asked].mean(0).abs().max() < 1e-4
    torch.testing.assert_close(text[asked].var(0, unbiased=False), torch.ones(12), atol=1e-3, rtol=0)
    assert (text[~asked] == 0).all()
    for _ in range(200):
        net._read(ASKED)
    later = net.eval()._read(ASKED)
    scale = (1 - 1 / asked.sum()) ** 0.5  # running variances are unbiased
    torch.testing.assert_close(later, text * scale, atol=1e-3, rtol=0)
    torch.testing.assert_close(net._read(ASKED[:1, :1]), later[:1, :1])  # whatever else is asked


def test_saved_weights_answer_the_same_and_for_no_other_list(network):
    net = network(seed=1).train()
    net(images(), ASKED)
    other = network(seed=2)
    other.load_state_dict(net.state_dict())
    with torch.no_grad():
        found = [each.eval()(images(), ASKED)["answer_logits"] for each in (net, other)]
    torch.testing.assert_close(*found, atol=0, rtol=0)
    with pytest.raises(ValueError, match="know 4 answers, which are not the 4"):
        network(answers=ANSWERS[::-1]).load_state_dict(net.state_dict())
    more = network(questions={**QUESTIONS, 20: "how many masses are there?"})
    more.load_state_dict(net.state_dict())  # another section may ask more


@pytest.mark.parametrize("number", [0, 4, 10, 99])
def test_a_number_that_is_no_questions_is_refused(network, number):
    with pytest.raises(ValueError, match="no question's"):
        network()(images(1), torch.tensor([[3, number]]))


def test_what_does_not_fit_is_refused(network, build, tokenizer):
    with pytest.raises(ValueError, match="no text tower"):
        VQANetwork(FrozenTower(build(text=False)), tokenizer, QUESTIONS, ANSWERS)
    with pytest.raises(ValueError, match="0 questions and 4 answers"):
        network(questions={})
    with pytest.raises(ValueError, match="3 questions and 0 answers"):
        network(answers=[])


def test_it_learns_where_something_is_and_the_blind_do_not():
    """A mark on one side, on one half of the images: "is there one?" and, if so, "where?"."""
    torch.manual_seed(0)
    side, there = torch.arange(32) % 2, torch.arange(32) // 2 % 2
    tokens = 0.3 * torch.randn(32, 16, 8) + 0.3 * torch.randn(16, 8)  # of the image, and of the place
    mark = torch.randn(8)
    for i in torch.nonzero(there)[:, 0]:
        tokens[i, int(torch.randint(8, ())) + 8 * side[i]] += mark
    text = torch.randn(2, 12).expand(32, 2, 12)
    target = {"answer": torch.stack([there, torch.where(there == 1, 2 + side, -1)], 1)}
    reached = {}
    for blind in (False, True):
        head = AnswerHead(12, 8, 4, width=16, num_heads=2, dropout=0.0, blind=blind)
        optimizer = torch.optim.Adam(head.parameters(), lr=0.01)
        for _ in range(200):
            optimizer.zero_grad()
            AnswerLoss()({"answer_logits": head(text, tokens)}, target)["loss"].backward()
            optimizer.step()
        counted = target["answer"] >= 0
        right = head(text, tokens).argmax(-1) == target["answer"]
        reached[blind] = right[counted].float().mean().item()
    assert reached[False] > 0.95
    assert reached[True] == 0.5  # yes or no, left or right: equally often
