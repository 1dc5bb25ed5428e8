"""A validation set from another renderer: focus stacks that Mitsuba path-traces through a thin lens.

Training and the simulator have renderers of their own; a network that is good on their images may have learned their
habits. These scenes share neither geometry, textures nor the way blur comes about. They need the extra ``validation``:

    python -m fossa_ros.evaluation.path_traced --out validation
"""
