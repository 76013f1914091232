"""Evaluation: features, distances, adherence, the record and the report.

Comparing two records needs no torch, so this file imports none: a module that needs torch-fidelity or diffusers calls
``declare_missing`` itself before it imports them.
"""
