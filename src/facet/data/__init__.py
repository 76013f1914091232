"""Data: raw layouts, faces, manifest, shards, expectations, drawn faces."""
