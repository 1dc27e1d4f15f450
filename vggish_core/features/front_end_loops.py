"""The loops of `products` as LLVM code."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from llvmlite import ir

from vggish_core.codegen import machine_code
from vggish_core.codegen.machine_code import Functions
from vggish_core.codegen.registers import RegisterTile
from vggish_core.codegen.tile_products import Rows, multiply_rows
from vggish_core.codegen.vector_code import DOUBLE, FLOAT, INDEX, Vector, VectorCode, index, lane, lanes_in_order
from vggish_core.features import tiling
from vggish_core.features.tiling import CACHE_LINE, FRAMES


def compiled_for(tile: RegisterTile) -> Functions:
    """The loops as registers of this kind are used best; the bits of their results are the same for all kinds."""
    version = machine_code.version_of([sys.modules[__name__], tiling], tile)
    return machine_code.compiled(lambda: _module(tile), version)


def _module(tile: RegisterTile) -> ir.Module:
    module = ir.Module("front_end")
    _write_multiply_windows(module, "multiply_windows_float32", tile, FLOAT)
    _write_multiply_windows(module, "multiply_windows_float64", tile, DOUBLE)
    _write_mel_bands(module, tile)
    return module


def _write_multiply_windows(module: ir.Module, name: str, tile: RegisterTile, element: ir.Type) -> None:
    size = 4 if element == FLOAT else 8
    width = CACHE_LINE // size
    lanes = tile.lanes * 4 // size
    vectors = min(tile.vectors, width // lanes)
    pointer = element.as_pointer()
    builder, arguments = machine_code.function(
        module, name, [pointer, INDEX.as_pointer(), pointer, pointer, *[INDEX] * 5]
    )
    samples, starts, factors, out, groups, rows, apart, count, depth = arguments
    code = VectorCode(builder, lanes, element)
    out_row = builder.mul(groups, index(width))

    def multiply(height: int, first: ir.Value, factor: ir.Value, target: ir.Value, row: ir.Value) -> None:
        windows = Rows(builder.gep(first, [builder.mul(row, apart)]), apart)
        products = builder.gep(target, [builder.mul(row, out_row)])
        for column in range(0, width, vectors * lanes):
            panel = Rows(builder.gep(factor, [index(column)]), index(width))
            part = Rows(builder.gep(products, [index(column)]), out_row)
            multiply_rows(code, (height, vectors), windows, panel, part, depth, ir.Constant(ir.IntType(1), 0))

    def group(number: ir.Value, _: Sequence[Vector]) -> Sequence[Vector]:
        first = builder.gep(samples, [builder.load(builder.gep(starts, [number]))])
        factor = builder.gep(factors, [builder.mul(builder.srem(number, count), builder.mul(depth, index(width)))])
        target = builder.gep(out, [builder.mul(number, index(width))])
        tiles = builder.sdiv(rows, index(tile.rows))
        whole = builder.mul(tiles, index(tile.rows))

        def of_tile(number: ir.Value, _: Sequence[Vector]) -> Sequence[Vector]:
            multiply(tile.rows, first, factor, target, builder.mul(number, index(tile.rows)))
            return []

        def of_row(number: ir.Value, _: Sequence[Vector]) -> Sequence[Vector]:
            multiply(1, first, factor, target, builder.add(whole, number))
            return []

        code.loop(tiles, of_tile)
        code.loop(builder.sub(rows, whole), of_row)
        return []

    code.loop(groups, group)
    builder.ret_void()


def _write_mel_bands(module: ir.Module, tile: RegisterTile) -> None:
    floats, doubles, indices = FLOAT.as_pointer(), DOUBLE.as_pointer(), INDEX.as_pointer()
    builder, arguments = machine_code.function(
        module, "mel_bands", [doubles, floats, indices, floats, floats, *[INDEX] * 4]
    )
    spectra, magnitudes, table, weights, sums, rows, row, bins, bands = arguments
    wide = VectorCode(builder, tile.lanes // 2, DOUBLE)
    code = VectorCode(builder, tile.lanes)

    def frame(number: ir.Value, _: Sequence[Vector]) -> Sequence[Vector]:
        spectrum = builder.gep(spectra, [builder.mul(number, row)])

        def several(part: ir.Value, _: Sequence[Vector]) -> Sequence[Vector]:
            first = builder.mul(part, index(wide.lanes))
            start = builder.mul(first, index(2))
            halves = [wide.load(spectrum, code.position(start, (i, index(wide.lanes)))) for i in range(2)]
            for place, magnitude in _magnitudes(builder, halves):
                at = builder.mul(builder.add(first, index(place)), index(FRAMES))
                builder.store(magnitude, builder.gep(magnitudes, [builder.add(at, number)]))
            return []

        wide.loop(builder.sdiv(bins, index(wide.lanes)), several)
        return []

    def band(number: ir.Value, _: Sequence[Vector]) -> Sequence[Vector]:
        entries = [builder.gep(table, [code.position(index(i), (3, number))]) for i in range(3)]
        first, length, place = (builder.load(entry) for entry in entries)
        of_band = builder.gep(weights, [place])
        together = tile.rows * tile.vectors * tile.lanes
        for start in range(0, FRAMES, together):
            lanes = range(start, min(start + together, FRAMES), tile.lanes)

            def add(step: ir.Value, totals: Sequence[Vector], lanes: range = lanes) -> Sequence[Vector]:
                weight = code.broadcast(of_band, step)
                line = builder.mul(builder.add(first, step), index(FRAMES))
                values = [code.load(magnitudes, builder.add(line, index(at))) for at in lanes]
                return [total.plus_product(weight, value) for total, value in zip(totals, values, strict=True)]

            for start_lane, total in zip(lanes, code.loop(length, add, [code.zero()] * len(lanes)), strict=True):
                code.store(total, sums, code.position(index(start_lane), (FRAMES, number)))
        return []

    code.loop(rows, frame)
    code.loop(bands, band)
    builder.ret_void()


def _magnitudes(builder: ir.IRBuilder, halves: Sequence[Vector]) -> list[tuple[int, ir.Value]]:
    """Two vectors of complex numbers -> (which one, its magnitude float32) of each."""
    lanes = halves[0].value.type.count
    # Neighbours in a half stay neighbours of the other half's: that takes one instruction.
    order = [half * lanes + pair for pair in range(0, lanes, 2) for half in range(2)]
    real, imaginary = (
        Vector(
            builder, builder.shuffle_vector(*(half.value for half in halves), lanes_in_order([i + part for i in order]))
        )
        for part in range(2)
    )
    square = (real * real).plus_product(imaginary, imaginary)
    rounded = builder.fptrunc(square.square_root().value, ir.VectorType(FLOAT, lanes))
    return [(i // 2, builder.extract_element(rounded, lane(position))) for position, i in enumerate(order)]
