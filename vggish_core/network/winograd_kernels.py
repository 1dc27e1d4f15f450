"""The network's layers as LLVM loops over flat float32 arrays; each runs in its caller's thread, without the GIL.

A pass of a convolution takes a few tiles through transform, products and inverse while they are in the cache; bias,
ReLU and pooling belong to the inverse. Feature maps are [examples, height + 2, width + 2, channels] with zeros around,
so that no tile needs a case of its own. Strides are constants of the compiled code: products are half again as fast.
"""

from __future__ import annotations

import sys
from functools import lru_cache

from llvmlite import ir

from vggish_core.codegen import machine_code
from vggish_core.codegen.machine_code import Functions
from vggish_core.codegen.registers import LINE, RegisterTile
from vggish_core.codegen.tile_products import Rows, multiply_rows
from vggish_core.codegen.vector_code import FLOAT, INDEX, VectorCode, index
from vggish_core.network import winograd_layers, winograd_transforms
from vggish_core.network.winograd_layers import (
    CONVOLUTIONS,
    DENSE,
    DEPTH,
    FIRST,
    FIRST_FILTERS,
    Convolution,
    Dense,
)
from vggish_core.network.winograd_transforms import (
    INPUTS,
    OUTPUTS,
    PRODUCTS,
    Plane,
    finish_tile,
    first_convolution,
    transform_tile,
)

_FLOATS = FLOAT.as_pointer()


@lru_cache
def kernels(tile: RegisterTile) -> Functions:
    """The compiled loops by the name of the layer; arrays are passed as addresses."""
    return machine_code.compiled(lambda: _module(tile), version(tile))


def version(tile: RegisterTile) -> str:
    """Stands for the code of the loops."""
    return machine_code.version_of([sys.modules[__name__], winograd_layers, winograd_transforms], tile)


def _module(tile: RegisterTile) -> ir.Module:
    module = ir.Module("network")
    _write_first(module, tile.lanes)
    for layer in CONVOLUTIONS:
        _write_convolution(module, layer, layer is CONVOLUTIONS[-1], tile)
    for dense in DENSE:
        _write_dense(module, dense, tile)
    return module


def _write_first(module: ir.Module, lanes: int) -> None:
    """(padded examples [k, 98, 66], k, weights, biases, padded and pooled maps)."""
    height, width, filters = CONVOLUTIONS[0].height, CONVOLUTIONS[0].width, FIRST_FILTERS
    source_row = 2 * width + 2
    source_example = (2 * height + 2) * source_row
    target_row = (width + 2) * filters
    target_example = (height + 2) * target_row
    builder, arguments = machine_code.function(module, FIRST, [_FLOATS, INDEX, _FLOATS, _FLOATS, _FLOATS])
    source, examples, weights, biases, target = arguments
    code = VectorCode(builder, lanes)

    def of_example(example: ir.Value) -> None:
        def of_row(y: ir.Value) -> None:
            def of_pixel(x: ir.Value) -> None:
                corner = code.at(source, (source_example, example), (2 * source_row, y), (2, x))
                place = code.at(target, (target_example, example), (target_row, y), (filters, x))

                def of_channels(number: ir.Value) -> None:
                    first = builder.mul(number, index(lanes))
                    output = builder.gep(place, [builder.add(first, index(target_row + filters))])
                    of_first = [builder.gep(values, [first]) for values in (weights, biases)]
                    first_convolution(code, Plane(corner, source_row, 1), of_first[0], filters, of_first[1], output)

                code.each(index(filters // lanes), of_channels)

            code.each(index(width), of_pixel)

        code.each(index(height), of_row)

    code.each(examples, of_example)
    builder.ret_void()


def _write_convolution(module: ir.Module, layer: Convolution, last: bool, tile: RegisterTile) -> None:
    """(padded maps, number of their tiles, transformed filters, biases, scratch, scratch, target).

    The target is padded maps for the next convolution, or, of the last one, rows of flattened maps + `LINE` values.
    """
    builder, arguments = machine_code.function(module, layer.name, [_FLOATS, INDEX, *[_FLOATS] * 5])
    source, tiles, weights, biases, transformed, products, target = arguments
    code = VectorCode(builder, tile.lanes)

    def of_pass(number: ir.Value) -> None:
        first = builder.mul(number, index(layer.tiles))
        count = code.smaller(builder.sub(tiles, first), index(layer.tiles))
        _write_transforms(code, layer, source, first, count, transformed)
        _write_products(code, layer, tile, weights, count, transformed, products)
        _write_inverses(code, layer, last, products, biases, first, count, target)

    code.each(code.ratio_up(tiles, layer.tiles), of_pass)
    builder.ret_void()


def _place(code: VectorCode, layer: Convolution, number: ir.Value) -> tuple[ir.Value, ir.Value, ir.Value]:
    """A tile's number -> its example, and where it lies in it: down and across."""
    down, across = layer.height // OUTPUTS, layer.width // OUTPUTS
    within = code.builder.urem(number, index(down * across))
    return (
        code.builder.udiv(number, index(down * across)),
        code.builder.udiv(within, index(across)),
        code.builder.urem(within, index(across)),
    )


def _write_transforms(
    code: VectorCode, layer: Convolution, source: ir.Value, first: ir.Value, count: ir.Value, transformed: ir.Value
) -> None:
    builder, channels = code.builder, layer.channels
    row = (layer.width + 2) * channels
    example_size = (layer.height + 2) * row

    def of_tile(number: ir.Value) -> None:
        example, y, x = _place(code, layer, builder.add(first, number))
        corner = code.at(source, (example_size, example), (OUTPUTS * row, y), (OUTPUTS * channels, x))
        place = code.at(transformed, (channels, number))

        def of_channels(part: ir.Value) -> None:
            start = builder.mul(part, index(code.lanes))
            planes = Plane(builder.gep(place, [start]), INPUTS * layer.transformed_plane, layer.transformed_plane)
            transform_tile(code, Plane(builder.gep(corner, [start]), row, channels), planes)

        code.each(index(channels // code.lanes), of_channels)

    code.each(count, of_tile)


def _write_products(
    code: VectorCode,
    layer: Convolution,
    tile: RegisterTile,
    weights: ir.Value,
    count: ir.Value,
    transformed: ir.Value,
    products: ir.Value,
) -> None:
    builder, channels, filters = code.builder, layer.channels, layer.filters
    panel_count, panel_size = filters // tile.columns, channels * tile.columns

    def of_product(product: ir.Value) -> None:
        left = code.at(transformed, (layer.transformed_plane, product))
        outputs = code.at(products, (layer.product_plane, product))

        def of_panel(panel: ir.Value) -> None:
            right = code.at(weights, (panel_count * panel_size, product), (panel_size, panel))
            output = code.at(outputs, (tile.columns, panel))

            def of_rows(number: ir.Value) -> None:
                row = builder.mul(number, index(tile.rows))
                multiply_rows(
                    code,
                    (tile.rows, tile.vectors),
                    Rows(code.at(left, (channels, row)), index(channels)),
                    Rows(right, index(tile.columns)),
                    Rows(code.at(output, (filters, row)), index(filters)),
                    channels,
                    code.boolean(False),
                    _ahead(code, tile, right, number, channels) if layer.streams else None,
                )

            code.each(code.ratio_up(count, tile.rows), of_rows)

        code.each(index(panel_count), of_panel)

    code.each(index(PRODUCTS), of_product)


def _ahead(code: VectorCode, tile: RegisterTile, right: ir.Value, number: ir.Value, depth: int) -> ir.Value:
    """Where the next panel's lines lie that the rows of this number fetch: all of a panel's rows share the work."""
    line = code.builder.urem(number, index(tile.lines))
    return code.at(right, (depth * LINE, line), (depth, index(tile.columns)))


def _write_inverses(
    code: VectorCode,
    layer: Convolution,
    last: bool,
    products: ir.Value,
    biases: ir.Value,
    first: ir.Value,
    count: ir.Value,
    target: ir.Value,
) -> None:
    builder, filters, plane = code.builder, layer.filters, layer.product_plane
    side = OUTPUTS // 2 if layer.pooled else OUTPUTS
    margin = 0 if last else 1
    row = (layer.width // OUTPUTS * side + 2 * margin) * filters
    example_size = (layer.height // OUTPUTS * side + 2 * margin) * row + (LINE if last else 0)

    def of_tile(number: ir.Value) -> None:
        example, y, x = _place(code, layer, builder.add(first, number))
        corner = code.at(target, (example_size, example), (side * row, y), (side * filters, x))
        place = code.at(products, (filters, number))

        def of_channels(part: ir.Value) -> None:
            start = builder.mul(part, index(code.lanes))
            output = builder.gep(corner, [builder.add(start, index(margin * (row + filters)))])
            bias = builder.gep(biases, [start])
            source = Plane(builder.gep(place, [start]), INPUTS * plane, plane)
            finish_tile(code, source, bias, Plane(output, row, filters), layer.pooled)

        code.each(index(filters // code.lanes), of_channels)

    code.each(count, of_tile)


def _write_dense(module: ir.Module, layer: Dense, tile: RegisterTile) -> None:
    """(rows of inputs + `LINE` values, number of rows, weights, rows of outputs + `LINE` values, first and end panel).

    The number of rows is a multiple of `tile.few_rows`.
    """
    panel_count, panel_size = layer.outputs // tile.columns, DEPTH * tile.columns
    input_row, output_row = layer.inputs + LINE, layer.outputs + LINE
    builder, arguments = machine_code.function(module, layer.name, [_FLOATS, INDEX, _FLOATS, _FLOATS, INDEX, INDEX])
    inputs, height, weights, outputs, first_panel, end_panel = arguments
    code = VectorCode(builder, tile.lanes)
    tiles = builder.udiv(height, index(tile.rows))
    whole = builder.mul(tiles, index(tile.rows))

    def of_block(block: ir.Value) -> None:
        left = code.at(inputs, (DEPTH, block))
        adds = builder.icmp_signed(">", block, index(0))

        def of_panel(number: ir.Value) -> None:
            panel = builder.add(first_panel, number)
            right = code.at(weights, (panel_count * panel_size, block), (panel_size, panel))
            output = code.at(outputs, (tile.columns, panel))

            def multiply(row: ir.Value, rows: int, ahead: ir.Value | None = None) -> None:
                multiply_rows(
                    code,
                    (rows, tile.vectors),
                    Rows(code.at(left, (input_row, row)), index(input_row)),
                    Rows(right, index(tile.columns)),
                    Rows(code.at(output, (output_row, row)), index(output_row)),
                    DEPTH,
                    adds,
                    ahead,
                )

            def of_tile(number: ir.Value) -> None:
                ahead = _ahead(code, tile, right, number, DEPTH)
                multiply(builder.mul(number, index(tile.rows)), tile.rows, ahead)

            def of_few(number: ir.Value) -> None:
                multiply(builder.add(whole, builder.mul(number, index(tile.few_rows))), tile.few_rows)

            code.each(tiles, of_tile)
            code.each(builder.udiv(builder.sub(height, whole), index(tile.few_rows)), of_few)

        code.each(builder.sub(end_panel, first_panel), of_panel)

    code.each(index(layer.inputs // DEPTH), of_block)
    builder.ret_void()
