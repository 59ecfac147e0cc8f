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
