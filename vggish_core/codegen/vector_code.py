"""Vector instructions from Python: building blocks of compiled loops, as LLVM code.

No compiler's own vectoriser keeps a tile of a matrix product in registers, so the few loops that matter are spelled out
here as LLVM vectors. What generates code is written as Python over `Vector` values; it runs once and leaves
straight-line machine code behind, which `machine_code` compiles.

Every sum is taken in one order, by fused multiply-adds, on any processor that has them: how wide vectors are and how
many fit in registers (`RegisterTile`) decides speed, not bits.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from llvmlite import ir

FLOAT, DOUBLE = ir.FloatType(), ir.DoubleType()
INDEX = ir.IntType(64)
_LANE = ir.IntType(32)


def index(value: int) -> ir.Constant:
    """A position, a count or a stride that is known when code is generated."""
    return ir.Constant(INDEX, value)


def lane(position: int) -> ir.Constant:
    """One lane of a vector."""
    return ir.Constant(_LANE, position)


def lanes_in_order(positions: Sequence[int]) -> ir.Constant:
    """Which lanes of two vectors make up a new one."""
    return ir.Constant(ir.VectorType(_LANE, len(positions)), list(positions))


@dataclass(frozen=True)
class Vector:
    """A register of floating lanes in code that is being generated."""

    builder: ir.IRBuilder
    value: ir.Value

    def __add__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fadd(self.value, other.value))

    def __sub__(self, other: Vector) -> Vector:
        return Vector(self.builder, self.builder.fsub(self.value, other.value))

    def __mul__(self, factor: Vector | float) -> Vector:
        return Vector(self.builder, self.builder.fmul(self.value, self._value(factor)))

    def plus_product(self, factor: Vector | float, other: Vector) -> Vector:
        """self + factor * other, rounded once where the processor can."""
        return Vector(self.builder, self._call("fmuladd", self._value(factor), other.value, self.value))

    def square_root(self) -> Vector:
        return Vector(self.builder, self._call("sqrt", self.value))

    def maximum(self, other: Vector) -> Vector:
        """The larger lanes; other's where either is not a number."""
        larger = self.builder.fcmp_ordered(">", self.value, other.value)
        return Vector(self.builder, self.builder.select(larger, self.value, other.value))

    def _value(self, factor: Vector | float) -> ir.Value:
        if isinstance(factor, Vector):
            return factor.value
        return ir.Constant(self.value.type, [factor] * self.value.type.count)

    def _call(self, name: str, *arguments: ir.Value) -> ir.Value:
        """LLVM's intrinsic of this name for this type of vector."""
        kind = self.value.type
        suffix = f"v{kind.count}f{64 if kind.element == DOUBLE else 32}"
        function = declared(self.builder.module, f"llvm.{name}.{suffix}", kind, [kind] * len(arguments))
        return self.builder.call(function, arguments)


def declared(module: ir.Module, name: str, result: ir.Type, arguments: Sequence[ir.Type]) -> ir.Function:
    """The function of a module with this name, declared if it is not yet."""
    found = module.globals.get(name)
    return found if found is not None else ir.Function(module, ir.FunctionType(result, arguments), name)


class VectorCode:
    """Loads, stores and loops of `Vector`s, for the body of one function.

    Positions are counted in values of the array.

    Args:
      builder: where the code goes.
      lanes: of a vector.
      element: type of the lanes.
    """

    def __init__(self, builder: ir.IRBuilder, lanes: int, element: ir.Type = FLOAT) -> None:
        self.builder = builder
        self.lanes = lanes
        self.element = element
        self._type = ir.VectorType(element, lanes)

    def position(self, start: ir.Value, *steps: tuple[int, ir.Value]) -> ir.Value:
        """start + the sum of count * stride over steps."""
        for count, stride in steps:
            start = self.builder.add(start, self.builder.mul(index(count), stride))
        return start

    def at(self, pointer: ir.Value, *steps: tuple[int, ir.Value]) -> ir.Value:
        """A pointer, moved by the sum of count * stride over steps."""
        return self.builder.gep(pointer, [self.position(index(0), *steps)])

    def smaller(self, first: ir.Value, second: ir.Value) -> ir.Value:
        return self.builder.select(self.builder.icmp_signed("<", first, second), first, second)

    def ratio_up(self, count: ir.Value, size: int) -> ir.Value:
        """count / size, rounded up."""
        return self.builder.udiv(self.builder.add(count, index(size - 1)), index(size))

    def boolean(self, value: bool) -> ir.Constant:
        return ir.Constant(ir.IntType(1), int(value))

    def load(self, pointer: ir.Value, position: ir.Value) -> Vector:
        value = self.builder.load(self._vector_at(pointer, position))
        value.align = self._size
        return Vector(self.builder, value)

    def store(self, vector: Vector, pointer: ir.Value, position: ir.Value) -> None:
        self.builder.store(vector.value, self._vector_at(pointer, position)).align = self._size

    def broadcast(self, pointer: ir.Value, position: ir.Value) -> Vector:
        """One value in every lane."""
        value = self.builder.load(self.builder.gep(pointer, [position]))
        undefined = ir.Constant(self._type, ir.Undefined)
        first = self.builder.insert_element(undefined, value, lane(0))
        return Vector(self.builder, self.builder.shuffle_vector(first, undefined, lanes_in_order([0] * self.lanes)))

    def prefetch(self, pointer: ir.Value, position: ir.Value) -> None:
        """Asks for the cache line at a position, which may be past the end, in the second-level cache."""
        address = self.builder.bitcast(self.builder.gep(pointer, [position]), ir.IntType(8).as_pointer())
        kinds = [address.type, _LANE, _LANE, _LANE]
        function = declared(self.builder.module, "llvm.prefetch.p0", ir.VoidType(), kinds)
        read, second_level, data = (ir.Constant(_LANE, value) for value in (0, 2, 1))
        self.builder.call(function, [address, read, second_level, data])

    def zero(self) -> Vector:
        return Vector(self.builder, ir.Constant(self._type, [0.0] * self.lanes))

    def each(self, count: ir.Value, body: Callable[[ir.Value], None]) -> None:
        """`body(i)` for i in range(count)."""

        def step(number: ir.Value, _: Sequence[Vector]) -> Sequence[Vector]:
            body(number)
            return []

        self.loop(count, step)

    def loop(
        self,
        count: ir.Value,
        body: Callable[[ir.Value, list[Vector]], Sequence[Vector]],
        carried: Sequence[Vector] = (),
    ) -> list[Vector]:
        """`carried = body(i, carried)` for i in range(count) -> what is carried at the end."""
        builder = self.builder
        before, inside, after = builder.block, builder.append_basic_block(), builder.append_basic_block()
        builder.cbranch(builder.icmp_signed(">", count, index(0)), inside, after)
        builder.position_at_end(inside)
        step = builder.phi(INDEX)
        at_start = [builder.phi(vector.value.type) for vector in carried]
        at_end = body(step, [Vector(builder, phi) for phi in at_start])
        following = builder.add(step, index(1))
        last = builder.block
        for phi, first, then in zip(
            [step, *at_start],
            [index(0), *(vector.value for vector in carried)],
            [following, *(vector.value for vector in at_end)],
            strict=True,
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(then, last)
        builder.cbranch(builder.icmp_signed("<", following, count), inside, after)
        builder.position_at_end(after)
        results = []
        for vector, then_vector in zip(carried, at_end, strict=True):
            result = builder.phi(vector.value.type)
            result.add_incoming(vector.value, before)
            result.add_incoming(then_vector.value, last)
            results.append(Vector(builder, result))
        return results

    @property
    def _size(self) -> int:
        return 8 if self.element == DOUBLE else 4

    def _vector_at(self, pointer: ir.Value, position: ir.Value) -> ir.Value:
        return self.builder.bitcast(self.builder.gep(pointer, [position]), self._type.as_pointer())


def weighted_sum(weights: Iterable[float], vectors: Sequence[Vector]) -> Vector:
    """The sum of weight * vector; weights of zero cost nothing."""
    terms = [(float(weight), vector) for weight, vector in zip(weights, vectors, strict=True) if weight]
    weight, vector = terms[0]
    total = vector if weight == 1 else vector * weight
    for weight, vector in terms[1:]:
        total = total + vector if weight == 1 else total.plus_product(weight, vector)
    return total
