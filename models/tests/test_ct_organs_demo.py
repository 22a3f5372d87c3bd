"""The CT demonstration: samples are decided by their number, never mirrored, and the shipped weights find organs."""

import json
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import MODELS

from nightread_models import ct, onnx_export, segmentation_export
from nightread_models.radiograph import data_folder
from nightread_models.unet3d import UNet3d

FOLDER = MODELS / "ct-organs-demo"
sys.path.insert(0, str(FOLDER))

import bodies  # noqa: E402
import evaluate  # noqa: E402
import organs  # noqa: E402
import paint  # noqa: E402
import samples  # noqa: E402
import train  # noqa: E402


def made_up_body() -> bodies.Body:
    """A liver on the right, a spleen on the left, a spine, in air; with a CT and a distance from the hull."""
    structures = np.zeros((60, 48, 56), np.uint8)
    structures[36:52, 12:36, 20:44] = 5
    structures[8:18, 12:26, 26:40] = 1
    structures[27:33, 6:14, :] = 29
    outside = np.full(structures.shape, 60.0, np.float32)
    outside[4:56, 4:42, :] = 0
    hu = np.where(structures > 0, 60.0, np.where(outside > 0, -1000.0, -90.0)).astype(np.float32)
    spacing = np.array([4.0, 4.0, 4.0])
    return bodies.Body(structures, spacing, hu=hu, outside=outside, where=bodies._where(structures))


def test_a_sample_is_decided_by_seed_and_number() -> None:
    """The same in any order, other numbers other patches; finite, in range, with labels that exist."""
    body = made_up_body()
    drawn = samples.Samples([body], [body], 3)
    again = samples.Samples([body], [body], 3)
    kept = [drawn.sample(number, 32, 7.5) for number in range(6)]
    for number in reversed(range(6)):
        image, labels = again.sample(number, 32, 7.5)
        assert np.array_equal(image, kept[number][0]) and np.array_equal(labels, kept[number][1])
        assert np.isfinite(image).all() and image.min() >= -2.5 and image.max() <= 2.5
        assert set(np.unique(labels)) <= {0, 1, 2, 11}
    assert not np.array_equal(kept[0][0], kept[1][0])


def test_right_stays_right() -> None:
    """In every sample that shows enough of both, the liver lies at greater x than the spleen."""
    body, seen = made_up_body(), 0
    drawn = samples.Samples([body], [body], 4)
    for number in range(40):
        labels = drawn.sample(number, 32, 7.5)[1]
        if (labels == 1).sum() > 50 and (labels == 2).sum() > 50:
            seen += 1
            assert np.argwhere(labels == 1)[:, 0].mean() > np.argwhere(labels == 2)[:, 0].mean()
    assert seen > 10


def test_phases_stay_in_their_ranges() -> None:
    """Aorta and liver over many draws, so that unenhanced and arterial scans are both among them."""
    drawn = np.array([paint.phase(np.random.default_rng(seed))[[5, 52]] for seed in range(300)])
    assert 0 < drawn[:, 0].min() < 50 and 110 < drawn[:, 0].max() < 170
    assert 15 < drawn[:, 1].min() < 60 and 250 < drawn[:, 1].max() < 450


def test_training_stops_and_goes_on_as_if_it_had_not(tmp_path: Path) -> None:
    """Optimiser, running mean, step and samples come back from the checkpoint: the same weights to the bit."""
    torch.set_num_threads(1)
    body = made_up_body()

    def steps(run: train.Run, count: int) -> None:
        drawn = samples.Samples([body], [body], 5)
        weights = torch.tensor(train.CLASS_WEIGHTS)
        for _ in range(count):
            image, labels = drawn.sample(run.step, 32, 7.5)
            run.network.train()
            logits = run.network(torch.from_numpy(image)[None, None])
            run.optimiser.zero_grad()
            train.loss_of(logits, torch.from_numpy(labels)[None].long(), weights).backward()
            run.optimiser.step()
            run.step += 1
            run.average()

    straight, first, second = (train.Run(9) for _ in range(3))
    steps(straight, 4)
    steps(first, 2)
    first.save(tmp_path / "checkpoint.pt", 1.0)
    second.load(tmp_path / "checkpoint.pt")
    steps(second, 2)
    assert second.step == 4
    for mine, theirs in ((straight.network.state_dict(), second.network.state_dict()), (straight.mean, second.mean)):
        assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_the_loss_knows_right_from_wrong() -> None:
    """Near nothing for logits that say the truth at all levels, large for the opposite."""
    truth = torch.zeros(1, 16, 16, 16, dtype=torch.long)
    truth[:, :8] = 1
    weights = torch.ones(3)
    sure = [torch.nn.functional.one_hot(truth[:, ::s, ::s, ::s], 3).movedim(-1, 1).float() * 20 for s in (1, 2, 4)]
    assert float(train.loss_of(sure, truth, weights)) < 1e-3
    assert float(train.loss_of([-logits for logits in sure], truth, weights)) > 5


def test_the_network_exports_as_it_computes(tmp_path: Path) -> None:
    """A fresh network, one patch, within 1e-4."""
    torch.manual_seed(1)
    network = UNet3d(organs.OUTPUTS)
    path, patch = tmp_path / "a.onnx", (48, 48, 48)
    segmentation_export.export(network, patch, path)
    assert segmentation_export.check_parity(network, path, patch, (-2.5, 2.5)) <= 1e-4


def test_manifest_card_and_figures_belong_together() -> None:
    """The manifest says what training and evaluation do; report and card are of the shipped file."""
    described = tomllib.loads((FOLDER / "manifest.toml").read_text())
    assert [row["name"] for row in described["labels"]] == list(organs.LABELS)
    assert described["preprocessing"]["spacing_mm"] == [evaluate.VOXEL] * 3
    assert described["input"]["item_shape"] == [1] + [evaluate.SIDE] * 3
    assert described["window"]["overlap"] == evaluate.OVERLAP
    assert tuple(described["preprocessing"]["clip"]) == samples.CLIP
    assert (described["preprocessing"]["mean"], described["preprocessing"]["std"]) == (samples.MEAN, samples.STD)
    report = json.loads((FOLDER / "report.json").read_text())
    assert report["weights_sha256"] == described["weights"]["fp32"]["sha256"]
    card = (FOLDER / "README.md").read_text()
    assert card.splitlines()[2].startswith("**A demonstration of the chain, not of accuracy")
    for name, dice in report["dice"]["training_case"].items():
        assert f"| {name} | {dice:.2f} |" in card
    assert (FOLDER / "model.fp32.onnx").stat().st_size < 8_000_000


def test_shipped_weights_reach_the_figures_of_the_report() -> None:
    """Dice of the training case, made again from the real CT."""
    data = data_folder()
    if not (data / bodies.ABDOMEN).is_file():
        pytest.skip(f"SKIPPED: Dice of ct-organs-demo: no {bodies.ABDOMEN} in NIGHTREAD_TEST_DATA")
    runtime = onnx_export.session(FOLDER / "model.fp32.onnx")
    labels = evaluate.predict(
        ct.read(data / bodies.ABDOMEN), lambda patch: runtime.run(["logits"], {"image": patch})[0]
    )
    found = evaluate.dice(organs.table()[ct.read(data / bodies.ABDOMEN_LABELS).voxels], labels)
    wanted = json.loads((FOLDER / "report.json").read_text())["dice"]["training_case"]
    assert all(found[name] == pytest.approx(wanted[name], abs=2e-3) for name in wanted)
