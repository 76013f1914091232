"""Imports go without searches for garbage, and leave the collector as it was.

Each case runs in an interpreter of its own: what a test process holds by now is nobody's start.
"""

from __future__ import annotations

import subprocess
import sys

import pytest

WATCH = """
import gc
searched = []
gc.callbacks.append(lambda phase, facts: searched.append(len(gc.get_objects()))
    if phase == "start" and facts["generation"] == 2 else None)
"""


def run(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("module", ["facet.diffusion.pipeline", "facet.stages.train_vae", "facet.stages.select"])
def test_importing_a_heavy_module_searches_nothing_large(module: str):
    # torch alone makes 200,000 objects, so a full search of more than 300,000 came while diffusers' 600,000 were made.
    run(f"{WATCH}import {module}\nassert max(searched, default=0) < 300_000, searched")


def test_without_the_pause_they_are_searched():
    run("import facet.torchvision_ops as ops; ops.declare_missing()" + WATCH + "from diffusers import AutoencoderKL\n"
        "assert max(searched) > 300_000, searched")  # fmt: skip


def test_the_collector_is_left_as_it_was():
    run(
        "import gc\n"
        "import facet.diffusion\n"
        "assert gc.isenabled() and gc.get_freeze_count() == 0\n"
        "from facet import collector\n"
        "gc.disable()\n"
        "with collector.paused(): pass\n"
        "assert not gc.isenabled(), 'it was off before'\n"
        "gc.enable()\n"
        "try:\n"
        "    with collector.paused(): raise ImportError\n"
        "except ImportError:\n"
        "    assert gc.isenabled()\n"
    )


def test_objects_that_someone_froze_stay_frozen():
    run(
        "import gc\n"
        "from facet import collector\n"
        "gc.freeze()\n"
        "count = gc.get_freeze_count()\n"
        "with collector.paused(): made = [[i] for i in range(1000)]\n"
        "assert gc.get_freeze_count() >= count > 0\n"
    )


def test_garbage_made_inside_a_pause_is_still_found():
    run(
        "import gc, weakref\n"
        "from facet import collector\n"
        "class Ring: pass\n"
        "with collector.paused():\n"
        "    ring = Ring(); ring.itself = ring; watch = weakref.ref(ring); del ring\n"
        "    gc.set_threshold(1, 1, 1); waste = [[i] for i in range(1000)]\n"
        "    assert watch() is not None, 'a search went on'\n"
        "gc.collect()\n"
        "assert watch() is None\n"
    )


def test_a_program_frees_its_imports_from_every_search():
    run(
        "import gc\n"
        "from facet import collector\n"
        "import facet.diffusion\n"
        "collector.freeze_imports()\n"
        "assert gc.get_freeze_count() > 300_000 and len(gc.get_objects()) < 1000\n"
    )
