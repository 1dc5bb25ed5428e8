"""Published figures for the sets of ``fossa_ros.evaluation.datasets``.

Source: the README of https://github.com/princeton-vl/FOSSA, its released checkpoints.
"""

from __future__ import annotations

_MAIN = ("delta_1.05", "delta_1.15", "delta_1.25", "abs_rel")
_DDFF = ("mse", "rmse", "abs_rel", "sq_rel", "delta_1.25", "delta_1.25^2", "delta_1.25^3")


def _table(names: tuple[str, ...], **rows: tuple[float, ...]) -> dict[str, dict[str, float]]:
    return {model.replace("_", " "): dict(zip(names, figures, strict=True)) for model, figures in rows.items()}


PUBLISHED = {
    "zedd": _table(_MAIN, vits=(0.4450, 0.7866, 0.8858, 0.0985), vitb=(0.4317, 0.8101, 0.9194, 0.0957)),
    "infinigen": _table(_MAIN, vits=(0.5201, 0.8635, 0.9400, 0.0847), vitb=(0.4199, 0.8199, 0.9355, 0.0908)),
    "ibims": _table(_MAIN, vits=(0.5193, 0.8502, 0.9540, 0.0745), vitb=(0.5548, 0.8719, 0.9633, 0.0701)),
    "diode": _table(_MAIN, vits=(0.4105, 0.6649, 0.7661, 0.1778), vitb=(0.4127, 0.6692, 0.7786, 0.1601)),
    "hammer": _table(_MAIN, vits=(0.6006, 0.9889, 0.9987, 0.0440), vitb=(0.9377, 0.9974, 0.9993, 0.0172)),
    "ddff12": _table(
        _DDFF,
        vits=(0.0015, 0.0352, 0.2676, 0.0119, 0.3462, 0.8119, 0.9544),
        vits_fine_tuned=(0.0004, 0.0183, 0.1076, 0.0045, 0.9363, 0.9829, 0.9908),
        vitb=(0.0013, 0.0324, 0.2105, 0.0107, 0.6075, 0.9206, 0.9679),
        vitb_fine_tuned=(0.0003, 0.0148, 0.1088, 0.0025, 0.9322, 0.9866, 0.9939),
    ),
}
CHECKPOINTS = {"vits": "fossa-vits", "vitb": "fossa-vitb"}  # of these figures, on the hub
