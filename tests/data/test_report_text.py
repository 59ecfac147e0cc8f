"""Reports are cut by whole sentences, findings first."""

import pytest

from bundle.data.report_text import cut_report, sentences_by_worth, tokenize_reports
from bundle.data.tokenizer import build_clip_tokenizer, load_tokenizer

REPORT = (
    "INDICATION: Cough. COMPARISON: None. FINDINGS: A 2.1 cm nodule. No effusion. IMPRESSION: Nodule in the right lung."
)


@pytest.fixture(scope="module")
def tokenizer():
    return build_clip_tokenizer()


def test_findings_come_first_then_impression_then_the_rest():
    wanted = ["A 2.1 cm nodule.", "No effusion.", "Nodule in the right lung.", "Cough.", "None."]
    assert sentences_by_worth(REPORT) == wanted


HISTORY = "HISTORY: Cough and fever, and much more that is said here. He smokes."
BODY = "A large left effusion. The right lung is clear."


@pytest.mark.parametrize(
    "report",
    [
        f"{HISTORY}\n\nCOMPARISON: None.\n\n{BODY}\n\nIMPRESSION: Effusion.",
        f"{HISTORY}\r\n\r\nCOMPARISON: None.\r\n \r\n{BODY}\r\n\r\nIMPRESSION: Effusion.",
        f"COMPARISON: None.\n\nINDICATION: cough.\n\n{BODY}\n\nCONCLUSION: Effusion.",
        f"HISTORY\nCough. Fever.\n\nCOMPARISON\nNone\n\n{BODY}\n\nIMPRESSION\nEffusion.",
        f"{HISTORY}\n\nTECHNIQUE: PA and lateral views.\n\n{BODY}",
        f"REASON FOR EXAM: Cough.\n\nFever.\n\nCOMPARISON: None.\n\n{BODY}\n\nIMPRESSION: Effusion.",
    ],
)
def test_a_body_without_a_heading_is_the_findings(report):
    seen = ["A large left effusion.", "The right lung is clear."]
    sentences = sentences_by_worth(report)
    assert sentences[:2] == seen
    assert sentences[2:3] == (
        ["Effusion."] if "Effusion." in report else ["Cough and fever, and much more that is said here."]
    )
    assert sorted(sentences) == sorted(sentences_by_worth(report.replace(BODY, f"FINDINGS: {BODY}")))


@pytest.mark.parametrize(
    "report",
    [
        f"{HISTORY} COMPARISON: None. {BODY} IMPRESSION: Effusion.",  # as many archives join lines
        f"{HISTORY}\nCOMPARISON: None\n{BODY}\nIMPRESSION: Effusion.",
        f"{HISTORY}\n\nCOMPARISON:\n\n{BODY}\n\nIMPRESSION: Effusion.",
        f"INDICATION: Cough.\n{BODY}\nIMPRESSION: Effusion.",
    ],
)
def test_what_may_be_the_body_comes_before_the_question(report):
    assert sentences_by_worth(report)[:3] == ["Effusion.", "A large left effusion.", "The right lung is clear."]


def test_where_findings_have_their_heading_nothing_goes_before_them():
    report = f"{HISTORY}\n\nIt hurts.\n\nCOMPARISON: None. Old films.\n\nTwo views.\n\nFINDINGS: {BODY}"
    wanted = [*BODY.replace(". ", ".|").split("|"), "It hurts.", "Two views."]
    wanted += ["Cough and fever, and much more that is said here.", "He smokes.", "None.", "Old films."]
    assert sentences_by_worth(report) == wanted


def test_without_headings_the_order_stays():
    assert sentences_by_worth("Clear lungs. Normal heart.") == ["Clear lungs.", "Normal heart."]


def test_only_whole_sentences_and_at_most_the_limit(tokenizer):
    def length(text):
        return len(tokenizer(text)["input_ids"])

    for limit in range(12, 60, 4):
        cut = cut_report(REPORT, length, limit)
        assert length(cut) <= limit
        assert all(sentence in sentences_by_worth(REPORT) for sentence in sentences_by_worth(cut))
    assert cut_report(REPORT, length, 12) == "A 2.1 cm nodule."


def test_a_first_sentence_that_is_too_long_is_truncated_not_dropped(tokenizer):
    tokens = tokenize_reports(["word " * 200], tokenizer, 77)
    assert tokens["input_ids"].shape == (1, 77)
    assert tokens["attention_mask"].sum() == 77


def test_vocabulary_is_clips(tokenizer, tmp_path):
    # ids of OpenAI's tokenizer for this text
    assert tokenizer("a photo of a cat")["input_ids"] == [49406, 320, 1125, 539, 320, 2368, 49407]
    assert len(tokenizer) == 49408
    tokenizer.save_pretrained(tmp_path)
    saved = load_tokenizer(tmp_path)
    assert saved(REPORT)["input_ids"] == tokenizer(REPORT)["input_ids"]
    assert saved.model_max_length == 77


def test_a_missing_tokenizer_says_how_to_make_one(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"scripts\.build_tokenizer"):
        load_tokenizer(tmp_path / "none")
