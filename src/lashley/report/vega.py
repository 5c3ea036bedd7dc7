"""Figures drawn without a browser and without a network: the one place that knows vl-convert."""

from __future__ import annotations

import atexit
import base64
import functools
import re
import subprocess
import sys
import textwrap
import threading
from contextlib import suppress
from typing import Any

import msgspec

from lashley.core.errors import LashleyError
from lashley.core.figure import Figure
from lashley.core.visible import everywhere
from lashley.report import renderer

SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
PATIENCE = 300.0  # seconds for one picture


_POWER = re.compile(" × 10([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)")
_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "−0123456789")


class Undrawn(LashleyError):
    """A figure that the renderer does not draw, or dies of."""


def clean(figure: Figure) -> Figure:
    """The figure with everything in it that is seen: some of what is not kills the renderer."""
    return msgspec.convert(everywhere(msgspec.to_builtins(figure)), Figure)


def standalone(figure: Figure) -> dict:
    """The spec with the title and the caption inside, for a file that travels alone."""
    figure = clean(figure)
    title, caption = (_POWER.sub(_exponent, words) for words in (figure.title, figure.caption))
    words = {
        "text": textwrap.wrap(title, 78),
        "subtitle": textwrap.wrap(caption, 104),
        "anchor": "start",
        "fontSize": 16,
        "subtitleFontSize": 12,
        "subtitleColor": "#5c636b",
        "subtitlePadding": 6,
        "subtitleLineHeight": 16,
        "offset": 16,
    }
    return {"$schema": SCHEMA, "description": figure.alt} | figure.spec | {"title": words}


def _exponent(power: re.Match[str]) -> str:
    """A power of ten as the fonts of pictures have it: they lack raised digits, and set the whole line in another."""
    return f"e{power[1].translate(_DIGITS)}"


def svg(figure: Figure) -> str:
    """The picture alone; its title and caption are the page's. Raises `Undrawn`."""
    return _drawn(figure, {"format": "svg", "spec": clean(figure).spec}).decode()


def png(figure: Figure, scale: float = 2.0) -> bytes:
    """The picture with title and caption, at twice the size of the screen. Raises `Undrawn`."""
    return _drawn(figure, {"format": "png", "spec": standalone(figure), "scale": scale})


def _drawn(figure: Figure, asked: dict[str, Any]) -> bytes:
    """The picture without its words for screen readers (the page has them), in which Vega takes a backslash for the
    beginning of a character that may be none. Where the renderer cuts a label in the midst of a character beyond
    U+FFFF, and fails at what is left, those are spelt out."""
    asked["spec"] |= {"config": asked["spec"].get("config", {}) | {"aria": False}}
    try:
        return _renderer().drawn(figure.name, asked)
    except Undrawn:
        spelt = everywhere(asked, lambda text: _BEYOND.sub(lambda c: f"<U+{ord(c[0]):X}>", text))
        if spelt == asked:
            raise
        return _renderer().drawn(figure.name, spelt)


_BEYOND = re.compile("[\U00010000-\U0010ffff]")


class _Renderer:
    """A process that draws, begun again where it died."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.one = threading.Lock()

    def drawn(self, name: str, asked: dict[str, Any]) -> bytes:
        with self.one:
            try:
                answer = self._answer(msgspec.json.encode(asked))
            except BaseException:  # also where nobody waits any longer: the next answer would be this one's
                self.end()
                raise
            if not answer.endswith(b"\n"):
                raise Undrawn(f"the figure {name!r} could not be drawn: the renderer ended ({self.end()})")
        found = msgspec.json.decode(answer)
        if "error" in found:
            raise Undrawn(f"the figure {name!r} could not be drawn: {' '.join(found['error'].split())[:300]}")
        return base64.b64decode(found["data"])

    def _answer(self, asked: bytes) -> bytes:
        """A line, or what there was of it when the process ended."""
        if self.process is None:
            command = [sys.executable, "-P", renderer.__file__]
            pipe = subprocess.PIPE
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL)
        process = self.process
        assert process.stdin and process.stdout
        timer = threading.Timer(PATIENCE, process.kill)
        timer.daemon = True
        timer.start()
        try:
            process.stdin.write(asked + b"\n")
            process.stdin.flush()
            return process.stdout.readline()
        except BrokenPipeError:
            return b""
        finally:
            timer.cancel()

    def end(self) -> str:
        """Stop the process; how it ended."""
        process, self.process = self.process, None
        if process is None:
            return "it had not begun"
        assert process.stdin and process.stdout
        with suppress(BrokenPipeError):
            process.stdin.close()  # nobody asks any longer
        try:
            code = process.wait(5)  # it may be dying by itself
        except subprocess.TimeoutExpired:
            process.kill()
            code = process.wait()
        process.stdout.close()
        return f"signal {-code}" if code < 0 else f"exit code {code}"


@functools.cache
def _renderer() -> _Renderer:
    found = _Renderer()
    atexit.register(found.end)
    return found


@functools.cache
def script() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script that defines `vegaEmbed` (about 0.9 MB)."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")
