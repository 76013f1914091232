"""Registry: what is registered, under which digest, with which card and lineage."""
