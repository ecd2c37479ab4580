"""Registration by ANTs: agrees with ANTs' own application of its transforms, and finds its way."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from harmobench.atlas import icbm152
from harmobench.errors import HarmobenchError, MeasurementError
from harmobench.imaging import registration
from harmobench.imaging.volume import Grid
from harmobench.imaging.warp import carry

SIDE = 36
LAS = np.diag([-2.0, 2.0, 2.0, 1.0])  # origin in a corner, as the Eve atlas has it


def head(shift: float = 0.0) -> np.ndarray:
    """Draw a lopsided brain: no turn of it looks like it."""
    x, y, z = np.meshgrid(*[np.linspace(-1, 1, SIDE)] * 3, indexing="ij")
    x = x - shift
    brain = (x / 0.62) ** 2 + (y / 0.78) ** 2 + (z / 0.55) ** 2 < 1
    core = (x / 0.3) ** 2 + ((y - 0.25) / 0.3) ** 2 + ((z + 0.1) / 0.25) ** 2 < 1
    spot = ((x - 0.25) / 0.15) ** 2 + ((y + 0.3) / 0.2) ** 2 + ((z - 0.15) / 0.15) ** 2 < 1
    out = np.where(brain, 0.6, 0) + 0.5 * core + 0.3 * spot
    return ndimage.gaussian_filter(out, 0.8).astype(np.float32) * brain


@pytest.fixture(scope="module")
def pair():
    """Return a template, and the same brain bent, turned, and far away."""
    template = (head(), Grid.make((SIDE,) * 3, LAS))
    turn = np.array([[0.98, -0.17, 0, 300], [0.17, 0.98, 0, -50], [0, 0, 1, 20], [0, 0, 0, 1]])
    turn[:3, :3] = np.linalg.qr(turn[:3, :3])[0] * np.sign(np.diag(np.linalg.qr(turn[:3, :3])[1]))
    bent = ndimage.map_coordinates(head(0.05), np.indices((SIDE,) * 3) * 0.94 + 1, order=1)
    return template, (bent.astype(np.float32), Grid.make((SIDE,) * 3, turn @ np.diag([2, 2, 2, 1])))


@pytest.fixture(scope="module")
def registered(pair, tmp_path_factory):
    folder = tmp_path_factory.mktemp("syn")
    (template, grid), (native, own) = pair
    images = registration.ants_image(template, grid), registration.ants_image(native, own)
    transforms = registration.register(*images, (20, 10), folder)
    return images, transforms, registration.fields(transforms, *images, folder)


def test_an_image_for_ants_lies_where_it_lay(pair):
    for voxels, grid in pair:
        image = registration.ants_image(voxels, grid)
        for index in ((0, 0, 0), (5, 9, 20)):
            world = (grid.affine @ [*index, 1])[:3] * [-1, -1, 1]
            found = np.array(image.direction) @ (np.array(index) * image.spacing) + image.origin
            assert np.allclose(found, world, atol=1e-4)


def test_brings_images_far_apart_together(pair, registered):
    (template, _), _ = pair
    images, transforms, _ = registered
    moved = registration.to_template(transforms, *images)
    brain = template > 0
    assert np.corrcoef(moved[brain], template[brain])[0, 1] > 0.95


def test_fields_do_what_ants_does(pair, registered):
    import ants

    (template, grid), (native, own) = pair
    images, transforms, (forward, inverse) = registered
    there = carry(native, own, forward, grid)
    assert np.abs(there - registration.to_template(transforms, *images)).max() < 0.01
    back = carry(template, grid, inverse, own)
    ours = ants.apply_transforms(
        images[1], images[0], list(transforms.inverse), whichtoinvert=[True, False]
    )
    assert np.abs(back - ours.numpy()).max() < 0.01


def test_there_and_back_is_where_it_was(pair, registered):
    _, (native, own) = pair
    _, _, (forward, inverse) = registered
    grid = pair[0][1]
    back = carry(carry(native, own, forward, grid), grid, inverse, own)
    brain = native > 0.1
    assert np.corrcoef(back[brain], native[brain])[0, 1] > 0.97


def test_the_same_call_gives_the_same_bytes(pair, registered, tmp_path):
    (template, grid), (native, own) = pair
    images = registration.ants_image(template, grid), registration.ants_image(native, own)
    again = registration.register(*images, (20, 10), tmp_path)
    first = registration.to_template(registered[1], *images)
    assert np.array_equal(registration.to_template(again, *images), first)


def test_a_wrong_orientation_is_found_by_searching(pair, tmp_path):
    (template, grid), _ = pair
    lying = np.ascontiguousarray(template[::-1, :, ::-1])  # the header does not say so
    images = registration.ants_image(template, grid), registration.ants_image(lying, grid)
    transforms = registration.register(*images, (10, 5), tmp_path, search=True)
    moved = registration.to_template(transforms, *images)
    brain = template > 0
    assert np.corrcoef(moved[brain], template[brain])[0, 1] > 0.85


def test_a_skull_does_not_matter_within_the_brain(pair, tmp_path):
    (template, grid), (native, own) = pair
    wide = np.pad(native, 10)
    distance = ndimage.distance_transform_edt(wide == 0)
    skull = np.where((distance > 2) & (distance < 7), 0.9, wide).astype(np.float32)
    back = own.affine @ np.array([[1, 0, 0, -10], [0, 1, 0, -10], [0, 0, 1, -10], [0, 0, 0, 1.0]])
    images = [
        registration.ants_image(template, grid),
        registration.ants_image(skull, Grid.make(skull.shape, back)),
    ]
    near = ndimage.binary_dilation(template > 0, iterations=3).astype(np.float32)
    brain = template > 0
    likeness = []
    for within in (registration.ants_image(near, grid), None):
        transforms = registration.register(*images, (20, 10), tmp_path, within)
        moved = registration.to_template(transforms, *images)
        likeness.append(np.corrcoef(moved[brain], template[brain])[0, 1])
    assert likeness[0] > 0.7
    assert likeness[0] > likeness[1] + 0.1


def test_a_sheared_grid_is_refused():
    affine = np.eye(4)
    affine[0, 1] = 0.2
    with pytest.raises(HarmobenchError, match=r"axes at right angles.*resample"):
        registration.ants_image(np.ones((4, 4, 4), np.float32), Grid.make((4, 4, 4), affine))


def test_coarser_images_lie_in_the_same_place(pair):
    image = registration.ants_image(*pair[1])
    coarse = registration.at_spacing(image, 4.0)
    assert np.allclose(coarse.spacing, 4.0, rtol=0.05)
    assert np.allclose(coarse.get_center_of_mass(), image.get_center_of_mass(), atol=1.0)
    assert registration.at_spacing(image, 0) is image


def test_bias_is_corrected_in_the_brain():
    tissues, _, brain, grid = icbm152(4.0)
    flat = sum(v * tissues[t] for v, t in ((0.3, "csf"), (0.8, "gm"), (1.2, "wm")))
    flat = (flat + np.random.default_rng(0).normal(0, 0.03, grid.shape)) * brain
    tilted = (flat * np.linspace(0.6, 1.4, grid.shape[0])[:, None, None]).astype(np.float32)
    white = brain & (tissues["wm"] > 0.9)
    spread = []
    for voxels in (tilted, registration.correct_bias(tilted, brain, grid)):
        spread.append(voxels[white].std() / voxels[white].mean())
    assert spread[1] < 0.6 * spread[0]


def test_bias_of_an_empty_brain_is_refused(pair):
    (template, grid), _ = pair
    with pytest.raises(MeasurementError, match="intensities above 0 in the brain"):
        registration.correct_bias(np.zeros_like(template), template > 0, grid)


def test_ants_that_fails_is_one_clear_error(pair, tmp_path):
    (template, grid), _ = pair
    image = registration.ants_image(template, grid)
    with pytest.raises(MeasurementError, match="gave no registration"):
        registration.register(image, image, ("x",), Path(tmp_path))
