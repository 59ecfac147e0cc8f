"""Methods held against each other: by hand, and against a loop that really resamples both of them."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from bundle.metrics import FROCMetric, Records, summarise
from bundle.metrics.draws import draw_counts
from bundle.metrics.intervals import mean_kind, share_interval
from bundle.metrics.paired import compare
from bundle.metrics.records import of_finding
from bundle.metrics.strata import by_size
from bundle.metrics.table import share_of
from tests.metrics.drawn import candidates, random_evaluation, records_of, resampled, truth

FINDINGS = ["A", "B", "C"]
BOX = (0, 10, 10, 20, 20)
INF = math.inf
R, SEED = 40, 3
OWN = "fp_at_own_sens_at_1fp"
SENSITIVITIES = (0.5, 0.6, 0.7, 0.8, 0.9)


def two_methods(images: int, seed: int = 0) -> dict[str, Records]:
    """Two sets of random candidates on the same truth."""
    tables, truths, _ = random_evaluation(images, seed=seed)
    others = random_evaluation(images, seed=seed + 100)[0]
    return {"ours": records_of(tables, truths), "theirs": records_of(others, truths)}


def points(fp: list, lesion: list, images: int) -> tuple[np.ndarray, np.ndarray]:
    """False positives per image and sensitivity, counted at every threshold there is."""
    fp, lesion = np.array(fp), np.array(lesion)
    thresholds = np.concatenate([[INF], fp, lesion[lesion > -INF]])[:, None]
    return (fp >= thresholds).sum(1) / images, (lesion >= thresholds).mean(1)


def fp_needed(fp: list, lesion: list, images: int, s: float) -> float:
    """The fewest false positives per image over all thresholds with sensitivity >= s; inf where there is none."""
    rate, sensitivity = points(fp, lesion, images)
    return min(rate[sensitivity >= s], default=INF)


def sensitivity_of(fp: list, lesion: list, images: int, x: float) -> float:
    """The most lesions found over all thresholds with at most x false positives per image."""
    rate, sensitivity = points(fp, lesion, images)
    return max(sensitivity[rate <= x])


def mean_fp_needed(parts: list[tuple[list, list, int]], s: float) -> float:
    """The least rate x, the same for all findings, at which their mean sensitivity is >= s."""
    curves = [points(*part) for part in parts]
    for x in np.unique(np.concatenate([rate for rate, _ in curves])):
        if np.mean([max(sensitivity[rate <= x]) for rate, sensitivity in curves]) >= s - 1e-9:
            return x
    return INF


def outer_quantiles(values: list[float]) -> tuple[float, float]:
    """The 95% interval of the defined values: linear where all are finite, else outwards to a replicate."""
    kept = sorted(v for v in values if not math.isnan(v))
    if all(map(math.isfinite, kept)):
        return tuple(np.quantile(kept, [0.025, 0.975]))
    return kept[math.floor(0.025 * (len(kept) - 1))], kept[math.ceil(0.975 * (len(kept) - 1))]


@pytest.fixture(scope="module")
def methods() -> dict[str, Records]:
    return two_methods(26, 5)


@pytest.fixture(scope="module")
def replicates(methods) -> dict[str, dict[str, list[float]]]:
    """Figures by key of each method on each resampled data set, by counting at every threshold."""
    index = methods["ours"].images.group
    unit = np.unique(index, return_inverse=True)[1]
    counts = draw_counts(unit.max() + 1, R, SEED)
    figures: dict[str, dict[str, list[float]]] = {name: {} for name in methods}
    for r in range(R):
        parts = {
            name: [resampled(of_finding(each, k), counts[unit, r]) for k in range(3)] for name, each in methods.items()
        }
        parts = {name: [(fp, lesion, n) for fp, lesion, _, _, n in mine] for name, mine in parts.items()}
        defined = all(lesion for _, lesion, _ in parts["ours"])
        for name, mine in parts.items():
            own = {}
            for finding, part, ours in zip(FINDINGS, mine, parts["ours"], strict=True):
                if not part[1]:
                    continue
                own[f"{finding}/sens_at_1fp"] = sensitivity_of(*part, 1)
                own[f"{finding}/fp_at_0.5sens"] = fp_needed(*part, 0.5)
                matched = sensitivity_of(*ours, 1)
                own[f"{finding}/fp_at_reference_sens_at_1fp"] = fp_needed(*part, matched)
                theirs = parts["theirs"][FINDINGS.index(finding)]
                own[f"{finding}/{OWN}"] = fp_needed(*part, sensitivity_of(*theirs, 1))
            if defined:
                own["mean/sens_at_1fp"] = np.mean([sensitivity_of(*part, 1) for part in mine])
                own["mean/fp_at_0.5sens"] = mean_fp_needed(mine, 0.5)
                matched = np.mean([sensitivity_of(*part, 1) for part in parts["ours"]])
                own["mean/fp_at_reference_sens_at_1fp"] = mean_fp_needed(mine, matched)
                matched = np.mean([sensitivity_of(*part, 1) for part in parts["theirs"]])
                own[f"mean/{OWN}"] = mean_fp_needed(mine, matched)
            for finding in [*FINDINGS, "mean"]:
                for kind in ("sens_at_1fp", "fp_at_0.5sens", "fp_at_reference_sens_at_1fp", OWN):
                    key = f"{finding}/{kind}"
                    figures[name].setdefault(key, []).append(own.get(key, math.nan))
    return figures


class TestAgainstResampling:
    def test_every_interval_and_every_paired_one(self, methods, replicates):
        metrics, _ = compare(methods, "ours", R, SEED, sensitivities=(0.5,))
        kinds = {"infinite": 0, "undefined": 0}
        shares = {}
        for k, finding in enumerate(FINDINGS):
            image = of_finding(methods["ours"], k).lesion_image
            shares[f"{finding}/sens_at_1fp"] = share_of(methods["ours"].images.group[image])
        shares["mean/sens_at_1fp"] = mean_kind(list(shares.values()))

        def same(key: str, values: list[float]) -> None:
            ends, share = outer_quantiles(values), shares.get(key.partition("/")[2])
            if share is not None:
                ends = share_interval(metrics[f"compare/{key}"], np.array(values), share)
            if ends[0] == ends[1] and OWN in key:  # ours needs none for what theirs finds of B
                assert metrics[f"compare/{key}/low"] is metrics[f"compare/{key}/high"] is None
                return
            assert ends[0] < ends[1] or math.isinf(ends[1]), key
            for end, bound in zip(("low", "high"), ends, strict=True):
                expected = pytest.approx(bound, abs=1e-12) if math.isfinite(bound) else None
                assert metrics[f"compare/{key}/{end}"] == expected, key
            kinds["infinite"] += any(map(math.isinf, values))
            kinds["undefined"] += any(map(math.isnan, values))

        for key, ours in replicates["ours"].items():
            theirs = replicates["theirs"][key]
            same(f"theirs/{key}/reference" if key.endswith(OWN) else f"ours/{key}", ours)
            same(f"theirs/{key}", theirs)
            with np.errstate(invalid="ignore", divide="ignore"):
                if metrics[f"compare/theirs/{key}/difference"] is not None:
                    same(f"theirs/{key}/difference", (np.array(ours) - np.array(theirs)).tolist())
                if metrics.get(f"compare/theirs/{key}/ratio") is not None:
                    same(f"theirs/{key}/ratio", (np.array(ours) / np.array(theirs)).tolist())
        assert min(kinds.values()) > 0  # both must have been met, or this shows little

    def test_the_figures_themselves(self, methods):
        metrics, _ = compare(methods, "ours", 0, sensitivities=SENSITIVITIES)
        assert not [key for key in metrics if key.endswith(("/low", "/high"))]
        for name, each in methods.items():
            parts = []
            for k, finding in enumerate(FINDINGS):
                data = of_finding(each, k)
                parts.append((data.fp_score.tolist(), data.lesion_score.tolist(), len(data.image)))
                for s in (0.5, 0.8):
                    value = fp_needed(*parts[-1], s)
                    assert metrics[f"compare/{name}/{finding}/fp_at_{s}sens"] == (None if value == INF else value)
            value = mean_fp_needed(parts, 0.5)
            assert metrics[f"compare/{name}/mean/fp_at_0.5sens"] == (None if value == INF else pytest.approx(value))

    def test_what_it_shares_with_an_evaluation_is_equal(self, methods):
        metrics, notes = compare(methods, "ours", 50, 1, sensitivities=SENSITIVITIES)
        for name, each in methods.items():
            single, _ = summarise(each, 50, 1)
            for finding in [*FINDINGS, "mean"]:
                for kind in ("sens_at_0.125fp", "sens_at_8fp", "score", "oracle"):
                    for end in ("", "/low", "/high") if kind != "oracle" else ("",):
                        mine = metrics[f"compare/{name}/{finding}/{kind}{end}"]
                        assert mine == single[f"froc/{finding}/{kind}{end}"]
                assert metrics[f"compare/{name}/{finding}/wafroc/low"] == single[f"wafroc/{finding}/low"]
        assert metrics["n_lesions/A"] == single["n_lesions/A"]
        assert "differences are ours minus the method" in notes["compare"]
        assert "50 replicates, seed 1" in notes["bootstrap"]
        assert {key for key, value in metrics.items() if value is None} <= notes.keys()
        json.dumps(metrics, allow_nan=False)


def scored(*images: tuple[float | None, list[float]]) -> Records:
    """One lesion an image, hit with the first number (None: missed), and false positives with the others."""
    tables, truths = [], []
    for i, (hit, wrong) in enumerate(images):
        rows = [(0, score, 80, 80) for score in wrong] + ([] if hit is None else [(0, hit, 15, 15)])
        tables.append(candidates(*rows))
        truths.append(truth(i, [1], [BOX]))
    return records_of(tables, truths, findings=["Mass"])


class TestDrawn:
    def test_false_positives_halved_at_matched_sensitivity(self):
        ours = scored((0.9, [0.95]), (0.8, [0.1]))  # one above both lesions
        theirs = scored((0.9, [0.95, 0.85]), (0.8, [0.1, 0.1]))  # two above the second
        metrics, _ = compare({"ours": ours, "theirs": theirs}, "ours", 200, sensitivities=SENSITIVITIES)
        assert metrics["compare/ours/Mass/fp_at_0.9sens"] == 0.5
        assert metrics["compare/theirs/Mass/fp_at_0.9sens"] == 1.0
        assert metrics["compare/theirs/Mass/fp_at_0.9sens/difference"] == -0.5
        assert metrics["compare/theirs/Mass/fp_at_0.9sens/ratio"] == 0.5
        assert metrics["compare/theirs/Mass/fp_at_0.5sens/difference"] == 0
        assert metrics["compare/theirs/Mass/sens_at_0.5fp/difference"] == 0.5
        assert metrics["compare/theirs/mean/fp_at_0.9sens/ratio"] == 0.5
        assert not [key for key in metrics if key.startswith("compare/ours") and "difference" in key]

    def test_false_positives_at_the_sensitivity_that_the_other_reaches(self):
        ours = scored((0.9, [0.95, 0.92]), (0.8, [0.85]))
        theirs = scored((0.9, [0.99, 0.95, 0.92, 0.91]), (None, [0.85]))  # never finds the second
        metrics, notes = compare({"ours": ours, "theirs": theirs}, "ours", operating_rates=(2.0,))
        key = "compare/theirs/Mass/fp_at_own_sens_at_2fp"
        assert [metrics[key + end] for end in ("", "/reference", "/difference", "/ratio")] == [2.0, 1.0, -1.0, 0.5]
        assert metrics["compare/theirs/mean/fp_at_own_sens_at_2fp/ratio"] == 0.5
        assert metrics["compare/theirs/Mass/fp_at_reference_sens_at_2fp"] is None  # out of its reach
        assert not [key for key in metrics if key.startswith("compare/ours") and "own" in key]
        metrics, notes = compare({"ours": ours, "theirs": theirs}, "theirs", operating_rates=(2.0,))
        assert metrics["compare/ours/Mass/fp_at_own_sens_at_2fp/reference"] is None
        assert "never reached" in notes["compare/ours/Mass/fp_at_own_sens_at_2fp/reference"]
        assert notes["compare/ours/Mass/fp_at_own_sens_at_2fp/ratio"].startswith("plus infinity: theirs never")

    def test_a_method_held_against_itself_differs_by_nothing(self):
        records = two_methods(20)["ours"]
        metrics, _ = compare({"a": records, "b": records}, "a", 50, sensitivities=SENSITIVITIES)
        for key, value in metrics.items():
            if key.endswith("/difference") and value is not None:
                assert value == 0, key
                low, high = metrics[f"{key}/low"], metrics[f"{key}/high"]
                assert (low is None and high is None) if "/fp_at_" in key else low < 0 < high, key
            if key.endswith("/ratio") and value is not None:
                assert value == 1, key

    def test_pairing_takes_out_what_both_share(self):
        """Hard and easy images are the same for both: the difference is known better than either figure."""
        rng = np.random.default_rng(0)
        hits = [0.9 if rng.random() < 0.5 else None for _ in range(60)]
        ours = scored(*((hit, [0.5]) for hit in hits))
        theirs = scored(*((None if i < 3 else hit, [0.5]) for i, hit in enumerate(hits)))
        metrics, _ = compare({"ours": ours, "theirs": theirs}, "ours", 500)

        def width(key: str) -> float:
            return metrics[f"compare/{key}/high"] - metrics[f"compare/{key}/low"]

        alone = width("ours/Mass/sens_at_0.5fp")
        assert width("theirs/Mass/sens_at_0.5fp/difference") < 0.5 * alone

    def test_the_reference_meets_its_own_sensitivity_within_its_rate_in_every_replicate(self):
        metrics, _ = compare(two_methods(40), "ours", 200, operating_rates=(0.5, 2.0))
        for finding in [*FINDINGS, "mean"]:
            for rate in (0.5, 2.0):
                key = f"compare/ours/{finding}/fp_at_reference_sens_at_{rate:g}fp"
                assert metrics[key] <= rate
                assert (metrics[f"{key}/high"] or 0) <= rate  # None: without width


class TestOutOfReach:
    OURS = scored(*((0.9, [0.5]) for _ in range(10)))
    THEIRS = scored(*((0.9 if i < 6 else None, [0.95]) for i in range(10)))  # at most 0.6

    def test_a_sensitivity_that_is_never_reached_costs_infinitely_many(self):
        metrics, notes = compare({"ours": self.OURS, "theirs": self.THEIRS}, "ours", 400, sensitivities=SENSITIVITIES)
        key = "compare/theirs/Mass/fp_at_0.8sens"
        assert metrics[key] is None
        assert notes[key].startswith("plus infinity: sensitivity 0.8 is never reached, the most is 0.6, with ")
        assert metrics[f"{key}/high"] is None
        assert notes[f"{key}/high"] == "plus infinity"
        assert metrics[f"{key}/low"] == 1.0  # some replicates draw mostly found lesions
        assert metrics[f"{key}/difference"] is None
        assert notes[f"{key}/difference"].startswith("minus infinity: theirs never reaches the sensitivity")
        assert notes[f"{key}/difference/low"] == "minus infinity"
        assert metrics[f"{key}/difference/high"] == -1.0
        assert metrics[f"{key}/ratio"] is None
        assert notes[f"{key}/ratio"] == "no ratio: theirs never reaches the sensitivity"
        assert f"{key}/ratio/low" not in metrics

    def test_the_other_way_round(self):
        metrics, notes = compare({"ours": self.OURS, "theirs": self.THEIRS}, "theirs", 0, sensitivities=SENSITIVITIES)
        key = "compare/ours/Mass/fp_at_0.8sens"
        assert metrics[key] == 0
        assert notes[f"{key}/difference"] == "plus infinity: theirs never reaches the sensitivity"
        assert notes[f"{key}/ratio"] == "plus infinity: theirs never reaches the sensitivity"

    def test_neither_reaches_it(self):
        metrics, notes = compare({"ours": self.THEIRS, "theirs": self.THEIRS}, "ours", 400, sensitivities=SENSITIVITIES)
        for end in ("difference", "ratio"):
            key = f"compare/theirs/Mass/fp_at_0.8sens/{end}"
            assert metrics[key] is None
            assert notes[key] == "neither ours nor theirs reaches the sensitivity"

    def test_no_false_positive_in_either_has_no_ratio(self):
        metrics, notes = compare({"a": self.OURS, "b": self.OURS}, "a", 20, sensitivities=SENSITIVITIES)
        assert metrics["compare/b/Mass/fp_at_0.8sens/difference"] == 0
        assert metrics["compare/b/Mass/fp_at_0.8sens/ratio"] is None
        assert notes["compare/b/Mass/fp_at_0.8sens/ratio"] == "neither a nor b has a false positive at the sensitivity"

    def test_undefined_replicates_are_counted(self):
        """One image of two with a lesion: a quarter of the replicates draws none."""
        truths = [truth(0, [1], [BOX]), truth(1, [0])]
        records = records_of([candidates((0, 0.9, 15, 15)), candidates((0, 0.95, 50, 50))], truths, findings=["Mass"])
        _, notes = compare({"a": records, "b": records}, "a", 400, sensitivities=SENSITIVITIES)
        for key in ("a/Mass/fp_at_0.5sens", "b/Mass/fp_at_0.5sens/difference", "a/mean/fp_at_0.5sens"):
            assert 70 < int(notes[f"compare/{key}"].split()[2]) < 130
            assert "replicates in which it is undefined" in notes[f"compare/{key}"]

    def test_a_finding_without_lesions_is_left_out_of_the_mean_and_said_so(self):
        truths = [truth(0, [1, 0], [BOX]), truth(1, [0, 0])]
        records = records_of([candidates((0, 0.9, 15, 15))] * 2, truths, findings=["Mass", "Nodule"])
        metrics, notes = compare({"a": records, "b": records}, "a", 0, sensitivities=SENSITIVITIES)
        assert metrics["compare/a/mean/fp_at_0.5sens"] == metrics["compare/a/Mass/fp_at_0.5sens"] == 0.5
        assert notes["compare/a/mean/fp_at_0.5sens"] == "mean of 1 of 2 findings, undefined for: Nodule"
        for end in ("", "/reference", "/difference"):
            assert metrics[f"compare/b/mean/{OWN}{end}"] == metrics[f"compare/b/Mass/{OWN}{end}"]
            assert notes[f"compare/b/Nodule/{OWN}{end}"] == "no lesions among the images that count"
        assert notes[f"compare/b/mean/{OWN}"] == "mean of 1 of 2 findings, undefined for: Nodule"
        assert metrics["compare/b/Nodule/fp_at_0.5sens/difference"] is None
        assert notes["compare/b/Nodule/fp_at_0.5sens/difference"] == "no lesions among the images that count"


def test_sizes_are_those_of_an_evaluation_and_paired():
    area = np.where(np.arange(40) % 2, 600.0, 100.0)
    methods = {name: with_areas(each, area) for name, each in two_methods(40).items()}
    metrics, notes = compare(methods, "ours", 50, 2, sensitivities=SENSITIVITIES)
    assert "area of the box in patches" in notes["size_tiers"]
    for name, each in methods.items():
        single, _ = by_size(each, 50, 2)
        for finding in [*FINDINGS, "mean"]:
            for tier in ("size_small", "size_mid", "size_large"):
                for end in ("", "/low", "/high"):
                    mine = metrics[f"compare/{name}/{finding}/{tier}/sens_at_1fp{end}"]
                    assert mine == single[f"froc/{finding}/{tier}/sens_at_1fp{end}"]
                if finding != "mean":
                    assert metrics[f"n_lesions/{finding}/{tier}"] == single[f"n_lesions/{finding}/{tier}"]
    key = "mean/size_mid/sens_at_1fp"
    difference = metrics[f"compare/ours/{key}"] - metrics[f"compare/theirs/{key}"]
    assert metrics[f"compare/theirs/{key}/difference"] == pytest.approx(difference)


def with_areas(records: Records, area: np.ndarray) -> Records:
    return replace(records, images=replace(records.images, patch_area=area))


def test_a_detector_without_a_grid_is_judged_by_the_patches_of_the_reference():
    methods = two_methods(20)
    detector = with_areas(methods["theirs"], np.full(20, np.nan))
    assert compare({**methods, "theirs": detector}, "ours", 20) == compare(methods, "ours", 20)
    metrics, notes = compare({**methods, "theirs": detector}, "theirs", 20)  # and the other way round there is no grid
    assert not any("size_" in key for key in metrics)
    assert notes["size_tiers"].startswith("no figures by lesion size")


@pytest.fixture(scope="module")
def records() -> Records:
    return records_of(*random_evaluation(12)[:2])


class TestRefused:
    def other(self, records: Records, what: str) -> Records:
        images, lesions = records.images, records.lesions
        if what == "findings":
            return replace(records, findings=("A", "B", "D"))
        if what == "criterion":
            return replace(records, criterion="iou: intersection over their union >= 0.1")
        if what == "images":
            return records_of(*(part[:-1] for part in random_evaluation(12)[:2]))
        if what == "group":
            return replace(records, images=replace(images, group=images.group + (images.index == 4)))
        if what == "label":
            label = images.label.copy()
            label[3] = np.where(np.isnan(label[3]), 0, np.nan)
            return replace(records, images=replace(images, label=label))
        box = lesions.box.copy()
        box[0, 2] += 1
        return replace(records, lesions=replace(lesions, box=box))

    @pytest.mark.parametrize(
        ("what", "message"),
        [
            ("findings", r"their findings are \['A', 'B', 'D'\]"),
            ("criterion", "their hit criteria are 'iou"),
            ("images", "only one of them was judged on image 11"),
            ("group", "the group differs for image 4"),
            ("label", "the label differs for image 3"),
            ("box", r"the boxes differ for image \d+$"),
        ],
    )
    def test_another_truth_is_named(self, records, what, message):
        with pytest.raises(ValueError, match=f"'theirs' and 'ours' cannot be compared: {message}"):
            compare({"ours": records, "theirs": self.other(records, what)}, "ours", 10)

    def test_the_order_of_rows_does_not_matter(self, records):
        lesions = records.lesions
        order = np.arange(len(lesions.index))[::-1]
        turned = type(lesions)(*(getattr(lesions, name)[order] for name in lesions.__dataclass_fields__))
        metrics, _ = compare({"a": records, "b": replace(records, lesions=turned)}, "a", 20)
        assert metrics["compare/b/mean/score/difference"] == 0

    def test_a_fault_names_the_method(self, records):
        score = records.candidates.score.copy()
        score[0] = np.nan
        broken = replace(records, candidates=replace(records.candidates, score=score))
        with pytest.raises(ValueError, match="'theirs': the score of a candidate is not finite: image"):
            compare({"ours": records, "theirs": broken}, "ours", 10)

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"reference": "nobody"}, "the reference 'nobody' is not among the methods"),
            ({"sensitivities": (0.5, 0.0)}, "sensitivities must lie above 0"),
            ({"sensitivities": (1.2,)}, "sensitivities must lie above 0"),
            ({"fp_rates": ()}, "fp_rates must be given"),
            ({"fp_rates": (-1.0,)}, "fp_rates must be given"),
            ({"fp_rates": (2.0,)}, "operating_rates must be among the fp_rates"),
        ],
    )
    def test_settings(self, records, settings, message):
        with pytest.raises(ValueError, match=message):
            compare({"ours": records}, **{"reference": "ours", "replicates": 10, **settings})

    @pytest.mark.parametrize("name", ["", "Grad/CAM"])
    def test_names(self, records, name):
        with pytest.raises(ValueError, match="a method's name"):
            compare({"ours": records, name: records}, "ours", 10)


def test_no_images_at_all():
    records = FROCMetric(["A"]).records()
    metrics, notes = compare({"a": records, "b": records}, "a", sensitivities=(0.5,))
    assert metrics["compare/a/A/fp_at_0.5sens"] is None
    assert {key for key, value in metrics.items() if value is None} <= notes.keys()
