"""RJafroc's Excel file read back: its sheets alone must give our curve and our area."""

from dataclasses import replace

import numpy as np
import openpyxl
import pytest

from bundle.comparison.outcome import Outcome, write_outcome
from bundle.metrics.froc import froc_curve, wafroc
from bundle.metrics.records import of_finding
from bundle.metrics.records_io import save_records
from bundle.metrics.rjafroc import COLUMNS, write_rjafroc
from scripts.export_rjafroc import main
from tests.metrics.drawn import candidates, random_evaluation, records_of, truth


@pytest.fixture(scope="module")
def methods():
    tables, truths, _ = random_evaluation(60, seed=3)
    others = random_evaluation(60, seed=4)[0]
    return {"ours": records_of(tables, truths), "other, of boxes": records_of(others, truths)}


def sheets(path):
    """Sheet -> its rows as dicts."""
    book = openpyxl.load_workbook(path)
    assert book.sheetnames == ["TRUTH", "FP", "TP"]
    found = {}
    for sheet in book:
        header, *rows = sheet.iter_rows(values_only=True)
        assert header == COLUMNS[sheet.title]
        found[sheet.title] = [dict(zip(header, row, strict=True)) for row in rows]
    return found, book.properties.description


@pytest.mark.parametrize("k", range(3))
def test_the_sheets_alone_give_our_curve_and_area(methods, tmp_path, k):
    write_rjafroc(methods, "ABC"[k], tmp_path / "x.xlsx")
    found, said = sheets(tmp_path / "x.xlsx")
    assert said == "ModalityID 1 = ours; 2 = other, of boxes"
    cases = {row["CaseID"] for row in found["TRUTH"]}
    lesions = {(row["CaseID"], row["LesionID"]): row["Weight"] for row in found["TRUTH"] if row["LesionID"]}
    diseased = {case for case, _ in lesions}
    for modality, records in enumerate(methods.values(), 1):
        data = of_finding(records, k)
        assert (len(cases), len(lesions)) == (len(data.image), len(data.lesion_score))
        wrong = [
            (r["CaseID"], r["FP_Rating"]) for r in found["FP"] if (r["ReaderID"], r["ModalityID"]) == (1, modality)
        ]
        right = {(r["CaseID"], r["LesionID"]): r["TP_Rating"] for r in found["TP"] if r["ModalityID"] == modality}
        assert right.keys() <= lesions.keys()
        curve = froc_curve(data.fp_score, data.lesion_score, len(data.image))
        for t, rate, sensitivity in zip(curve.thresholds, curve.fp_per_image, curve.sensitivity, strict=True):
            assert sum(score >= t for _, score in wrong) / len(cases) == rate
            assert sum(score >= t for score in right.values()) / len(lesions) == sensitivity
        # wAFROC by its definition: lesions against the highest mark of each case without
        highest = {case: max((s for c, s in wrong if c == case), default=-np.inf) for case in cases - diseased}
        rating = {lesion: right.get(lesion, -np.inf) for lesion in lesions}
        above = [
            weight * ((rating[lesion] > other) + (rating[lesion] == other) / 2)
            for lesion, weight in lesions.items()
            for other in highest.values()
        ]
        area = sum(above) / len(highest) / len(diseased)
        assert area == pytest.approx(wafroc(data.normal_score, data.lesion_score, data.lesion_image), abs=1e-12)


def test_what_rjafroc_checks(methods, tmp_path):
    write_rjafroc(methods, "A", tmp_path / "x.xlsx")
    rows = sheets(tmp_path / "x.xlsx")[0]["TRUTH"]
    assert [row["Paradigm"] for row in rows[:3]] == ["FROC", "FCTRL", None]
    assert {(row["ReaderID"], row["ModalityID"]) for row in rows} == {("1", "1, 2")}
    weights = {}
    for before, row in zip([{"CaseID": None}, *rows], rows, strict=False):
        assert row["LesionID"] in (0, 1) or (row["CaseID"], row["LesionID"] - 1) == (
            before["CaseID"],
            before["LesionID"],
        )
        weights.setdefault(row["CaseID"], []).append(row["Weight"])
    assert {round(sum(w), 9) for w in weights.values()} == {0, 1}
    assert max(map(len, weights.values())) > 1


def test_lesions_in_another_order_keep_their_numbers(tmp_path):
    image = truth(7, [1.0], [(0, 0, 0, 20, 20), (0, 50, 50, 80, 80)])
    records = records_of([candidates((0, 0.9, 60, 60), (0, 0.3, 5, 5))], [image], findings=["A"])
    lesions = records.lesions
    turned = replace(lesions, **{name: getattr(lesions, name)[::-1] for name in vars(lesions)})
    write_rjafroc({"a": records, "b": replace(records, lesions=turned)}, "A", tmp_path / "x.xlsx")
    marks = [tuple(row.values()) for row in sheets(tmp_path / "x.xlsx")[0]["TP"]]
    assert sorted(marks) == [(1, 1, 7, 1, 0.3), (1, 1, 7, 2, 0.9), (1, 2, 7, 1, 0.3), (1, 2, 7, 2, 0.9)]


def test_refused(methods, tmp_path):
    with pytest.raises(ValueError, match=r"end with \.xlsx, got x\.xls"):
        write_rjafroc(methods, "A", tmp_path / "x.xls")
    with pytest.raises(ValueError, match="'D' is not among the findings of the records, A, B, C"):
        write_rjafroc(methods, "D", tmp_path / "x.xlsx")
    empty = records_of([candidates()], [truth(0, [0.0])], findings=["A"])
    with pytest.raises(ValueError, match="no image that counts has a lesion of A"):
        write_rjafroc({"a": empty}, "A", tmp_path / "x.xlsx")
    stricter = {**methods, "strict": replace(methods["ours"], criterion="another")}
    with pytest.raises(ValueError, match="their hit criteria are"):
        write_rjafroc(stricter, "A", tmp_path / "x.xlsx")
    assert not list(tmp_path.iterdir())


def test_the_command(methods, tmp_path, capsys):
    for place, records in enumerate(methods.values()):
        save_records(records, tmp_path / f"{place}")
    save_records(methods["ours"], tmp_path / "records")
    with pytest.raises(SystemExit, match="choose --finding of A, B, C"):
        main(str(tmp_path), str(tmp_path / "x.xlsx"))
    main(str(tmp_path), str(tmp_path / "alone.xlsx"), "B")
    assert sheets(tmp_path / "alone.xlsx")[1] == "ModalityID 1 = evaluation"
    about = {name: {"folder": str(place)} for place, name in enumerate(methods)}
    write_outcome(Outcome({}, {}, about, "ours"), tmp_path)
    main(str(tmp_path), str(tmp_path / "x.xlsx"), "B")
    write_rjafroc(methods, "B", tmp_path / "y.xlsx")
    assert sheets(tmp_path / "x.xlsx") == sheets(tmp_path / "y.xlsx")
    assert "B, ModalityID 1 = ours 2 = other, of boxes" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="no records of"):
        main(str(tmp_path), str(tmp_path / "x.xlsx"), "B", ["theirs"])
