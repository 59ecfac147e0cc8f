"""Questions in batches: any number of an image, and their texts."""

import json

import numpy as np
import torch

from bundle.data.question_batch import collate_questions, question_texts
from bundle.data.texts import text_data
from tests.tiny import write_tiny_data


def sample(*numbers, **more):
    return {key: np.array(numbers, np.int64) for key in ("question_id", "question_type", "answer")} | more


def test_padded_to_the_largest_number_in_the_batch():
    batch = collate_questions([sample(3, 5), sample(), sample(7), {"image": torch.zeros(1, 2, 2)} | sample(1)][:3])
    for key in ("question_id", "question_type", "answer"):
        assert batch[key].tolist() == [[3, 5], [-1, -1], [7, -1]]
        assert batch[key].dtype == torch.int64
    assert collate_questions([sample(), sample()])["question_id"].shape == (2, 0)


def test_boxes_are_padded_as_ever_and_other_keys_stay():
    boxes = [np.zeros((n, 4), np.float32) for n in (2, 0)]
    batch = collate_questions([sample(4, boxes=boxes[0], index=0), sample(boxes=boxes[1], index=1)])
    assert batch["boxes"].shape == (2, 2, 4)
    assert batch["index"].tolist() == [0, 1]
    assert collate_questions([{"index": 3}])["index"].tolist() == [3]


def test_the_texts_of_all_sections_and_nothing_else(tmp_path):
    path = write_tiny_data(tmp_path)
    content = json.loads(path.read_text())
    content["test"][0]["qa"] = [{"question": "Which side?", "answer": "left"}]
    path.write_text(json.dumps(content))
    data = text_data(path)
    texts = question_texts(data)
    assert "which side?" in texts.values()
    assert "is there a mass?" in texts.values()
    assert all(text.endswith("?") for text in texts.values())
    assert all(data.texts[number] == text for number, text in texts.items())
    asked = {int(n) for items in data.items.values() for item in items for n in item["question_id"]}
    assert list(texts) == sorted(asked)
