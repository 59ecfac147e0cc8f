"""A teacher: what it sees, that it never changes, and which it refuses to be."""

import math

import pytest
import torch
import torch.nn.functional as F

from bundle.checkpoints import save_atomically
from bundle.losses import RegionDistillationLoss
from bundle.networks import RegionTeacher

SIDE, D = 132, 12
TEXTS = ["large mass in the left upper zone", "small mass in the left upper zone", "no mass"]
NAN = [math.nan] * 4


@pytest.fixture
def batch():
    """Two images; the second has one region, and one that lies outside."""
    g = torch.Generator().manual_seed(5)
    return {
        "image": torch.rand(2, 1, SIDE, SIDE, generator=g),
        "regions": torch.tensor([[[10.0, 20, 90, 70], [33, 0, 66, 33]], [[0, 0, 132, 132], [200, 0, 300, 9]]]),
        "caption_id": torch.tensor([[0, 1], [2, -1]]),
        "index": torch.tensor([7, 3]),
    }


@pytest.fixture
def plain(build, tmp_path):
    """A plain CLIP, and where its weights lie."""
    net = build(seed=1).eval()
    save_atomically(net.state_dict(), tmp_path / "plain.pt")
    return net, tmp_path / "plain.pt"


@pytest.fixture
def teach(build, tokenizer, plain):
    """A factory: towers of other random weights, into which plain CLIP's are read."""

    def make(**arguments):
        net = build(seed=2)
        settings = {"downscaler": net.downscaler, "weights": plain[1], **arguments}
        return RegionTeacher(net.clip, tokenizer, TEXTS, **settings)

    return make


def test_a_crop_is_seen_as_an_image(teach, plain, batch):
    seen = teach(view="crop")(batch)["teacher_region_embedding"]
    crop = batch["image"][:1, :, 20:70, 10:90]
    with torch.no_grad():
        resized = F.interpolate(crop, (SIDE, SIDE), mode="bilinear", antialias=True)
        for place, image in (((0, 0), resized), ((1, 0), batch["image"][1:])):  # the second is the whole canvas
            wanted = F.normalize(plain[0].features(image).global_embedding[0], dim=0)
            torch.testing.assert_close(seen[place], wanted, atol=1e-5, rtol=0)
    assert seen.shape == (2, 2, D)
    assert (seen[1, 1] == 0).all()


def test_a_crop_takes_every_pixel_that_the_box_touches(teach, batch):
    teacher = teach()
    image = batch["image"][0]
    box = torch.tensor([-5.0, 10.2, 3.4, 11.0])
    wanted = F.interpolate(image[None, :, 10:11, 0:4], (SIDE, SIDE), mode="bilinear", antialias=True)
    torch.testing.assert_close(teacher._crop(image, box), wanted)


def test_aligned_on_its_feature_map(teach, plain, batch):
    seen = teach(view="roi_align")(batch)["teacher_region_embedding"]
    tower = plain[0].clip.vision
    with torch.no_grad():
        token = plain[0].features(batch["image"]).patch_tokens[0, 1]  # the box of region 1 is that of patch 1
        wanted = F.normalize(tower.projection(tower.model.post_layernorm(token)), dim=0)
    torch.testing.assert_close(seen[0, 1], wanted, atol=1e-5, rtol=0)
    assert (seen[1, 1] == 0).all()


def test_captions_are_read_by_its_own_tower(teach, plain, batch):
    teacher = teach()
    read = teacher(batch)["teacher_caption_embedding"]
    with torch.no_grad():
        wanted = F.normalize(plain[0].clip.text(teacher.texts._ids, teacher.texts._mask), dim=-1)
    torch.testing.assert_close(read[0], wanted[:2], atol=1e-5, rtol=0)
    assert (read[1, 1] == 0).all()


def test_nothing_in_it_trains(teach, batch):
    teacher = teach().train()
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    out = teacher(batch)
    assert not any(module.training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not any(value.requires_grad for value in out.values())
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_a_student_learns_from_it(teach, build_regions, batch):
    student = build_regions(seed=3, texts=TEXTS, trainable=["projection.*", "clip.text.projection.*"]).train()
    teacher, loss = teach(), RegionDistillationLoss(0.07)
    optimizer = torch.optim.Adam([p for p in student.parameters() if p.requires_grad], lr=0.01)
    valid = torch.tensor([[True, True], [True, False]])
    history = []
    for _ in range(30):
        out = student(batch["image"], regions=batch["regions"], caption_id=batch["caption_id"])
        terms = loss({**out, **teacher(batch)}, {**batch, "region_valid": valid})
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        history.append(float(terms["distillation"].detach()))
    assert history[-1] < 0.5 * history[0]


@pytest.mark.parametrize("view", ["crop", "roi_align"])
def test_what_is_kept_is_seen_once_and_does_not_depend_on_the_batch(teach, batch, view):
    teacher, anew = teach(view=view, cache=True), teach(view=view)
    runs = []
    teacher.clip.vision.register_forward_hook(lambda *_: runs.append(1))
    first = teacher(batch)["teacher_region_embedding"]
    assert len(runs) == 3
    turned = {key: value.flip(0) for key, value in batch.items()}
    again = teacher(turned)["teacher_region_embedding"]
    assert len(runs) == 3
    assert torch.equal(again.flip(0), first)
    torch.testing.assert_close(anew(batch)["teacher_region_embedding"], first, atol=1e-5, rtol=0)
    moved = {**batch, "regions": batch["regions"] + 1}
    assert (teacher(moved)["teacher_region_embedding"] - first).abs().max() > 1e-4  # another box, another look
    second = {key: value[1:] for key, value in batch.items()}
    assert torch.equal(teach(view=view, cache=True)(second)["teacher_region_embedding"], first[1:])


@pytest.mark.parametrize("rows", [0, 2])
def test_no_regions(teach, batch, rows):
    nothing = {**batch, "regions": torch.full((2, rows, 4), math.nan), "caption_id": torch.full((2, rows), -1)}
    for arguments in ({}, {"view": "roi_align"}, {"cache": True}):
        out = teach(**arguments)(nothing)
        assert all(value.shape == (2, rows, D) and (value == 0).all() for value in out.values())


def test_a_pretrained_clip_without_downscaler(build, tokenizer, batch):
    net = build(seed=2).eval()
    teacher = RegionTeacher(net.clip, tokenizer, TEXTS)
    seen = teacher(batch)["teacher_region_embedding"][1, 0]
    with torch.no_grad():
        small = F.interpolate(batch["image"][1:], (32, 32), mode="bilinear", antialias=True)
        pixels = ((small - net.pixel_mean) / net.pixel_std).expand(-1, 3, -1, -1)
        wanted = F.normalize(net.clip.vision(pixels).global_embedding[0], dim=0)
    torch.testing.assert_close(seen, wanted, atol=1e-5, rtol=0)
    assert teacher.fingerprint == RegionTeacher(build(seed=2).clip, tokenizer, TEXTS).fingerprint
    assert teacher.fingerprint != RegionTeacher(build(seed=3).clip, tokenizer, TEXTS).fingerprint
    aligned = RegionTeacher(net.clip, tokenizer, TEXTS, view="roi_align")(batch)
    assert aligned["teacher_region_embedding"][0].norm(dim=-1).tolist() == pytest.approx([1, 1])


def test_teachers_are_told_apart_by_their_weights(teach, build, tmp_path):
    save_atomically(build(seed=9).state_dict(), tmp_path / "other.pt")
    assert teach().fingerprint == teach().fingerprint != teach(weights=tmp_path / "other.pt").fingerprint


def test_what_cannot_teach_is_refused(teach, build, tokenizer, batch, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No teacher at .*none\.pt\. Train one first, such as plain CLIP"):
        teach(weights=tmp_path / "none.pt")
    with pytest.raises(ValueError, match="view is 'roi'; give 'crop' or 'roi_align'"):
        teach(view="roi")
    with pytest.raises(ValueError, match="a downscaler needs `weights`"):
        teach(weights=None)
    with pytest.raises(ValueError, match="no text tower"):
        RegionTeacher(build(text=False).clip, tokenizer, TEXTS)
    save_atomically(build(text=False).state_dict(), tmp_path / "silent.pt")
    with pytest.raises(ValueError, match=r"silent\.pt is no teacher: it lacks \['clip\.text"):
        teach(weights=tmp_path / "silent.pt")
    state = build().state_dict()
    state["clip.vision.projection.weight"] = torch.zeros(8, 16)
    save_atomically(state, tmp_path / "small.pt")
    with pytest.raises(
        ValueError, match=r"other sizes.*\(embedding,.*clip\.vision\.projection\.weight \(8, 16\), here"
    ):
        teach(weights=tmp_path / "small.pt")
    large = {**batch, "image": torch.rand(2, 1, 196, 196)}
    teach(view="crop")(large)  # resized
    with pytest.raises(ValueError, match="a canvas of 132 px, the student at 196 px"):
        teach(view="roi_align")(large)
