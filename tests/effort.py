"""How much is tried: few examples by default, many with `--hypothesis-profile=thorough`."""

from hypothesis import settings


def examples(thorough):
    """Try so many examples, where hypothesis itself tries a hundred; fewer where it tries fewer."""
    return settings(max_examples=thorough * settings().max_examples // 100)
