"""Records: what a frozen dataclass promises, without generated source."""

import copy
import gc
import inspect
import pickle
import threading
import weakref
from dataclasses import FrozenInstanceError
from typing import ClassVar

import pytest

import graphc
from graphc.graph.op import Op
from graphc.records import interned, keyword, names_of, record, replace, slotted, structure


@record
class Point:
    kind: "ClassVar[str]" = "point"
    x: "int"
    y: "int" = 2


@record
class Named(Point):
    label: "str" = "none"
    bold: "bool" = keyword(default=False)


class Plain(Point):
    kind = "plain"


@interned
class Place:
    name: "str"
    size: "int"


@interned
class Part(Place):
    whole: "Place"


@record
class Empty:
    pass


@record
class Versed:
    value: "float"

    def __eq__(self, other):
        return isinstance(other, Versed)

    def __hash__(self):
        return 7


def test_fields_are_given_by_position_and_by_name_and_have_defaults():
    point = Named(1, label="a")
    assert (point.x, point.y, point.label, point.bold) == (1, 2, "a", False)
    assert names_of(point) == ("x", "y", "label", "bold")
    assert Named(1, 2, "a", bold=True).bold is True
    assert repr(point) == "Named(x=1, y=2, label='a', bold=False)"
    assert str(inspect.signature(Named)) == "(x, y=2, label='none', *, bold=False)"


@pytest.mark.parametrize(
    ("values", "named", "message"),
    [
        ((), {}, "needs x"),
        ((1, 2, "a", True), {}, "takes 3 values"),
        ((1,), {"x": 2}, "'x' twice"),
        ((1,), {"z": 2}, "no field 'z'"),
    ],
)
def test_wrong_fields_are_refused(values, named, message):
    with pytest.raises(TypeError, match=message):
        Named(*values, **named)


def test_equal_fields_of_one_class_are_equal_and_hash_alike():
    assert Point(1) == Point(1, 2)
    assert hash(Point(1)) == hash(Point(1, 2))
    assert Point(1) != Point(2)
    assert Point(1) != Named(1)
    assert Point(1) != Plain(1)
    assert Point(1) != (1, 2)
    assert {Point(1): "a"}[Point(1)] == "a"
    assert Empty() == Empty()
    assert len({Empty(), Empty()}) == 1
    # As in a tuple, the same NaN is equal to itself.
    assert Point(nan := float("nan")) == Point(nan)


def test_what_a_class_says_of_equality_stays():
    assert Versed(1.0) == Versed(2.0)
    assert hash(Versed(1.0)) == 7


def test_no_field_can_be_changed():
    with pytest.raises(FrozenInstanceError, match="'x'"):
        Point(1).x = 3
    with pytest.raises(FrozenInstanceError, match="'x'"):
        del Point(1).x


def test_replace_copy_pickle_and_match():
    point = Named(1, 5, bold=True)
    assert replace(point, x=3) == Named(3, 5, bold=True)
    assert replace(Versed(1.0), value=2.0).value == 2.0
    for same in (copy.copy(point), copy.deepcopy(point), pickle.loads(pickle.dumps(point))):
        assert same == point
    match point:
        case Named(x, y, label):
            assert (x, y, label) == (1, 5, "none")


def test_every_op_with_fields_is_a_record():
    assert graphc.__all__  # with it every op is defined
    pending, seen = [Op], 0
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        seen += 1
        assert "__dataclass_fields__" not in vars(kind), f"{kind.__name__}: @record, not @dataclass"
        own = [name for name, type in vars(kind).get("__annotations__", {}).items() if "ClassVar" not in type]
        if kind.__module__.startswith("graphc."):
            assert set(own) <= set(kind._record_names), f"{kind.__name__} is not marked @record"
    assert seen > 100


def test_equal_interned_records_are_one_object_of_their_class():
    place = Place("a", 1)
    assert Place("a", 1) is place
    assert Place("a", 2) is not place
    assert Place("a", 2) != place
    assert Part("a", 1, place) is Part("a", 1, Place("a", 1))
    assert (Part("a", 1, place).whole, names_of(place), repr(place)) == (
        place,
        ("name", "size"),
        "Place(name='a', size=1)",
    )
    assert replace(place, size=2) is Place("a", 2)
    with pytest.raises(FrozenInstanceError):
        place.size = 3
    with pytest.raises(TypeError, match="Place needs size"):
        Place("a")


def test_copies_of_interned_records_are_the_record():
    part = Part("a", 1, Place("b", 2))
    assert copy.copy(part) is part
    assert copy.deepcopy(part) is part
    assert pickle.loads(pickle.dumps(part)) is part


def test_interned_records_that_nobody_uses_go():
    class Unique:
        pass

    held = Unique()
    alive = weakref.ref(held)
    Place(held, 1)
    del held
    gc.collect()
    assert alive() is None


def test_threads_make_one_interned_record():
    found, start = [], threading.Barrier(8)

    def make():
        start.wait()
        found.append([Place("many", n) for n in range(2000)])

    workers = [threading.Thread(target=make) for _ in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert all(a is b for other in found for a, b in zip(found[0], other, strict=True))


@slotted
class Spot:
    at: "Point"
    size: "int" = 1
    kind: "ClassVar[str]" = "spot"

    @property
    def area(self):
        return self.size**2


@slotted
class Ring(Spot):
    inner: "int" = 0


@structure
class Box:
    width: "int"
    lid: "str" = "none"


def test_a_slotted_record_has_its_fields_and_no_more():
    ring = Ring(Point(1), 3, inner=2)
    assert (ring.at, ring.size, ring.inner, ring.area, ring.kind) == (Point(1), 3, 2, 9, "spot")
    assert (Spot(Point(1)).size, Ring(Point(1)).inner) == (1, 0)
    assert names_of(ring) == Ring.__match_args__ == ("at", "size", "inner")
    assert repr(ring) == "Ring(at=Point(x=1, y=2), size=3, inner=2)"
    assert not hasattr(ring, "__dict__")
    assert Ring.__slots__ == ("inner",)
    for name in ("size", "other"):
        with pytest.raises(FrozenInstanceError):
            setattr(ring, name, 1)
    with pytest.raises(FrozenInstanceError):
        del ring.size
    for wrong in ({}, {"at": 1, "colour": 2}):
        with pytest.raises(TypeError):
            Ring(**wrong)
    assert replace(ring, inner=1).inner == 1


def test_slotted_records_and_structures_are_compared_by_identity():
    for kind, *values in ((Spot, Point(1)), (Box, 2)):
        one, other = kind(*values), kind(*values)
        assert one == one
        assert one != other
        assert len({one, other}) == 2


def test_fields_of_a_structure_may_be_assigned():
    box = Box(1)
    box.width, box.lid = 2, "oak"
    assert repr(box) == "Box(width=2, lid='oak')"
    assert repr(replace(box, lid="ash")) == "Box(width=2, lid='ash')"
    assert Box(3).lid == "none"
    with pytest.raises(TypeError):
        Box()


@record
class Late:
    first: "int"
    second: "int" = 5
    third: "int" = keyword(default=6)


def test_defaults_stand_for_what_is_left_out_at_the_end():
    assert (Late(1).second, Late(1).third) == (5, 6)
    assert Late(1, 2).third == 6
    assert Late(first=1) == Late(1, 5, third=6)
    assert Point(1) == Point(1, 2)
    for given in ((), (1, 2, 3)):
        with pytest.raises(TypeError):
            Late(*given)
    with pytest.raises(TypeError):
        Point()
