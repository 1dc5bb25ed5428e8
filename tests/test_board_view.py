"""The page beside the board: what it shows, and that no browser can hold up a calibration."""

from __future__ import annotations

import json
import socket
import threading
from dataclasses import replace
from http.client import HTTPConnection
from urllib.request import urlopen

import cv2
import numpy as np
import pytest

from board_sweeps import BOARD, CAMERA, COMMANDS, LENS, PLACES
from fossa_ros.calibration.board import session_page, session_view
from fossa_ros.calibration.board.detection import BoardFinder
from fossa_ros.calibration.board.observation import SweepObservation, observe
from fossa_ros.calibration.board.session_page import MOST_CONNECTIONS, SessionPage
from fossa_ros.calibration.board.session_view import SessionView, session_picture
from fossa_ros.simulation.board_rig import BoardRig, facing


@pytest.fixture(scope="module")
def rig() -> BoardRig:
    return BoardRig(LENS, BOARD, seed=3)


@pytest.fixture(scope="module")
def image(rig) -> np.ndarray:
    return rig.image(facing(rig, *PLACES[2]), 1 / PLACES[2][0])


@pytest.fixture(scope="module")
def sweep(rig) -> SweepObservation:
    seen = observe(rig.sweep(facing(rig, *PLACES[3]), COMMANDS[4:12]), BOARD, "sweep 1")
    assert seen is not None
    return seen


@pytest.fixture
def view() -> SessionView:
    return SessionView(6)


@pytest.fixture
def page(view):
    opened = SessionPage(view)
    yield opened
    opened.close()


def got(page: SessionPage, path: str) -> bytes:
    with urlopen(page.address + path, timeout=20) as reply:
        return reply.read()


def test_a_browser_gets_what_the_procedure_says(view, page, image, sweep):
    assert "<title>Calibration with a board</title>" in got(page, "").decode()
    view.ask("Place 2 of 6: press Enter.", ["a nearer board", "the board in the top left of the image"])
    view.show(image)
    view.add(sweep, BOARD)
    state = json.loads(got(page, "state.json"))
    assert state["ask"] == "Place 2 of 6: press Enter."
    assert state["missing"] == ["a nearer board", "the board in the top left of the image"]
    assert (state["seen"], state["places"], state["frames"]) == (1, 6, 0)
    view.begin("Let nothing move.", 29)
    view.advance()
    view.remark("The board was not found there.")
    state = json.loads(got(page, "state.json"))
    assert (state["ask"], state["frame"], state["frames"]) == ("Let nothing move.", 1, 29)
    assert state["remark"] == "The board was not found there."
    picture = cv2.imdecode(np.frombuffer(got(page, "view.jpg?1"), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (CAMERA.height, 2 * CAMERA.width, 3)


def test_the_picture_shows_corners_and_what_is_covered(image, sweep):
    finder = BoardFinder(BOARD)
    corners = finder.find(image).pixels
    places = sweep.places.copy()
    places[0] = 12, 20
    sweep = replace(sweep, places=places)
    picture = session_picture(image, [sweep], finder)
    left, right = np.hsplit(picture.astype(int), 2)
    coloured = np.ptp(left, axis=2) > 60
    rows, columns = np.nonzero(coloured[30:])
    marked = np.column_stack([columns, rows + 30])
    near = np.array([np.hypot(*(corners - place).T).min() for place in marked])
    assert near.max() < 7.5
    assert all(np.hypot(*(marked - corner).T).min() < 6 for corner in corners if corner[1] > 40)
    x, y = np.rint(places[len(places) // 2]).astype(int)
    assert right[y, x, 0] > right[y, x, 2] + 15
    for low, far in session_view.QUARTERS:
        line = right[low * (CAMERA.height - 1), far * (CAMERA.width - 1)]
        assert (line[1] > line[2]) == ((low, far) == (0, 0))


def test_before_the_first_image_there_is_no_picture_and_a_large_one_is_shown_smaller(view, page):
    with pytest.raises(OSError, match="404"):
        got(page, "view.jpg")
    with pytest.raises(OSError, match="404"):
        got(page, "lens.yaml")
    view.show(np.zeros((1500, 2000), np.uint8))
    picture = cv2.imdecode(np.frombuffer(got(page, "view.jpg"), np.uint8), cv2.IMREAD_COLOR)
    assert picture.shape == (960, 2 * 1280, 3)


def test_browsers_that_hang_hold_up_neither_the_procedure_nor_other_browsers(view, page, image, monkeypatch):
    monkeypatch.setattr(session_page._Handler, "timeout", 0.5)
    view.show(image)
    place = page.address.removeprefix("http://").rstrip("/").split(":")
    silent = [socket.create_connection((place[0], int(place[1]))) for _ in range(3 * MOST_CONNECTIONS)]
    deaf = HTTPConnection(*place)
    deaf.request("GET", "/view.jpg")  # never read
    for number in range(100):
        view.show(image)
        view.advance()
        assert view.status()["frame"] == number + 1
    for each in silent[: 2 * MOST_CONNECTIONS]:
        each.settimeout(20)
        assert each.recv(1) == b""  # closed by the page: at once, or when it said nothing for too long
    assert json.loads(got(page, "state.json"))["frame"] == 100
    for each in (*silent, deaf):
        each.close()


def test_many_tabs_share_one_picture_and_nothing_waits_for_it(view, image, monkeypatch):
    begun, go_on, drawn = threading.Event(), threading.Event(), []

    def slow(*arguments):
        drawn.append(arguments)
        begun.set()
        assert go_on.wait(20)
        return np.zeros((8, 8, 3), np.uint8)

    monkeypatch.setattr(session_view, "session_picture", slow)
    monkeypatch.setattr(session_view, "_PATIENCE_S", 0.05)
    view.show(image)
    first = threading.Thread(target=view.picture)
    first.start()
    assert begun.wait(20)
    assert view.picture() is None  # another thread draws the first one
    view.show(image)
    assert view.status()["image"] == 2
    go_on.set()
    first.join()
    monkeypatch.setattr(session_view, "_PERIOD_S", 1000.0)
    assert {view.picture() for _ in range(10)} == {view.picture()}
    assert len(drawn) == 1


def test_a_port_in_use_gives_another(view):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        page = SessionPage(view, port)
        try:
            assert f":{port}/" not in page.address
            assert page.remark == (
                f"The live view is at {page.address}, as port {port} cannot be used (address already in use)."
            )
            assert json.loads(got(page, "state.json"))["places"] == 6
        finally:
            page.close()
    again = SessionPage(view, port)
    assert again.remark == f"The live view is at http://127.0.0.1:{port}/."
    again.close()


def test_a_page_is_for_this_machine_and_ends(view, page):
    host, port = page.address.removeprefix("http://").rstrip("/").split(":")
    asked = HTTPConnection(host, int(port), timeout=20)
    asked.request("GET", "/state.json", headers={"Host": "elsewhere.example"})
    assert asked.getresponse().status == 403
    other = SessionPage(view)

    def pages() -> int:
        return sum(thread.name == "live view" for thread in threading.enumerate())

    before = pages()
    other.close()
    assert pages() == before - 1
    with pytest.raises(OSError):
        got(other, "state.json")
