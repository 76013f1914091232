"""Tracking: a log in files, and an idempotent copy of it in MLflow."""
