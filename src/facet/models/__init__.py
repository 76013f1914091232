"""The networks. All are diffusers ModelMixins: a config.json and a safetensors file, nothing that can run code."""

from facet import collector
from facet.torchvision_ops import declare_missing

with collector.paused():
    # transformers and diffusers probe for torchvision, whose registry build can't load beside a CPU torch.
    declare_missing()
    from diffusers import ModelMixin  # noqa: F401 - imported here, so that the modules below find it at no cost
