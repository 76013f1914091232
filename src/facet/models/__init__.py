"""The networks. All are diffusers ModelMixins: a config.json and a safetensors file, nothing that can run code."""

from facet.torchvision_ops import declare_missing

# transformers and diffusers probe for torchvision, whose registry build can't load beside a CPU torch.
declare_missing()
