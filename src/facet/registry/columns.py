"""The columns of every registered model's requests beside its attributes; an attribute must not be named like one."""

TEXTS, PICTURES = ("prompt", "negative_prompt"), ("image", "mask")
