"""Settings of the classical estimator."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClassicalConfig:
    """Settings of the classical estimator; pixels are those of half the processing resolution.

    Attributes:
        width: images wider than this are processed at this width (px).
        levels: depth hypotheses, evenly spaced in dioptres.
        margin: largest distance of depth beyond the nearest and the farthest plane, in mean plane spacings.
        near_share: share of the planes' range (D) by which depth may be nearer than the nearest plane, if that is more:
            a foreground that is sharp in no plane is common, and the blur of all planes tells how near it is.
        window: standard deviation (px) of the window over which texture is pooled.
        model_error: expected error of the blur model as a share of the texture's amplitude.
        slope: typical depth difference between neighbouring pixels of one surface (D).
        edge: contrast between neighbours (grey levels) above which there is an edge of the scene, not texture.
        jump: strength of the coupling of neighbours across such an edge, 0..1.
        step: difference between neighbours (D) above which there is a depth edge, not a slope.
        reach: distance over which depth is extended into regions without texture (px); NaN beyond 1.6 times that.
        min_confidence: depth with a lower confidence is NaN as well, 0..1.
    """

    width: int = 640
    levels: int = 60
    margin: float = 0.5
    near_share: float = 0.6
    window: float = 0.8
    model_error: float = 0.1
    slope: float = 0.004
    edge: float = 16.0
    jump: float = 0.01
    step: float = 0.03
    reach: float = 60.0
    min_confidence: float = 0.0
