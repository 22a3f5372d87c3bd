"""Holds tasks against Label Studio's own parser: label_studio.py TASKS.json"""

import json
import sys

from label_studio_sdk.label_interface import LabelInterface

tasks = json.load(open(sys.argv[1], encoding="utf-8"))
labels = sorted({label for task in tasks for label in task["data"]["probabilities"]})
choices = "".join(f'<Choice value="{label}"/>' for label in labels)
interface = LabelInterface(
    '<View><Image name="image" value="$image"/>'
    f'<Choices name="findings" toName="image" choice="multiple">{choices}</Choices></View>'
)
assert tasks, "there are tasks"
for task in tasks:
    for prediction in task["predictions"]:
        errors = interface.validate_prediction(prediction, return_errors=True)
        assert not errors, errors
    assert interface.validate_task({"id": 1, "data": task["data"]}), "the task has what the configuration asks for"
wrong = json.loads(json.dumps(next(task for task in tasks if task["predictions"][0]["result"])["predictions"][0]))
wrong["result"][0]["value"]["choices"] = ["no such choice"]
assert interface.validate_prediction(wrong, return_errors=True), "a check that cannot fail holds nothing"
print(f"Label Studio: {len(tasks)} tasks")
