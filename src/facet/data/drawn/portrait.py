"""A whole drawing, from back to front."""

from __future__ import annotations

from PIL import Image

from facet.data.drawn import accessories, backdrop, beard, eyes, face, hair, mouth
from facet.data.drawn.person import Person
from facet.data.drawn.scene import Scene


def draw_face(person: Person) -> Image.Image:
    """The portrait of ``person``: RGB, 178 x 218 pixels, laid out like CelebA's aligned and cropped pictures."""
    scene = Scene(person)
    backdrop.draw_backdrop(scene)
    hair.draw_hair_behind(scene)
    backdrop.draw_neck(scene)
    backdrop.draw_clothes(scene)
    face.draw_ears(scene)
    face.draw_head(scene)
    face.draw_cheeks(scene)
    face.draw_age(scene)
    face.draw_nose(scene)
    beard.draw_beard(scene)
    mouth.draw_mouth(scene)
    beard.draw_mustache(scene)
    eyes.draw_eyes(scene)
    hair.draw_hair(scene)
    eyes.draw_brows(scene)
    accessories.draw_hat(scene)
    accessories.draw_glasses(scene)
    accessories.draw_earrings(scene)
    return scene.canvas.image()
