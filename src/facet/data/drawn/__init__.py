"""Faces drawn by rule, in CelebA's layout: a data set that is nobody's portrait and small enough to ship.

The chain from photographs to a registered model runs on it offline. About twenty of CelebA's attributes are drawn so
that they can be seen in a 64 pixel crop; a label says what is on the picture, never what might be under a hat.
"""

from facet.data.drawn.dataset import write_drawn_set
from facet.data.drawn.person import DRAWN_ATTRIBUTES, Person, sample_person
from facet.data.drawn.portrait import draw_face

__all__ = ["DRAWN_ATTRIBUTES", "Person", "draw_face", "sample_person", "write_drawn_set"]
