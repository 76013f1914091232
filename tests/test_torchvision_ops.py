"""A CPU torch beside the registry's torchvision: broken without the declaration, whole with it.

Each case runs in an interpreter of its own, since operators can't be taken back.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

USERS = ["import torchvision", "import torch_fidelity", "from diffusers import AutoencoderKL"]


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture(scope="module")
def torchvision_is_broken() -> None:
    plain = run("import torchvision")
    if plain.returncode == 0:
        pytest.skip("this torchvision imports by itself")
    assert "operator torchvision::nms does not exist" in plain.stderr


@pytest.mark.usefixtures("torchvision_is_broken")
def test_declaring_the_operators_makes_every_user_of_torchvision_import():
    done = run(
        "from facet.torchvision_ops import declare_missing\n"
        "assert declare_missing() is True\n"
        "assert declare_missing() is False, 'a second call must do nothing'\n"
        "import gc; gc.collect()\n" + "\n".join(USERS)
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("torchvision_is_broken")
def test_importing_the_module_declares_nothing():
    done = run("import facet.torchvision_ops, torch\nassert not hasattr(torch.ops.torchvision, 'nms')")
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("torchvision_is_broken")
def test_a_declared_operator_still_refuses_to_run():
    done = run(
        "from facet.torchvision_ops import declare_missing\n"
        "declare_missing()\n"
        "import torch, torchvision\n"
        "torchvision.ops.nms(torch.zeros(1, 4), torch.zeros(1), 0.5)"
    )
    assert done.returncode != 0
    assert "Couldn't load custom C++ ops" in done.stderr


def test_operators_that_exist_are_left_alone():
    done = run(
        "import torch\n"
        "real = torch.library.Library('torchvision', 'FRAGMENT')\n"
        "for name in ('nms', 'qnms'):\n"
        "    real.define(name + '(Tensor dets, Tensor scores, float iou_threshold) -> Tensor')\n"
        "real.impl('nms', lambda dets, scores, iou_threshold: scores + 1, 'CPU')\n"
        "from facet.torchvision_ops import declare_missing\n"
        "assert declare_missing() is False\n"
        "assert torch.ops.torchvision.nms(torch.zeros(1, 4), torch.zeros(1), 0.5).item() == 1"
    )
    assert done.returncode == 0, done.stderr


def test_without_torchvision_nothing_is_declared_and_torch_is_not_imported():
    done = run(
        "import importlib.util, sys\n"
        "found = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'torchvision' else found(name, *rest)\n"
        "from facet.torchvision_ops import declare_missing\n"
        "assert declare_missing() is False\n"
        "assert 'torch' not in sys.modules"
    )
    assert done.returncode == 0, done.stderr
