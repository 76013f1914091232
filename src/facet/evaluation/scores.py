"""The headline numbers of the report: each with its bound, its interval, what it means and where it comes from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any


def percent(share: float | None) -> str:
    """0.9659 as "96.6%"; a dash for what nobody asked for."""
    return "–" if share is None else f"{100 * share:.1f}%"


def spaced(name: str) -> str:
    """``Mouth_Slightly_Open`` as a reader would write it."""
    return name.replace("_", " ")


def decibels(value: float) -> str:
    """23.456 as "23.5 dB"."""
    return f"{value:.1f} dB"


def three(value: float) -> str:
    """0.123456 as "0.123"."""
    return f"{value:.3g}"


@dataclasses.dataclass(frozen=True)
class Score:
    """One headline number, what to hold it against, what it means and where it comes from.

    ``path`` is its place in the record, ``show`` writes any value of it. ``bar`` and ``tick``, both in 0..1, draw the
    number beside its bound; ``interval`` and ``whisker`` say and draw, on the same scale, between what values it is
    believed to lie.
    """

    name: str
    path: str
    value: str
    against: str
    meaning: str
    source: str
    bar: float | None = None
    tick: float | None = None
    interval: str = ""
    whisker: tuple[float, float] | None = None
    show: Callable[[float], str] = percent
    higher_is_better: bool = True

    def change(self, *differences: float) -> str:
        """Differences of two such scores, signed, from one to the next: "-0.1 to +1.2 points" of a share."""
        if self.show is percent:
            return " to ".join(f"{100 * difference:+.1f}" for difference in differences) + " points"
        return " to ".join(f"{difference:+.3g}" for difference in differences) + (
            " dB" if self.show is decibels else ""
        )


def headline(record: Mapping[str, Any]) -> str:
    fidelity, adherence = record["fidelity"]["judge"], record["adherence"]
    return (
        f"Of the attributes asked for, {percent(adherence['mean'])} are in the picture; real faces and the judge allow "
        f"{percent(adherence['judge_on_real'])}. The faces as a set lie {fidelity['frechet_over_floor']:.2f} times as "
        "far from the real ones as other real faces do."
    )


def scores(record: Mapping[str, Any]) -> list[Score]:
    found = [*_adherence_scores(record), *_fidelity_scores(record), *_autoencoder_scores(record)]
    found += [_further_score(record, name) for name in record["fidelity"] if name != "judge"]
    if "precision" in record["fidelity"]["judge"]:
        found += _overlap_scores(record)
    if "memorisation" in record:
        found.append(_copying_score(record))
    return found


def interval_of(record: Mapping[str, Any], path: str) -> tuple[float, float] | None:
    """(low, high) of the score at ``path``, such as "adherence.mean", where the record has its interval."""
    found = record.get("intervals", {}).get(path)
    return None if found is None else (float(found[0]), float(found[1]))


def _interval(record: Mapping[str, Any], path: str, show: Callable[[float], str], most: float = 1.0) -> dict[str, Any]:
    found = interval_of(record, path)
    if found is None:
        return {}
    low, high = (min(1.0, max(0.0, end / most)) for end in found)
    return {"interval": f"{show(found[0])} to {show(found[1])}", "whisker": (low, high)}


def _most(record: Mapping[str, Any], path: str, *values: float) -> float:
    """The end of a bar's scale: a little more than the number, its bound and its interval."""
    return 1.1 * max(*values, *(interval_of(record, path) or ()), 1e-12)


def _adherence_scores(record: Mapping[str, Any]) -> list[Score]:
    rates = record["adherence"]
    return [
        Score(
            name="Adherence",
            path="adherence.mean",
            value=percent(rates["mean"]),
            against=f"ceiling {percent(rates['judge_on_real'])}",
            meaning=f"How often the judge sees what was asked, present or absent, as a mean over "
            f"{len(rates['attributes'])} attributes. The ceiling is how often it agrees with the labels of held-out "
            "real faces.",
            source="Classifier accuracy on generated faces, as in AttGAN (He et al., 2019)",
            bar=rates["mean"],
            tick=rates["judge_on_real"],
            **_interval(record, "adherence.mean", percent),
        ),
        Score(
            name="Adherence, balanced",
            path="adherence.balanced",
            value=percent(rates["balanced"]),
            against=f"ceiling {percent(rates['judge_on_real_balanced'])}",
            meaning="The same with present and absent weighing alike, so that never drawing a rare attribute costs "
            "half of its score.",
            source="Balanced accuracy (Brodersen et al., 2010)",
            bar=rates["balanced"],
            tick=rates["judge_on_real_balanced"],
            **_interval(record, "adherence.balanced", percent),
        ),
    ]


def _fidelity_scores(record: Mapping[str, Any]) -> list[Score]:
    scores, protocol = record["fidelity"]["judge"], record["protocol"]
    most = _most(record, "fidelity.judge.frechet", scores["frechet"], scores["frechet_floor"])
    most_kid = _most(record, "fidelity.judge.kid_mean", scores["kid_mean"], scores["kid_floor"])
    return [
        Score(
            name="Fréchet distance",
            path="fidelity.judge.frechet",
            value=three(scores["frechet"]),
            against=f"floor {scores['frechet_floor']:.3g}; at its N {scores['frechet_over_floor']:.2f} ×",
            meaning="Distance between the drawn and the real faces as two Gaussians in the judge's features; lower is "
            f"better. The floor is that of {protocol['floor_faces']:,} other real faces.",
            show=three,
            higher_is_better=False,
            source="FID (Heusel et al., 2017), in other features; falls as 1/N (Chong & Forsyth, 2020)",
            bar=scores["frechet"] / most,
            tick=scores["frechet_floor"] / most,
            **_interval(record, "fidelity.judge.frechet", three, most),
        ),
        Score(
            name="Kernel distance",
            path="fidelity.judge.kid_mean",
            value=three(scores["kid_mean"]),
            against=f"± {scores['kid_std']:.2g}, floor {scores['kid_floor']:.3g}",
            meaning="The same question without assuming Gaussians and without a bias from N: mean and deviation over "
            "random subsets; lower is better.",
            show=three,
            higher_is_better=False,
            source="KID (Bińkowski et al., 2018)",
            bar=max(0.0, scores["kid_mean"]) / most_kid,
            tick=max(0.0, scores["kid_floor"]) / most_kid,
            **_interval(record, "fidelity.judge.kid_mean", three, most_kid),
        ),
    ]


def _overlap_scores(record: Mapping[str, Any]) -> list[Score]:
    scores = record["fidelity"]["judge"]
    meanings = {
        "precision": "Drawn faces that lie among the real ones, as near as these lie to each other: is what is drawn "
        "believable?",
        "recall": "Real faces that lie among the drawn ones: is all that is real drawn as well?",
    }
    return [
        Score(
            name=name.capitalize(),
            path=f"fidelity.judge.{name}",
            value=percent(scores[name]),
            against=f"other real faces {percent(scores[f'{name}_floor'])}",
            meaning=meaning,
            source="Kynkäänniemi et al. (2019), in the judge's features",
            bar=scores[name],
            tick=scores[f"{name}_floor"],
            **_interval(record, f"fidelity.judge.{name}", percent),
        )
        for name, meaning in meanings.items()
    ]


def _autoencoder_scores(record: Mapping[str, Any]) -> list[Score]:
    scores, distance = record["autoencoder"], record["fidelity"]["judge"]["frechet"]
    return [
        Score(
            name="Autoencoder, PSNR",
            path="autoencoder.psnr_db",
            value=decibels(scores["psnr_db"]),
            against=f"SSIM {scores['ssim']:.3f}" + (f", MS-SSIM {scores['msssim']:.3f}" if "msssim" in scores else ""),
            meaning=f"How closely {scores['faces']:,} held-out faces come back from the latents: pixel by pixel, in "
            "fine structure, and in structure at several scales. Every drawn face passes through the same decoder.",
            show=decibels,
            source="SSIM (Wang et al., 2004); MS-SSIM (Wang et al., 2003) at as many of its five scales as fit",
            **_interval(record, "autoencoder.ssim", three),
            bar=scores["ssim"],
        ),
        Score(
            name="Autoencoder, Fréchet",
            path="autoencoder.rfd",
            value=three(scores["rfd"]),
            against=f"{percent(scores['rfd'] / distance)} of the model's distance" if distance > 0 else "",
            meaning="The Fréchet distance of these reconstructions to their originals: the part that is lost before "
            "any diffusion takes place; lower is better.",
            show=three,
            higher_is_better=False,
            source="Reconstruction FID (Rombach et al., 2022), in the judge's features",
            bar=min(1.0, scores["rfd"] / distance) if distance > 0 else 1.0,
            **_interval(record, "autoencoder.rfd", three, distance if distance > 0 else 1.0),
        ),
    ]


def _further_score(record: Mapping[str, Any], name: str) -> Score:
    """The distance in a feature space beside the judge's."""
    scores, path = record["fidelity"][name], f"fidelity.{name}.frechet"
    floor = scores.get("frechet_floor", 0.0)
    most = _most(record, path, scores["frechet"], floor)
    where = "an Inception-v3 trained on ImageNet" if "inception" in name else name
    bound = f"floor {floor:.3g}, " if floor else ""
    return Score(
        name="FID, Inception" if "inception" in name else f"Fréchet, {name}",
        path=path,
        value=three(scores["frechet"]),
        against=f"{bound}KID {scores['kid_mean']:.3g} ± {scores['kid_std']:.2g}",
        meaning=f"The distance in the features of {where}; comparable with a published one only where these are its "
        "features, and at the same N, crop and resizing.",
        show=three,
        higher_is_better=False,
        source=f"Heusel et al., 2017; weights {scores['weights_sha256'][:12]}",
        bar=scores["frechet"] / most,
        tick=floor / most if floor else None,
        **_interval(record, path, three, most),
    )


def _copying_score(record: Mapping[str, Any]) -> Score:
    share = record["memorisation"]["judge"]["share"]
    most = _most(record, "memorisation.judge.share", share, 0.05)
    return Score(
        name="Nearer than chance",
        path="memorisation.judge.share",
        value=percent(share),
        against="1.0% of real faces are",
        meaning="Samples that lie nearer to a training face than all but the nearest hundredth of held-out faces do, "
        "in the judge's features. Far above 1% the model copies.",
        higher_is_better=False,
        source="After the test for data-copying of Meehan et al. (2020)",
        bar=share / most,
        tick=0.01 / most,
        **_interval(record, "memorisation.judge.share", percent, most),
    )
