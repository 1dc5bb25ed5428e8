"""The protocol of the Optotune ICC-1C and ICC-4C in Simple Mode: ASCII lines that end with CR LF.

Sources: Optotune, "ICC-1C" and "ICC-4C" manuals, section Simple Mode, and programs of users. ``START`` must come first
and is answered by ``OK``; a set command is answered by ``OK``, a get command by a number, and a command that cannot be
executed by one of four words. Commands are not case-sensitive. Assumed from their use: ``OL`` and ``OU`` mean below and
above the range. Replies have no checksum, so that a reply is accepted only if it is exactly one of these.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

BAUD_RATE = 115200  # a USB CDC device: the rate has no effect
USB_ID = "0483:a31e"
LINE_END = b"\r\n"
LONGEST_LINE = 64  # bytes, line end included
OK = "OK"
REFUSALS = {
    "NO": "it cannot be done now",
    "OL": "the value is below the range",
    "OU": "the value is above the range",
    "ERROR": "the command is not understood",
}
MARGIN = 0.01  # dioptres to keep inside the range that the device reports
_NUMBER = re.compile(r"[+-]?\d{1,6}(\.\d{1,9})?")


class ReplyError(Exception):
    """Bytes that are not a reply of this protocol; the message says why."""


class Refusal(Exception):
    """The device refused a command; the message is the word that it answered."""


@dataclass(frozen=True)
class Query:
    """A command that is answered by a number."""

    word: str

    def encode(self) -> bytes:
        """Return the line as sent."""
        return self.word.encode() + LINE_END

    def decode(self, line: bytes) -> float:
        """Return the number of a received line; raises Refusal or ReplyError."""
        text = _text(line)
        if not _NUMBER.fullmatch(text):
            raise ReplyError("not a number")
        return float(text)


@dataclass(frozen=True)
class Order:
    """A command that is answered by OK.

    Attributes:
        word: the command; ends in ``=`` if it takes a value.
        decimals: of the value.
    """

    word: str
    decimals: int = 0

    def encode(self, *value: float) -> bytes:
        """Return the line as sent."""
        number = f"{value[0]:.{self.decimals}f}" if value else ""
        return self.word.encode() + number.encode() + LINE_END

    def decode(self, line: bytes) -> None:
        """Accept a received line; raises Refusal or ReplyError."""
        if _text(line) != OK:
            raise ReplyError("not OK")


def _text(line: bytes) -> str:
    if not line.endswith(LINE_END):
        raise ReplyError("no line end")
    try:
        text = line.removesuffix(LINE_END).decode("ascii")
    except UnicodeDecodeError:
        raise ReplyError("not ASCII") from None
    if text in REFUSALS:
        raise Refusal(text)
    return text


def number(text: str) -> float:
    """Return the value of a set command; raises ReplyError."""
    value = float(text) if _NUMBER.fullmatch(text) else math.nan
    if math.isnan(value):
        raise ReplyError("not a number")
    return value


START = Order("START")
LEAST_POWER = Query("GETFPMIN")  # D
GREATEST_POWER = Query("GETFPMAX")  # D
POWER = Query("GETFP")  # D
SET_POWER = Order("SETFP=", decimals=3)  # D
SET_CURRENT = Order("SETCURRENT=", decimals=3)  # mA
CURRENT = Query("GETCURRENT")  # mA
TEMPERATURE = Query("GETTEMP")  # degC
