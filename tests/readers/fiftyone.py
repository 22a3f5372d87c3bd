"""Holds labels.json against the documented form of FiftyOneImageClassificationDataset: fiftyone.py LABELS.json

FiftyOne itself needs a MongoDB server and some two GB; this is what its importer reads of the file.
"""

import json
import os
import sys


def unique(pairs):
    keys = [key for key, _ in pairs]
    assert len(set(keys)) == len(keys), "a name twice: the importer would keep the last"
    return dict(pairs)


with open(sys.argv[1], encoding="utf-8") as file:
    labels = json.load(file, object_pairs_hook=unique)
assert set(labels) == {"classes", "labels"} and labels["classes"] is None
assert labels["labels"], "there are samples"
for key, target in labels["labels"].items():
    assert os.path.isabs(key), "an absolute path is taken as it is"
    assert isinstance(target, list)
    for classification in target:
        assert set(classification) == {"label", "confidence", "attributes"}
        assert isinstance(classification["label"], str) and 0 <= classification["confidence"] <= 1
        assert not {"label", "confidence", "tags", "logits", "id"} & set(classification["attributes"])
print(f"FiftyOne: {len(labels['labels'])} samples")
