"""LLVM code -> functions that Python calls, compiled where they are needed: a tenth of a second for the front end's.

Decoder processes need a few small loops and nothing else of Numba, whose import alone takes four times as long.
Calls do not hold the GIL.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from llvmlite import binding, ir

from vggish_core.codegen.vector_code import CPU_NAME_VARIABLE

_lock = threading.Lock()
_engines: list[Any] = []
"""Owners of the compiled code, for as long as the process lives."""


def function(module: ir.Module, name: str, arguments: Sequence[ir.Type]) -> tuple[ir.IRBuilder, Sequence[ir.Value]]:
    """Begins a function of pointers and `INDEX`es -> its builder, to end with `ret_void`, and its arguments."""
    started = ir.Function(module, ir.FunctionType(ir.VoidType(), arguments), name)
    return ir.IRBuilder(started.append_basic_block()), started.args


def compile_module(module: ir.Module) -> Mapping[str, Callable[..., None]]:
    """A module -> its functions by name. Pointers are passed as addresses."""
    with _lock:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        engine = binding.create_mcjit_compiler(_parsed(module), _machine())
        engine.finalize_object()
        _engines.append(engine)
        return {
            found.name: _callable(engine.get_function_address(found.name), found.ftype)
            for found in module.functions
            if not found.is_declaration
        }


def _parsed(module: ir.Module) -> binding.ModuleRef:
    module.triple = binding.get_process_triple()
    parsed = binding.parse_assembly(str(module))
    parsed.verify()
    return parsed


def _machine() -> binding.TargetMachine:
    name = os.environ.get(CPU_NAME_VARIABLE)
    features = "" if name else binding.get_host_cpu_features().flatten()
    target = binding.Target.from_triple(binding.get_process_triple())
    return target.create_target_machine(cpu=name or binding.get_host_cpu_name(), features=features, opt=3, jit=True)


def _callable(address: int, kind: ir.FunctionType) -> Callable[..., None]:
    arguments = (ctypes.c_void_p if argument.is_pointer else ctypes.c_int64 for argument in kind.args)
    return ctypes.CFUNCTYPE(None, *arguments)(address)
