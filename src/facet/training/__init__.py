"""Training: one loop, one objective a model, checkpoints, alarms."""

from facet import collector
from facet.torchvision_ops import declare_missing

with collector.paused():
    # diffusers probes for torchvision, whose registry build can't load beside a CPU torch.
    declare_missing()
    from accelerate import Accelerator  # noqa: F401 - imported here, so that the modules below find it at no cost
