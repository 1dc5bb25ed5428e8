"""A validation set from another renderer: focus stacks that Mitsuba path-traces through a thin lens.

A network that scores well on the renderers of training and simulator may have learnt the properties of those. These
scenes share no geometry, texture or blur model with them. They need the extra ``validation``:

    python -m fossa_ros.evaluation.path_traced --out validation
"""
