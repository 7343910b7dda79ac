import pytest
from shop.errors import Unavailable
from shop.limits import Bulkhead


def test_refuses_the_one_too_many_and_lets_it_in_when_a_place_is_free():
    bulkhead = Bulkhead("checkout", 2)
    with bulkhead.entered():
        with bulkhead.entered(), pytest.raises(Unavailable, match="checkout: too many"), bulkhead.entered():
            pass
        with bulkhead.entered():
            pass


def test_a_failure_inside_gives_the_place_back():
    bulkhead = Bulkhead("checkout", 1)
    for _ in range(3):
        with pytest.raises(ZeroDivisionError), bulkhead.entered():
            raise ZeroDivisionError


def test_size_zero_is_no_limit():
    bulkhead = Bulkhead("checkout", 0)
    with bulkhead.entered(), bulkhead.entered(), bulkhead.entered():
        pass
