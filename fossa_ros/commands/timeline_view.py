"""The timeline of a sweep in a terminal."""

from __future__ import annotations

from rich.text import Text

from fossa_ros.sweep.planner import MS, Command, Timeline

LABEL = 12  # columns before the timeline
LEGEND = "Lens: ~ moving, = settled.  Exposures: # used, - not used."


def printed(found: Timeline, width: int) -> Text:
    """Return rows for planes, camera and time, with a common time axis, and a legend.

    The row of a plane shows the lens (``~`` moving there, ``=`` settled); that of the camera shows exposures (``#``
    used, ``-`` not used).
    """
    columns = max(width - LABEL - 1, 40)
    scale = columns / found.length_ns

    def column(t_ns: int) -> int:
        return min(max(int(t_ns * scale), 0), columns - 1)

    text = Text()
    for slot, distance in enumerate(found.plan.focus_distances):
        row = [" "] * columns
        for command, following in _holds(found, slot):
            end = following.sent_ns if following is not None else found.length_ns
            _fill(row, column(command.acknowledged_ns), column(end), "=")
            _fill(row, column(command.sent_ns), column(min(command.settled_ns, end)), "~")
        for exposure in found.exposures:
            if exposure.slot == slot:
                _fill(row, column(exposure.start_ns), column(exposure.end_ns), "#")
        text.append(f"{f'{distance:.2f} m':>{LABEL - 2}}  ")
        for mark in row:
            text.append(mark, {"#": "bold green", "~": "yellow", "=": "cyan"}.get(mark, ""))
        text.append("\n")
    row = [" "] * columns
    for exposure in found.exposures:
        _fill(row, column(exposure.start_ns), column(exposure.end_ns), "-" if exposure.slot is None else "#")
    text.append(f"{'camera':>{LABEL - 2}}  ")
    text.append("".join(row) + "\n", "green")
    ticks = [" "] * columns
    step = _tick(found.length_ns / MS / 6)
    for index in range(int(found.length_ns / MS / step) + 1):
        label, place = f"{index * step:g}", column(round(index * step * MS))
        if place + len(label) <= columns:
            ticks[place : place + len(label)] = label
    text.append(f"{'ms':>{LABEL - 2}}  " + "".join(ticks).rstrip() + "\n")
    text.append(LEGEND + "\n")
    return text


def _holds(found: Timeline, slot: int) -> list[tuple[Command, Command | None]]:
    """Return the commands to a plane, each with the next command."""
    target = 1.0 / found.plan.focus_distances[slot]
    following = [*found.commands[1:], None]
    return [pair for pair in zip(found.commands, following, strict=True) if abs(pair[0].power - target) < 0.02]


def _fill(row: list[str], start: int, end: int, mark: str) -> None:
    for index in range(start, max(end, start + 1)):
        row[index] = mark


def _tick(least: float) -> float:
    """Return a round number of milliseconds not below ``least``."""
    size = 1.0
    while True:
        for factor in (1, 2, 5):
            if size * factor >= least:
                return size * factor
        size *= 10
