"""facet: from raw face photographs and an attribute table to a registered, promotable face generator."""
