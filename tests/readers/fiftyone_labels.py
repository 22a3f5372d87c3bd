"""Holds labels.json against FiftyOne: fiftyone_labels.py LABELS.json

Where the library is installed, its own importer of a FiftyOneImageClassificationDataset reads the file and its own labels are looked
at. Only that importer and the label classes are needed, so no MongoDB runs. The library is some two GB: without it the file is
held against the form that its documentation gives.
"""

import json
import os
import sys

PATH = sys.argv[1]


def unique(pairs):
    keys = [key for key, _ in pairs]
    assert len(set(keys)) == len(keys), "a name twice: the importer would keep the last"
    return dict(pairs)


def by_its_form(labels):
    """The documented form."""
    assert set(labels) == {"classes", "labels"} and labels["classes"] is None
    assert labels["labels"], "there are samples"
    for key, target in labels["labels"].items():
        assert os.path.isabs(key), "an absolute path is taken as it is"
        assert isinstance(target, list)
        for classification in target:
            assert set(classification) == {"label", "confidence", "attributes"}
            assert isinstance(classification["label"], str) and 0 <= classification["confidence"] <= 1
            assert not {"label", "confidence", "tags", "logits", "id"} & set(classification["attributes"])


def by_its_importer(labels):
    """What the library's importer makes of it: a sample for each image, a classification for each finding."""
    # The package looks for a server when it is imported; nothing here asks one.
    os.environ |= {
        "FIFTYONE_DISABLE_SERVICES": "1",
        "FIFTYONE_DATABASE_URI": "mongodb://127.0.0.1:1",
        "FIFTYONE_DATABASE_VALIDATION": "false",
        "FIFTYONE_DO_NOT_TRACK": "true",
    }
    try:
        import fiftyone
    except ImportError:
        return None
    import fiftyone.utils.data

    importer = fiftyone.utils.data.FiftyOneImageClassificationDatasetImporter(
        data_path=os.path.dirname(PATH), labels_path=PATH, compute_metadata=False
    )
    found = {}
    with importer:
        assert len(importer) == len(labels["labels"]), "every image is a sample"
        for path, metadata, label in importer:
            assert metadata is None and isinstance(label, fiftyone.Classifications)
            # A sample takes the label as its field: it is of a type that the library stores.
            sample = fiftyone.Sample(filepath=path, findings=label)
            found[path] = sample.findings.classifications
    for path, targets in labels["labels"].items():
        assert len(found[path]) == len(targets), path
        for classification, target in zip(found[path], targets, strict=True):
            assert (classification.label, classification.confidence) == (target["label"], target["confidence"])
            for name, value in target["attributes"].items():
                assert classification[name] == value, (path, name)
    return fiftyone.__version__


with open(PATH, encoding="utf-8") as file:
    whole = json.load(file, object_pairs_hook=unique)
by_its_form(whole)
version = by_its_importer(whole)
how = f"read by the importer of {version}" if version else "by its documented form: the library is not installed"
print(f"FiftyOne: {len(whole['labels'])} samples, {how}")
