"""Evaluation: features, distances, adherence, the record and the report."""

from facet.torchvision_ops import declare_missing

# diffusers probes for torchvision, whose registry build can't load beside a CPU torch.
declare_missing()
