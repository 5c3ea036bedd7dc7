"""The renderer, in a process of its own: it aborts at some input, and must not take a study's report with it.

Reads a line of JSON a figure, {"format": ..., "spec": ..., "scale": ...}, and answers each with a line, {"data": ...}
(base64) or {"error": ...}. It ends when nobody asks any longer.
"""

from __future__ import annotations

import base64
import json
import os
import signal
import sys


def serve() -> None:
    import vl_convert

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever asks
    answers = os.fdopen(os.dup(1), "w", encoding="ascii")
    os.dup2(2, 1)  # nothing else is said there
    for line in sys.stdin.buffer:
        asked = json.loads(line)
        try:
            if asked["format"] == "svg":
                data = vl_convert.vegalite_to_svg(asked["spec"], allowed_base_urls=[]).encode()
            else:
                data = vl_convert.vegalite_to_png(asked["spec"], scale=asked["scale"], allowed_base_urls=[])
            answer = {"data": base64.b64encode(data).decode()}
        except Exception as e:
            answer = {"error": str(e) or type(e).__name__}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
