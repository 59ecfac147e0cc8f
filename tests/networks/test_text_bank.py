"""Texts by number: the kept way equals the direct way, and is made anew when it must be."""

import copy

import pytest
import torch
import torch.nn.functional as F

from bundle.data.tokenizer import load_tokenizer
from bundle.networks import TextBank, TextEncoder, text_bank
from tests.tiny_bert import write_tiny_bert

SECRET = "there is a large mass in the left upper lung zone"
TEXTS = ["a mass", "no mass", SECRET, "small nodule , right lung", "pleural effusion"]
D, L = 12, 30
NUMBERS = torch.tensor([[3, 0, -1], [0, 2, 3]])


@pytest.fixture(autouse=True)
def alone():
    """Nothing that a test before has made."""
    text_bank._SHARED.clear()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_tiny_bert(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def tower(folder):
    """Frozen but for its projection."""
    torch.manual_seed(0)
    tower = TextEncoder(folder, D, context_length=L)
    tower.model.requires_grad_(False)
    return tower


@pytest.fixture
def bank(tower, folder):
    return TextBank(TEXTS, load_tokenizer(folder), tower, L, chunk=2)


@pytest.fixture
def runs(tower):
    """The rows of each run of the transformer."""
    rows = []
    tower.model.register_forward_pre_hook(
        lambda _, args, kwargs: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    return rows


def one_by_one(tower, folder):
    """Every text alone, by another tower of the same weights: (T, D)."""
    tokenizer = load_tokenizer(folder)
    other = TextEncoder(folder, D, context_length=L).eval()
    other.load_state_dict(tower.state_dict())
    with torch.no_grad():
        tokens = [tokenizer(text, return_tensors="pt") for text in TEXTS]
        return torch.cat([F.normalize(other(t["input_ids"], t["attention_mask"]), dim=-1) for t in tokens])


def check(out, wanted):
    assert out.shape == (2, 3, D)
    assert out.dtype == torch.float32
    torch.testing.assert_close(out[NUMBERS >= 0], wanted[NUMBERS[NUMBERS >= 0]], atol=1e-5, rtol=0)
    assert (out[0, 2] == 0).all()


def test_kept_features(bank, tower, folder, runs):
    tower.train()  # dropout must not reach what is kept
    for _ in range(3):
        check(bank(NUMBERS), one_by_one(tower, folder))
    assert runs == [2, 2, 1]  # all five texts, once
    assert tower.model.training
    assert tower.model.encoder.layer[0].output.dropout.training


def test_the_transformer_runs_on_the_distinct_texts_while_it_trains(bank, tower, folder, runs):
    tower.eval().requires_grad_(True)
    for _ in range(2):
        check(bank(NUMBERS), one_by_one(tower, folder))
    assert runs == [3, 3]  # of 0, 2 and 3
    bank(NUMBERS).sum().backward()
    assert tower.model.embeddings.word_embeddings.weight.grad.abs().max() > 0


def test_clips_text_tower(build, tokenizer):
    net = build(trainable=["clip.text.projection.*"]).train()
    bank = TextBank(TEXTS, tokenizer, net.clip.text, 77)
    tokens = tokenizer(TEXTS, padding="max_length", max_length=77, return_tensors="pt")
    with torch.no_grad():
        wanted = F.normalize(net.clip.text(tokens["input_ids"], tokens["attention_mask"]), dim=-1)
    check(bank(NUMBERS), wanted)
    net.clip.text.requires_grad_(True)
    check(bank(NUMBERS), wanted)


@pytest.mark.parametrize("trains", [False, True])
def test_gradient_of_the_projection(bank, tower, trains):
    tower.eval().model.requires_grad_(trains)
    weight = torch.randn(2, 3, D)
    (bank(NUMBERS) * weight).sum().backward()
    wanted = torch.zeros(())
    for i, j in torch.cartesian_prod(torch.arange(2), torch.arange(3)).tolist():
        if (number := int(NUMBERS[i, j])) >= 0:
            text = tower(bank._ids[number : number + 1], bank._mask[number : number + 1])[0]
            wanted = wanted + F.normalize(text, dim=0) @ weight[i, j]
    (direct,) = torch.autograd.grad(wanted, tower.projection.weight)
    torch.testing.assert_close(tower.projection.weight.grad, direct, atol=1e-5, rtol=1e-4)
    assert direct.abs().max() > 0.1


@pytest.mark.parametrize("change", ["load", "assign", "train"])
def test_changed_weights_are_seen(bank, tower, folder, tmp_path, runs, change):
    tower.eval()
    before = bank(NUMBERS).detach()
    other = TextEncoder(write_tiny_bert(tmp_path, seed=9), D, context_length=L)
    if change == "train":
        tower.requires_grad_(True)
        optimizer = torch.optim.AdamW(tower.model.parameters(), lr=0.1)
        bank(NUMBERS)[..., 0].sum().backward()
        optimizer.step()
        tower.model.requires_grad_(False)
    else:
        tower.load_state_dict(other.state_dict(), assign=change == "assign")
        tower.model.requires_grad_(False)
    runs.clear()
    check(bank(NUMBERS), one_by_one(tower, folder))
    assert (bank(NUMBERS) - before).abs().max() > 0.1
    assert runs == [2, 2, 1]


def test_a_trained_projection_needs_no_new_features(bank, tower, folder, runs):
    optimizer = torch.optim.SGD(tower.projection.parameters(), lr=1.0)
    bank(NUMBERS)[..., 0].sum().backward()
    optimizer.step()
    check(bank(NUMBERS), one_by_one(tower, folder))
    assert runs == [2, 2, 1]


@pytest.mark.parametrize("trains", [False, True])
def test_padding_only_and_no_numbers(bank, tower, trains):
    tower.model.requires_grad_(trains)
    for numbers in (torch.full((2, 2), -1), torch.zeros(2, 0, dtype=torch.int64)):
        out = bank(numbers)
        assert out.shape == (*numbers.shape, D)
        assert (out == 0).all()
        out.sum().backward()
    assert (tower.projection.weight.grad == 0).all()


def test_it_owns_nothing_and_shows_no_text(bank, tower, folder):
    bank(NUMBERS)
    assert not bank.state_dict()
    assert not list(bank.parameters())
    assert not list(bank.buffers())
    assert repr(bank) == "TextBank(5 texts, 13 tokens at most)"
    assert SECRET not in str(vars(bank))
    with pytest.raises(ValueError, match="of 6 texts only 5 are different") as caught:
        TextBank([*TEXTS, SECRET], load_tokenizer(folder), tower, L)
    assert SECRET not in str(caught.value)


def test_a_copied_network_has_its_own_tower(bank, tower, folder):
    net = torch.nn.ModuleDict({"text": tower, "bank": bank})
    other = copy.deepcopy(net)
    with torch.no_grad():
        other["text"].projection.weight.neg_()
        torch.testing.assert_close(other["bank"](NUMBERS), -bank(NUMBERS))


def test_long_texts_are_cut_by_whole_sentences(tower, folder):
    tokenizer = load_tokenizer(folder)
    text = "INDICATION: a mass. FINDINGS: No effusion in the left lung. There is a small nodule. IMPRESSION: Nodule."
    bank = TextBank([text], tokenizer, tower, 9)
    assert tokenizer.decode(bank._ids[0].tolist()) == "[CLS] no effusion in the left lung. [SEP]"


def test_numbers_that_no_text_has_are_refused(bank, tower, folder):
    with pytest.raises(ValueError, match="asked for texts 0 to 5, but their numbers are 0 to 4"):
        bank(torch.tensor([5, 0]))
    with pytest.raises(ValueError, match="asked for texts -2"):
        bank(torch.tensor([-2, 0]))
    with pytest.raises(ValueError, match="there are no texts"):
        TextBank([], load_tokenizer(folder), tower, L)


def test_banks_of_equal_weights_embed_a_text_once(tower, folder, bank, runs):
    tokenizer = load_tokenizer(folder)
    bank(NUMBERS)
    again = TextEncoder(folder, D, context_length=L)
    again.model.requires_grad_(False)
    again.load_state_dict(tower.state_dict())
    again.model.register_forward_pre_hook(
        lambda _, args, kwargs: runs.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    before = sum(runs)
    more = TextBank([*TEXTS[::-1], "a new text"], tokenizer, again, L)
    with torch.no_grad():
        torch.testing.assert_close(more(torch.tensor([4, 1])), bank(torch.tensor([0, 3])), rtol=0, atol=0)
    assert sum(runs) == before + 1  # the new one


def test_another_pooling_shares_nothing(tower, folder, bank):
    tokenizer = load_tokenizer(folder)
    kept = bank(NUMBERS)
    other = TextEncoder(folder, D, pooling="cls", context_length=L)
    other.model.requires_grad_(False)
    other.load_state_dict(tower.state_dict())
    assert not torch.allclose(TextBank(TEXTS, tokenizer, other, L)(NUMBERS), kept, atol=1e-3)
