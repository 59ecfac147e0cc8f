"""Speed of the metrics, as ratios measured in one process: python -m scripts.benchmark_metrics [--markdown]"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import fire
import numpy as np
import torch
from monai.bundle import ConfigParser
from monai.metrics import compute_froc_curve_data
from threadpoolctl import threadpool_limits

from bundle.checkpoints import load_weights
from bundle.handlers.pairs import auroc_pair, froc_pair, images_of
from bundle.metrics import AUROCMetric, FROCMetric, extract_candidates, extract_candidates_batch, froc_curve
from bundle.metrics.draws import Draws
from bundle.metrics.froc_figures import sensitivities
from bundle.metrics.intervals import interval
from bundle.metrics.records import FindingRecords
from bundle.results import MapsToCandidatesd
from scripts.text_table import text_table

CONFIGS = Path(__file__).resolve().parent.parent / "configs"
PATCHES, FINDINGS = 256, 8
Row = tuple[str, str, str]


def main(
    markdown: bool = False,
    images: int = 1000,
    repeats: int = 7,
    monai_repeats: int = 3,
    batch: int = 16,
    weights: str | None = None,
) -> None:
    """Print a row a figure: what was done, the median of the repeats, and what issue 3 wants of it.

    Args:
        markdown: print a Markdown table.
        images: of the data sets; fewer for a quick look.
        repeats: of each measurement, after one that is not counted.
        monai_repeats: of MONAI's curve alone, which takes half a minute.
        batch: images in the forward pass; 0 leaves the network out.
        weights: a trained checkpoint of the demo. With random weights every patch is above the floor: the forward pass
            takes as long, but leaves many more candidates than a trained network's.
    """
    rows = [("what", "measured", "wanted")]
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with threadpool_limits(1):
        rows += [curve_row(images, repeats, monai_repeats), growth_row(repeats)]
        rows += [bootstrap_row(images, repeats), *candidate_rows(images, repeats)]
    torch.set_num_threads(threads)
    rows += share_rows(batch, repeats, weights) if batch else []
    print(text_table(rows, markdown))


def median_time(call: Callable[[], object], repeats: int, warm: bool = True) -> float:
    """Median seconds of a call: of the processor where one thread works, so that others on the machine do not count."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    times = []
    for number in range(repeats + warm):
        start = clock()
        call()
        if number >= warm:
            times.append(clock() - start)
    return float(np.median(times))


def curve_row(images: int, repeats: int, monai_repeats: int) -> Row:
    """The whole curve from the same float64 scores, already matched: one lesion an image, found by one of its patches.

    MONAI takes the scores of all images at once, as we do; its own matching is not timed. The two curves must agree,
    but for the loosest point, which MONAI leaves out.
    """
    rng = np.random.default_rng(0)
    fp, lesion = rng.random(images * (PATCHES - 1)), rng.random(images)
    ours = froc_curve(fp[:2000], lesion, images)
    theirs = compute_froc_curve_data(fp[:2000], lesion, len(lesion), images)
    for mine, other in zip((ours.fp_per_image, ours.sensitivity), theirs, strict=True):
        if not np.array_equal(mine[-2::-1], other):
            raise SystemExit("the curves differ: their times cannot be compared")
    mine = median_time(lambda: froc_curve(fp, lesion, images), repeats)
    other = median_time(lambda: compute_froc_curve_data(fp, lesion, len(lesion), images), monai_repeats, warm=False)
    what = f"FROC curve, {images} images x {PATCHES} patches, against MONAI's"
    return what, f"{mine * 1e3:.0f} ms against {other:.2f} s: {other / mine:.0f}x", "at least 1000x"


def growth_row(repeats: int) -> Row:
    """Time from 10^4 to 10^6 candidates, in units of n log n."""
    rng = np.random.default_rng(0)
    small, large = 10**4, 10**6
    times = []
    for n in (small, large):
        fp, lesion = rng.random(n - n // 100), rng.random(n // 100)
        times.append(median_time(lambda fp=fp, lesion=lesion: froc_curve(fp, lesion, 1000), repeats * 3))
    expected = large * math.log(large) / (small * math.log(small))
    return (
        "FROC curve, from 10^4 to 10^6 candidates",
        f"{times[0] * 1e3:.2f} ms to {times[1] * 1e3:.0f} ms: {times[1] / times[0]:.0f}x",
        f"at most {expected:.0f}x (n log n)",
    )


def bootstrap_row(images: int, repeats: int) -> Row:
    """Draws, replicates and intervals of one finding with a lesion in every third image and all patches candidates."""
    rng = np.random.default_rng(0)
    every, lesions = np.arange(images), images // 3
    data = FindingRecords(
        image=every,
        fp_score=rng.random(images * (PATCHES - 1)),
        fp_image=np.repeat(every, PATCHES - 1),
        lesion_score=rng.random(lesions),
        lesion_image=every[:lesions],
        normal_score=rng.random(images - lesions),
        normal_image=every[lesions:],
        lesion_oracle=np.ones(lesions),
        lesion_cnr=np.ones(lesions),
    )

    def all_of_it() -> list:
        return [interval(row[1:]) for row in sensitivities(Draws.of(every, 1000, 0), data)]

    seconds = median_time(all_of_it, repeats)
    return f"1000 bootstrap replicates of the FROC of {images} images, one thread", f"{seconds:.2f} s", "under 1 s"


def candidate_rows(images: int, repeats: int) -> list[Row]:
    """Candidates of noise, which has more local maxima than any patch map: the slow case."""
    maps = torch.rand(images, FINDINGS, 16, 16, generator=torch.Generator().manual_seed(0))
    affine = torch.diag(torch.tensor([64.0, 64.0, 1.0], dtype=torch.float64)).expand(images, 3, 3)
    size = torch.full((images, 2), 1024)
    together = median_time(lambda: extract_candidates_batch(maps, affine, size), repeats)
    singly = median_time(lambda: [extract_candidates(*each) for each in zip(maps, affine, size, strict=True)], repeats)
    what = f"candidates of {images} maps of 16x16 x {FINDINGS} findings, one thread"
    return [
        (f"{what}, batched", f"{together:.2f} s", "under 2 s"),
        (f"{what}, image by image", f"{singly:.2f} s: {singly / together:.1f}x", ""),
    ]


def share_rows(batch: int, repeats: int, weights: str | None = None) -> list[Row]:
    """Candidates and metrics of a batch against the pass of the demo's network, and of the default, ViT-L/14."""
    demo = ("pretrain.json", "train.json", "demo.json")
    rows = share_row("the demo's network", demo, batch, repeats, weights)
    return rows + share_row("the default network", ("inference.json",), max(1, batch // 4), min(repeats, 3), None)


def share_row(name: str, configs: tuple[str, ...], batch: int, repeats: int, weights: str | None) -> list[Row]:
    """One network: its pass, and what `run evaluating` does with its maps but for the report. A box an image."""
    parser = ConfigParser()
    parser.read_config([str(CONFIGS / config) for config in configs])
    torch.manual_seed(0)
    precision, device = parser.get_parsed_content("precision"), torch.device("cpu")
    network = precision.place(parser.get_parsed_content("network_def"), device).eval()
    if weights is not None:
        load_weights(network, weights)
    settings = {k: v for k, v in parser.get_parsed_content("candidates").items() if k != "_desc_"}
    findings, canvas = network.findings, network.downscaler.in_size
    image = precision.layout(torch.rand(batch, 1, canvas, canvas))

    def forward() -> dict:
        with torch.no_grad(), precision.context(device):
            return network(image, full=True)

    k, transform, output = len(findings), MapsToCandidatesd("pred", canvas, **settings), forward()
    present = torch.arange(batch) % k
    whole = {
        "pred": output["pred"],
        "scores": output["scores"],
        "index": torch.arange(batch),
        "label": torch.nn.functional.one_hot(present, k).float(),
        "boxed": torch.ones(batch, k, dtype=torch.bool),
        "boxes": torch.tensor([[100.0, 100.0, 200.0, 200.0]]).expand(batch, 1, 4),
        "box_finding": present[:, None],
        "canvas_from_stored": torch.eye(3, dtype=torch.float64).expand(batch, 3, 3),
        "stored_size": torch.tensor([canvas, canvas]).expand(batch, 2),
    }
    found = transform(whole)

    def candidates() -> None:
        transform(whole)

    def singly() -> None:
        for one in images_of(whole):
            transform(one)

    def metrics() -> None:
        FROCMetric(findings)(*froc_pair(found))
        AUROCMetric(findings, list(output["scores"]))(*auroc_pair(found))

    seconds = {call.__name__: median_time(call, repeats) for call in (forward, candidates, singly, metrics)}
    count = f"{batch} images of {canvas} px, {torch.get_num_threads()} threads"
    each = sum(map(len, found["candidates"])) / batch
    share = (seconds["candidates"] + seconds["metrics"]) / seconds["forward"]
    parts = f"{seconds['candidates'] * 1e3:.1f} + {seconds['metrics'] * 1e3:.1f} ms: {share:.1%}"
    saved = seconds["singly"] / seconds["candidates"]
    return [
        (
            f"forward pass of {name}, {count}, {'random weights' if weights is None else 'trained'}",
            f"{seconds['forward'] * 1e3:.0f} ms",
            "",
        ),
        (f"its candidates ({each:.0f} an image; {saved:.1f}x as fast as singly) and metrics", parts, "at most 10%"),
    ]


if __name__ == "__main__":
    fire.Fire(main)
