"""LLVM code -> functions that Python calls. Calls do not hold the GIL.

What was compiled is kept in the user's cache directory, from which it is loaded in milliseconds.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import llvmlite
from llvmlite import binding, ir

from vggish_core.cache import CACHE_VARIABLE, cache_directory, keep
from vggish_core.codegen import registers, tile_products, vector_code
from vggish_core.codegen.registers import CPU_NAME_VARIABLE

Functions = Mapping[str, Callable[..., None]]
_KINDS = {"p": ctypes.c_void_p, "i": ctypes.c_int64}
_log = logging.getLogger(__name__)
_lock = threading.Lock()
_engines: list[Any] = []
"""Owners of the compiled code, for as long as the process lives."""


def function(module: ir.Module, name: str, arguments: Sequence[ir.Type]) -> tuple[ir.IRBuilder, Sequence[ir.Value]]:
    """Begins a function of pointers and `INDEX`es -> its builder, to end with `ret_void`, and its arguments."""
    started = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    return ir.IRBuilder(started.append_basic_block()), started.args


def compiled(build: Callable[[], ir.Module], version: str) -> Functions:
    """A module's functions by name, compiled now or at an earlier start. Pointers are passed as addresses.

    Args:
      build: makes the module.
      version: `version_of` what decides its content.
    """
    place = cache_directory() / "kernels" / f"{_key(version)}.o"
    with _lock:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        if (found := _read(place)) is None:
            found = compile_module(build())
            _keep(place, *found)
        return _loaded(*found)


def version_of(modules: Sequence[ModuleType], *others: object) -> str:
    """Stands for the text of modules that generate code, beside this package's own, and for what else decides it."""
    digest = hashlib.sha256(repr(others).encode())
    for module in (registers, vector_code, tile_products, *modules):
        digest.update(Path(module.__file__ or "").read_bytes())
    digest.update(Path(__file__).read_bytes())
    return digest.hexdigest()


def compile_module(module: ir.Module) -> tuple[dict[str, str], bytes]:
    """A module -> its functions' arguments by name, a letter each as in `_KINDS`, and object code."""
    module.triple = binding.get_process_triple()
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    functions = {
        found.name: "".join("p" if argument.is_pointer else "i" for argument in found.ftype.args)
        for found in module.functions
        if not found.is_declaration
    }
    return functions, _machine().emit_object(parsed)


def processor() -> tuple[str, str]:
    """LLVM's name of the processor that code is generated for, and its features; "" where the name says all."""
    if name := os.environ.get(CPU_NAME_VARIABLE):
        return name, ""
    return binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()


def _machine() -> binding.TargetMachine:
    name, features = processor()
    target = binding.Target.from_triple(binding.get_process_triple())
    return target.create_target_machine(cpu=name, features=features, opt=3, jit=True)


def _key(version: str) -> str:
    parts = (version, llvmlite.__version__, binding.get_process_triple(), *processor())
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:32]


def _loaded(functions: Mapping[str, str], code: bytes) -> Functions:
    empty = binding.parse_assembly(f'target triple = "{binding.get_process_triple()}"')
    engine = binding.create_mcjit_compiler(empty, _machine())
    engine.add_object_file(binding.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return {
        name: ctypes.CFUNCTYPE(None, *(_KINDS[kind] for kind in kinds))(engine.get_function_address(name))
        for name, kinds in functions.items()
    }


def _read(place: Path) -> tuple[dict[str, str], bytes] | None:
    """What was kept; None if it is not there, or damaged. Its sha256, a line of JSON, then object code."""
    try:
        sha256, content = place.read_bytes().split(b"\n", 1)
        if sha256.decode() != hashlib.sha256(content).hexdigest():
            return None
        functions, code = content.split(b"\n", 1)
        return json.loads(functions), code
    except (OSError, ValueError):
        return None


def _keep(place: Path, functions: Mapping[str, str], code: bytes) -> None:
    """Writes what `_read` reads, whole or not at all."""
    content = json.dumps(functions).encode() + b"\n" + code
    try:
        keep(place, hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    except OSError as error:
        _warn(str(error))


@lru_cache
def _warn(why: str) -> None:
    _log.warning(
        "compiled kernels cannot be kept for the next start (%s); set %s to a folder that can be written",
        why,
        CACHE_VARIABLE,
    )
